"""`demo` and `dev` on a PostgreSQL that somebody else runs."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from controlplane.cli.ground.database import at_database, dev_name, kept_logins, prepared
from controlplane.cli.ground.discard import discard, discarded
from controlplane.cli.ground.folder import Folder
from controlplane.errors import StartupError
from controlplane.store.logins import Login
from tests.cli.processes import run
from tests.database import Server

pytestmark = pytest.mark.database_near


def named(server: Server, part: str) -> set[str]:
    """The databases and roles of the server with this in their name."""
    with psycopg.connect(server.superuser_url) as conn:
        found = conn.execute(
            "SELECT 'database ' || datname FROM pg_database UNION ALL"
            " SELECT 'role ' || rolname FROM pg_roles"
        ).fetchall()
    return {name for (name,) in found if part in name}


def test_demo_takes_everything_away_again(server: Server) -> None:
    done = run("demo", environment={"DATABASE_URL": server.superuser_url})
    assert done.returncode == 0, done.stderr
    assert not named(server, "controlplane_demo")


@pytest.fixture
def helpless(server: Server) -> Iterator[Login]:
    """Somebody who may create roles, but no databases."""
    login = Login("helpless", "of-no-secrecy")
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        create = sql.SQL("CREATE ROLE helpless LOGIN CREATEROLE PASSWORD {}")
        conn.execute(create.format(sql.Literal(login.password)))
        yield login
        conn.execute("DROP OWNED BY helpless; DROP ROLE helpless")


def folder_at(path: Path) -> Folder:
    path.mkdir()
    return Folder(path)


def test_who_may_not_create_databases_is_told_so_and_nothing_stays(
    server: Server, helpless: Login, tmp_path: Path
) -> None:
    folder, url = folder_at(tmp_path / "site"), helpless.url(server.superuser_url)
    told = "DATABASE_URL must be an administrator's: permission denied to create database"
    with (
        pytest.raises(StartupError, match=told),
        discarded(url, folder.path),
        prepared(url, folder, fresh_name=lambda: "unmade"),
    ):
        pass
    assert kept_logins(folder) is not None
    assert not named(server, "unmade")


def test_a_second_folder_gets_no_access_to_the_database_of_the_first(
    server: Server, tmp_path: Path
) -> None:
    first, second = folder_at(tmp_path / "first"), folder_at(tmp_path / "second")
    with discarded(server.superuser_url, first.path):
        with prepared(server.superuser_url, first, fresh_name=dev_name) as urls:
            pass
        for _ in range(2):
            with (
                pytest.raises(StartupError, match="start with the folder that it was made from"),
                prepared(server.superuser_url, second, fresh_name=dev_name),
            ):
                pass
        assert not second.logins.exists()
        with psycopg.connect(urls.owner):
            pass
        with prepared(server.superuser_url, first, fresh_name=dev_name) as again:
            assert again == urls
    assert not named(server, "controlplane_dev")


def test_what_was_stopped_before_its_first_migration_is_discarded(
    server: Server, tmp_path: Path
) -> None:
    folder = folder_at(tmp_path / "site")
    url = at_database(server.superuser_url, "half_made")
    with prepared(url, folder, fresh_name=dev_name) as urls, psycopg.connect(urls.owner) as conn:
        conn.execute("DROP TABLE public.installation CASCADE")
    discard(server.superuser_url, folder.path)
    assert not named(server, "half_made")
    discard(server.superuser_url, folder.path)


def test_a_login_that_is_not_marked_as_ours_is_not_discarded(
    server: Server, tmp_path: Path
) -> None:
    folder = folder_at(tmp_path / "site")
    url = at_database(server.superuser_url, "taken_over")
    with prepared(url, folder, fresh_name=dev_name):
        pass
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        conn.execute("COMMENT ON ROLE taken_over_app IS 'theirs'")
        discard(server.superuser_url, folder.path)
        assert named(server, "taken_over") == {"role taken_over_app"}
        conn.execute("DROP ROLE taken_over_app")


def test_what_cannot_be_discarded_does_not_hide_what_failed(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_at(tmp_path / "site")
    url = at_database(server.superuser_url, "clinging")
    with prepared(url, folder, fresh_name=dev_name):
        pass
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        conn.execute("GRANT CREATE ON DATABASE postgres TO clinging_app")
        with (
            pytest.raises(StartupError, match="first"),
            discarded(server.superuser_url, folder.path),
        ):
            raise StartupError("first")
        assert "What it made stays on the server: role" in capsys.readouterr().err
        conn.execute("REVOKE CREATE ON DATABASE postgres FROM clinging_app")
    discard(server.superuser_url, folder.path)
    assert not named(server, "clinging")


def test_dev_refuses_a_database_that_is_somebody_elses(server: Server, folder: Path) -> None:
    with psycopg.connect(server.superuser_url, autocommit=True) as conn:
        conn.execute("CREATE DATABASE shop")
    try:
        url = server.superuser_url.rpartition("/")[0] + "/shop"
        refused = run("dev", "--port=0", "--data-dir", folder, environment={"DATABASE_URL": url})
        assert refused.returncode == 1
        assert "The database 'shop' exists and belongs to" in refused.stderr
        assert named(server, "shop") == {"database shop"}
    finally:
        with psycopg.connect(server.superuser_url, autocommit=True) as conn:
            conn.execute("DROP DATABASE shop WITH (FORCE)")
