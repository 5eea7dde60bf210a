"""A database that is there but says no is told in one line, with the remedy where it is known."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from controlplane.cli.root import run
from controlplane.errors import StartupError
from controlplane.settings import load
from controlplane.wiring import open_parts
from tests.database import Database
from tests.engine.lab import environment

pytestmark = pytest.mark.database_near

NO_SCHEMA = "The database has no public schema of this release; run 'controlplane migrate' first."
DENIED = "PostgreSQL refuses: permission denied for table "


@pytest.fixture
def superuser(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.superuser_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def given(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings as variables of this process."""
    for name, value in environment(database, tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DROP TABLE public.global_users CASCADE", NO_SCHEMA),
        ("ALTER TABLE public.global_users DROP COLUMN name", NO_SCHEMA),
        ("ALTER TABLE public.global_users OWNER TO CURRENT_USER", f"{DENIED}global_users"),
    ],
)
def test_a_command_tells_what_the_database_refuses(
    superuser: psycopg.Connection, capsys: pytest.CaptureFixture[str], statement: str, told: str
) -> None:
    superuser.execute(statement.encode())
    assert run(["admin", "create", "--email=a@b.test", "--name=A", "--role=admin"]) == 1
    assert capsys.readouterr().err == f"Error: {told} [startup_failed]\n"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DROP TABLE public.installation CASCADE", NO_SCHEMA),
        ("DROP TABLE public.alembic_version_public", NO_SCHEMA),
        ("ALTER TABLE public.installation OWNER TO CURRENT_USER", f"{DENIED}installation"),
    ],
)
async def test_a_process_tells_at_its_start_what_the_database_refuses(
    superuser: psycopg.Connection, database: Database, tmp_path: Path, statement: str, told: str
) -> None:
    superuser.execute(statement.encode())
    with pytest.raises(StartupError) as caught:
        async with open_parts(load(environment(database, tmp_path))):
            pass
    assert str(caught.value) == told
