"""Database URLs: libpq's form outside, SQLAlchemy's inside."""

from sqlalchemy import URL, make_url


def sqlalchemy_url(url: str) -> URL:
    """A `postgresql://` URL for SQLAlchemy with psycopg 3.

    The URL object hides the password in its repr.
    """
    return make_url(url).set(drivername="postgresql+psycopg")
