"""DATABASE_URL_DIRECT must lead to PostgreSQL itself: through a real PgBouncer nothing starts."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from psycopg.conninfo import conninfo_to_dict

from controlplane.errors import StartupError
from controlplane.settings import load
from controlplane.store import migrate
from controlplane.testing.pgbouncer import found, pgbouncer
from controlplane.wiring import open_parts
from tests.database import Database
from tests.engine.lab import environment

pytestmark = pytest.mark.requires("pgbouncer")

POOLED = re.escape("DATABASE_URL_DIRECT leads through a pooler such as PgBouncer")
# With the second one PgBouncer lets the owner's session settings pass, and forgets them.
LENIENT = {"ignore_startup_parameters": "extra_float_digits,options"}


@contextmanager
def through(url: str, more: Mapping[str, str] | None = None) -> Iterator[str]:
    """The same login's URL through PgBouncer."""
    program = found()
    assert program is not None
    with pgbouncer(url, program=program, connections=5, more=more) as conninfo:
        parts = urlsplit(url)
        login, _, _ = parts.netloc.rpartition("@")
        port = conninfo_to_dict(conninfo)["port"]
        yield urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))


@pytest.fixture(params=[{}, LENIENT, {**LENIENT, "pool_mode": "session"}], ids=str)
def pooled(database: Database, request: pytest.FixtureRequest) -> Iterator[str]:
    """The owner's URL through PgBouncer."""
    with through(database.owner_url, request.param) as url:
        yield url


@pytest.mark.anyio
async def test_no_process_starts_through_a_pooler(
    database: Database, tmp_path: Path, pooled: str
) -> None:
    given = {**environment(database, tmp_path), "DATABASE_URL_DIRECT": pooled}
    with pytest.raises(StartupError, match=POOLED):
        async with open_parts(load(given)):
            pass


def test_nothing_is_migrated_through_a_pooler(pooled: str) -> None:
    with pytest.raises(StartupError, match=POOLED):
        migrate.upgrade_public(pooled)


@pytest.mark.anyio
async def test_the_control_and_the_app_login_may_go_through_it(
    database: Database, tmp_path: Path
) -> None:
    with through(database.control_url) as control, through(database.app_url) as app:
        given = environment(database, tmp_path)
        given |= {"DATABASE_URL": control, "CONTROLPLANE_APP_DATABASE_URL": app}
        async with open_parts(load(given)) as parts:
            assert parts.installation == database.installation
