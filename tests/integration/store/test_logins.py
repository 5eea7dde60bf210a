"""The three logins are made once, changed again at will, and never taken from anybody else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from controlplane.errors import StartupError
from controlplane.store.logins import (
    Login,
    Logins,
    create_database,
    create_logins,
    grant_logins,
    harden_database,
)
from tests.database import Database, Server

pytestmark = pytest.mark.database_near


@pytest.fixture
def logins(server: Server) -> Iterator[Logins]:
    """Three that are not there yet; what a test makes of them is gone afterwards."""
    made = Logins.named(f"t{uuid4().hex[:12]}")
    yield made
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        for database, role in ((_database(made), None), *((None, n) for n in _names(made))):
            kind = "DATABASE" if database else "ROLE"
            name = sql.Identifier(database or role or "")
            conn.execute(sql.SQL("DROP {} IF EXISTS {}").format(sql.SQL(kind), name))


def _names(logins: Logins) -> tuple[str, str, str]:
    return logins.owner.name, logins.control.name, logins.app.name


def _database(logins: Logins) -> str:
    return f"{logins.owner.name}_db"


def _roles(server: Server, logins: Logins) -> dict[str, tuple[object, ...]]:
    with psycopg.connect(server.superuser_url) as conn:
        rows = conn.execute(
            "SELECT rolname, rolcanlogin, rolcreaterole, rolinherit, rolpassword,"
            " shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolname = ANY(%s) ORDER BY rolname",
            [list(_names(logins))],
        ).fetchall()
    return {row[0]: row[1:] for row in rows}


def _can_log_in(url: str) -> bool:
    try:
        with psycopg.connect(url):
            return True
    except psycopg.OperationalError as error:
        assert "password authentication failed" in str(error)  # noqa: PT017  told from a dead server
        return False


def test_each_login_opens_with_its_own_password(server: Server, logins: Logins) -> None:
    create_logins(server.superuser_url, logins)
    for login in (logins.owner, logins.control, logins.app):
        assert _can_log_in(login.url(server.superuser_url))


def test_creating_them_again_changes_nothing_but_the_password(
    server: Server, logins: Logins
) -> None:
    create_logins(server.superuser_url, logins)
    before = _roles(server, logins)
    old = logins.app.url(server.superuser_url)
    again = Logins.named(logins.app.name.removesuffix("_app"))
    create_logins(server.superuser_url, again)
    after = _roles(server, logins)
    assert [row[:3] + row[4:] for row in after.values()] == [
        row[:3] + row[4:] for row in before.values()
    ]
    assert not _can_log_in(old)
    assert _can_log_in(again.app.url(server.superuser_url))


def test_a_login_that_lost_its_form_gets_it_back(server: Server, logins: Logins) -> None:
    create_logins(server.superuser_url, logins)
    with psycopg.connect(server.superuser_url) as conn:
        weakened = sql.SQL("ALTER ROLE {} INHERIT CREATEROLE CREATEDB BYPASSRLS SUPERUSER")
        conn.execute(weakened.format(sql.Identifier(logins.app.name)))
    create_logins(server.superuser_url, logins)
    with psycopg.connect(server.superuser_url) as conn:
        row = conn.execute(
            "SELECT rolinherit, rolcreaterole, rolcreatedb, rolbypassrls, rolsuper FROM pg_roles"
            " WHERE rolname = %s",
            [logins.app.name],
        ).fetchone()
    assert row == (False, False, False, False, False)


def test_an_administrator_without_superuser_can_make_them_and_make_them_again(
    server: Server, logins: Logins
) -> None:
    dba = Login(f"{logins.owner.name}_dba", "of-no-secrecy")
    name = sql.Identifier(dba.name)
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        create = sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}")
        conn.execute(create.format(name, sql.Literal(dba.password)))
        try:
            for _ in range(2):
                create_logins(dba.url(server.superuser_url), logins)
            assert len(_roles(server, logins)) == 3
        finally:
            conn.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(name))


@pytest.mark.parametrize("comment", [None, "somebody's", "controlplane login: owner"])
def test_a_role_of_that_name_that_is_not_ours_is_refused_and_left_alone(
    server: Server, logins: Logins, comment: str | None
) -> None:
    name = sql.Identifier(logins.app.name)
    with psycopg.connect(server.superuser_url) as conn:
        conn.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'theirs'").format(name))
        conn.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(name, sql.Literal(comment)))
    before = _roles(server, logins)
    with pytest.raises(StartupError, match=f"'{logins.app.name}' exists and was not made by"):
        create_logins(server.superuser_url, logins)
    # The owner and control logins, made before it in the same transaction, are not there either.
    assert _roles(server, logins) == before
    assert list(before) == [logins.app.name]


def test_no_password_reaches_the_servers_log(server: Server, logins: Logins) -> None:
    parts = urlsplit(server.superuser_url)
    loud = urlunsplit(parts._replace(query="options=-c%20log_statement%3Dall"))
    create_logins(loud, logins)
    create_logins(loud, logins)
    with psycopg.connect(server.superuser_url) as conn:
        # As bytes: another test's line may be half there.
        row = conn.execute(
            "SELECT pg_read_binary_file(current_setting('data_directory') || '/../server.log')"
        ).fetchone()
    assert row is not None
    log = row[0].decode(errors="replace")
    assert f'ROLE "{logins.app.name}"' in log
    assert "SCRAM-SHA-256$" in log
    for login in (logins.owner, logins.control, logins.app):
        assert login.password not in log


def test_what_is_stored_of_a_password_is_its_scram_verifier(server: Server, logins: Logins) -> None:
    create_logins(server.superuser_url, logins)
    stored = [row[3] for row in _roles(server, logins).values()]
    assert len(stored) == 3
    assert all(str(verifier).startswith("SCRAM-SHA-256$") for verifier in stored)


@pytest.mark.usefixtures("database")  # of another installation, whose login is cp_app
def test_a_database_is_made_once_belongs_to_the_owner_and_is_hardened(
    server: Server, logins: Logins
) -> None:
    create_logins(server.superuser_url, logins)
    for _ in range(2):
        create_database(server.superuser_url, _database(logins), logins)
    with psycopg.connect(server.superuser_url) as conn:
        row = conn.execute(
            "SELECT pg_get_userbyid(datdba), has_database_privilege('public', oid, 'CONNECT'),"
            " has_database_privilege('public', oid, 'TEMPORARY'),"
            " has_database_privilege('cp_app', oid, 'CONNECT')"
            " FROM pg_database WHERE datname = %s",
            [_database(logins)],
        ).fetchone()
    assert row == (logins.owner.name, False, False, False)
    with psycopg.connect(logins.owner.url(server.superuser_url, database=_database(logins))) as own:
        own.execute("CREATE TABLE public.mine (id int); CREATE SCHEMA mine; CREATE ROLE mine")
        own.rollback()


def test_hardening_takes_back_what_was_given_meanwhile(server: Server, logins: Logins) -> None:
    create_logins(server.superuser_url, logins)
    name = _database(logins)
    create_database(server.superuser_url, name, logins)
    inside = urlunsplit(urlsplit(server.superuser_url)._replace(path=f"/{name}"))
    with psycopg.connect(inside) as conn:
        database = sql.Identifier(name)
        conn.execute(sql.SQL("GRANT ALL ON DATABASE {} TO PUBLIC").format(database))
        conn.execute("GRANT ALL ON SCHEMA public TO PUBLIC")
        conn.execute("GRANT EXECUTE ON FUNCTION pg_catalog.set_config TO PUBLIC")
    harden_database(server.superuser_url, name, logins)
    with psycopg.connect(inside) as conn:
        row = conn.execute(
            "SELECT has_database_privilege('public', current_database(), 'TEMPORARY'),"
            " has_schema_privilege('public', 'public', 'CREATE'),"
            " has_function_privilege('public', 'set_config(text,text,bool)', 'EXECUTE')"
        ).fetchone()
    assert row == (False, False, False)


def test_granting_before_the_migration_says_what_is_missing(server: Server, logins: Logins) -> None:
    create_logins(server.superuser_url, logins)
    create_database(server.superuser_url, _database(logins), logins)
    url = logins.owner.url(server.superuser_url, database=_database(logins))
    with pytest.raises(psycopg.errors.UndefinedTable, match=r"public\.tenants"):
        grant_logins(url, control=logins.control.name, app=logins.app.name)


def test_rights_granted_by_several_replicas_at_once_are_granted(database: Database) -> None:
    def grant() -> None:
        grant_logins(database.owner_url, control="cp_control", app="cp_app")

    with ThreadPoolExecutor(8) as replicas:
        for granted in [replicas.submit(grant) for _ in range(24)]:
            granted.result()
