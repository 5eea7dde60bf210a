"""What the suite's own options, markers and fixtures promise to every other test."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from tests.database import Database, Server, fresh_database

ROOT = Path(__file__).parents[2]
NEEDS_A_PROGRAM = """
import pytest

@pytest.mark.requires("no-such-program")
def test_needs_it(): pass

@pytest.mark.requires("sh")
def test_has_it(): pass
"""


@pytest.mark.parametrize(
    ("required", "outcome"), [("", "1 passed, 1 skipped"), ("all", "1 passed, 1 error")]
)
def test_a_missing_program_is_named_and_fails_where_all_are_promised(
    tmp_path: Path, required: str, outcome: str
) -> None:
    (tmp_path / "test_it.py").write_text(NEEDS_A_PROGRAM)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = requires(*programs)\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-ra", "--color=no"]
    done = subprocess.run(  # noqa: S603  our own interpreter
        [*command, "-p", "no:randomly", "-c", tmp_path / "pytest.ini", tmp_path],
        cwd=ROOT,
        env={"CONTROLPLANE_TEST_REQUIRE": required, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout
    assert "needs no-such-program" in done.stdout


@pytest.mark.database_near
def test_two_databases_are_two_installations(database: Database, other_database: Database) -> None:
    for made in (database, other_database):
        with psycopg.connect(made.control_url) as conn:
            assert conn.execute("SELECT id FROM public.installation").fetchall() == [
                (made.installation,)
            ]
    assert database.installation != other_database.installation


@pytest.mark.database_near
def test_the_server_is_of_the_version_asked_for(
    database: Database, pytestconfig: pytest.Config
) -> None:
    with psycopg.connect(database.superuser_url) as conn:
        version = conn.info.server_version // 10000
    assert str(version) == pytestconfig.getoption("--postgres")


@pytest.mark.database_near
def test_nobody_may_make_temporary_tables_in_a_copied_database(database: Database) -> None:
    with (
        psycopg.connect(database.app_url) as conn,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        conn.execute("CREATE TEMPORARY TABLE aside (n int)")


@pytest.mark.database_near
def test_a_test_leaves_neither_database_nor_its_roles_and_no_other_role_goes(
    server: Server,
) -> None:
    ours, foreign = f"tenant_{'a' * 31}1", f"tenant_{'a' * 31}2"
    with fresh_database(server) as made, psycopg.connect(made.owner_url) as conn:
        for role, installation in ((ours, made.installation), (foreign, "another")):
            conn.execute(
                sql.SQL("CREATE ROLE {role}; COMMENT ON ROLE {role} IS {mark}").format(
                    role=sql.Identifier(role), mark=sql.Literal(f"controlplane/{installation}/t/o")
                )
            )
        conn.commit()
        # An open session must not keep the database.
        conn.execute("SELECT 1")
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        left = conn.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
            " UNION ALL SELECT datname FROM pg_database WHERE datname = %s",
            [[ours, foreign], made.name],
        ).fetchall()
        conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(foreign)))
    assert left == [(foreign,)]
