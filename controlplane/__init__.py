"""Control plane for software that gives every customer its own PostgreSQL schema."""

__version__ = "0.1.0"
