"""`demo` and `dev` on a PostgreSQL that somebody else runs."""

from pathlib import Path

import psycopg
import pytest

from tests.cli.processes import run
from tests.database import Server

pytestmark = pytest.mark.database_near


def names(server: Server) -> set[str]:
    """Every database and role of the server."""
    with psycopg.connect(server.superuser_url) as conn:
        found = conn.execute(
            "SELECT 'database ' || datname FROM pg_database UNION ALL"
            " SELECT 'role ' || rolname FROM pg_roles"
        ).fetchall()
    return {name for (name,) in found}


def test_demo_takes_everything_away_again(server: Server) -> None:
    done = run("demo", environment={"DATABASE_URL": server.superuser_url})
    assert done.returncode == 0, done.stderr
    assert not {name for name in names(server) if "controlplane_demo" in name}


def test_dev_refuses_a_database_that_is_somebody_elses(server: Server, folder: Path) -> None:
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE shop")
    try:
        url = server.superuser_url.rpartition("/")[0] + "/shop"
        refused = run("dev", "--port=0", "--data-dir", folder, environment={"DATABASE_URL": url})
        assert refused.returncode == 1
        assert "The database 'shop' exists and belongs to" in refused.stderr
        assert not {name for name in names(server) if name.startswith("role shop")}
    finally:
        with psycopg.connect(server.superuser_url, autocommit=True) as conn:
            conn.execute("DROP DATABASE shop")
