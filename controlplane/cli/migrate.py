"""`controlplane migrate`: the public schema, and the logins' rights in it."""

from urllib.parse import unquote, urlsplit

import click

from controlplane import settings
from controlplane.errors import DatabaseUnavailable


@click.command("migrate")
@click.option("--dry-run", is_flag=True, help="Only say which revision would be reached.")
def command(*, dry_run: bool) -> None:
    """Bring the public schema to this release and grant the logins their rights.

    Uses DATABASE_URL_DIRECT, the owner's login. Two that run at once wait for each other; running
    it again changes nothing.
    """
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415  the help must not wait for it

    from controlplane.store import logins, migrate  # noqa: PLC0415

    wanted = settings.load()
    if dry_run:
        click.echo(f"Would bring the public schema to {migrate.public_head()}.", err=True)
        return
    owner = wanted.database_url_direct.get_secret_value()
    try:
        migrate.upgrade_public(owner)
    except OperationalError as error:
        first = str(error.orig).strip().splitlines()[0]
        raise DatabaseUnavailable(f"PostgreSQL cannot be reached: {first}") from error
    logins.grant_logins(
        owner,
        control=_user(wanted.database_url.get_secret_value()),
        app=_user(wanted.app_database_url.get_secret_value()),
    )
    click.echo(f"The public schema is at {migrate.public_head()}.", err=True)


def _user(url: str) -> str:
    return unquote(urlsplit(url).username or "")
