"""A company's documents: an application whose tenants each have their own."""
