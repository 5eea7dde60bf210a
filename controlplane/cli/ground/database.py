"""The database under `dev` and `demo`: the embedded server, or one that DATABASE_URL names."""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
from sqlalchemy.exc import OperationalError

from controlplane import embedded
from controlplane.cli.ground.folder import Folder, write_json
from controlplane.errors import DatabaseUnavailable, StartupError
from controlplane.store.logins import Login, Logins, create_database, create_logins, grant_logins
from controlplane.store.migrate import upgrade_public

# A server's own databases: whoever names one of them names the server.
_MAINTENANCE = frozenset({"", "postgres", "template1"})
_LOCK = 720138550  # any number will do
_CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True)
class Urls:
    """libpq URLs of the same database, each with its password; so no repr."""

    superuser: str = field(repr=False)
    owner: str = field(repr=False)
    control: str = field(repr=False)
    app: str = field(repr=False)


# Enters a server and yields an administrator's URL of it.
Server = Callable[[Folder], AbstractContextManager[str]]


def embedded_server(version: int) -> Server:
    """A PostgreSQL of our own, kept in the folder."""

    @contextmanager
    def started(folder: Folder) -> Iterator[str]:
        server = embedded.start(folder.postgres, version=version)
        try:
            yield server.superuser_url
        finally:
            embedded.stop(server)

    return started


def throwaway_server(version: int) -> Server:
    """A fast PostgreSQL that is gone afterwards, however we end."""

    @contextmanager
    def started(_: Folder) -> Iterator[str]:
        with embedded.throwaway(version) as server:
            yield server.superuser_url

    return started


def given_server(admin_url: str) -> Server:
    """A PostgreSQL that somebody else runs."""
    return lambda _: contextlib.nullcontext(admin_url)


@contextmanager
def prepared(admin_url: str, folder: Folder, *, fresh_name: Callable[[], str]) -> Iterator[Urls]:
    """The database of the folder on that server: made, migrated, its logins ready; ours alone.

    A URL that names a database wants that one, any other gets `fresh_name()` the first time.
    Raises DatabaseUnavailable, and StartupError for a database that is another's.
    """
    with contextlib.closing(_connected(at_database(admin_url, "postgres"))) as conn:
        try:
            urls = _prepare(conn, admin_url, folder, fresh_name)
        except (psycopg.OperationalError, OperationalError) as error:
            raise DatabaseUnavailable(_one_line(error)) from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise StartupError(
                f"DATABASE_URL must be an administrator's: {str(error).splitlines()[0]}"
            ) from error
        yield urls


def _connected(url: str) -> psycopg.Connection:
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(_one_line(error)) from error


def _prepare(
    conn: psycopg.Connection, admin_url: str, folder: Folder, fresh_name: Callable[[], str]
) -> Urls:
    kept = kept_logins(folder)
    name, logins = kept or _new_logins(admin_url, fresh_name)
    _lock(conn, name)
    _refuse_foreign(conn, name, None if kept is None else logins.owner.name)
    if kept is None:
        # Before the logins are made: a start that is killed goes on with the same passwords.
        _keep_logins(folder, name, logins)
    maintenance = at_database(admin_url, "postgres")
    create_logins(maintenance, logins)
    create_database(maintenance, name, logins)
    return _migrated(at_database(maintenance, name), logins)


def _one_line(error: Exception) -> str:
    return f"PostgreSQL cannot be reached: {str(error).strip().splitlines()[0]}"


def _migrated(superuser: str, logins: Logins) -> Urls:
    urls = Urls(
        superuser,
        owner=logins.owner.url(superuser),
        control=logins.control.url(superuser),
        app=logins.app.url(superuser),
    )
    upgrade_public(urls.owner)
    grant_logins(urls.owner, control=logins.control.name, app=logins.app.name)
    return urls


def kept_logins(folder: Folder) -> tuple[str, Logins] | None:
    """The database's name and its logins as kept in the folder; None before the first start."""
    try:
        kept = json.loads(folder.logins.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    name = kept.pop("database")
    return name, Logins(**{role: Login(**login) for role, login in kept.items()})


def _new_logins(admin_url: str, fresh_name: Callable[[], str]) -> tuple[str, Logins]:
    asked = unquote(urlsplit(admin_url).path.lstrip("/"))
    name = fresh_name() if asked in _MAINTENANCE else asked
    return name, Logins.named(name)


def _keep_logins(folder: Folder, name: str, logins: Logins) -> None:
    roles = {role: vars(getattr(logins, role)) for role in ("owner", "control", "app")}
    write_json(folder.logins, {"database": name, **roles})


def _refuse_foreign(conn: psycopg.Connection, name: str, owner: str | None) -> None:
    """Raises StartupError where a database of that name exists that was not made from this folder:
    preparing it would take rights and passwords away from others. `owner` is None for a new folder.
    """
    query = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
    found = conn.execute(query, [name]).fetchone()
    if found is not None and found[0] != owner:
        raise StartupError(
            f"The database '{name}' exists and belongs to '{found[0]}', and it was not made from "
            "this data folder; start with the folder that it was made from, or name a database in "
            "DATABASE_URL that does not exist yet."
        )


def _lock(conn: psycopg.Connection, name: str) -> None:
    """Held until the connection ends: a second one would change the logins' passwords."""
    row = conn.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", [_LOCK, name]).fetchone()
    if row is None or not row[0]:
        raise StartupError(f"Another 'controlplane dev' uses the database '{name}'; stop it first.")


def at_database(url: str, database: str) -> str:
    """The same server and login, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def demo_name() -> str:
    """A database's name that no earlier demo has used."""
    return f"controlplane_demo_{secrets.token_hex(4)}"


def dev_name() -> str:
    return "controlplane_dev"
