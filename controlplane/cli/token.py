"""`controlplane token …`"""

import asyncio
from datetime import UTC, datetime, timedelta

import click

from controlplane.cli.output import tell


@click.group("token")
def command() -> None:
    """API tokens: of global admins, and for trials of tenants' users."""


@command.command("create")
@click.option("--email", required=True, help="Whose.")
@click.option("--name", required=True, help="What for, so that it can be told from others.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(["read", "write"]),
    help="May be given twice; both where it is left out.",
)
@click.option("--expires-days", type=click.IntRange(1, 3650), help="Never where it is left out.")
def create(*, email: str, name: str, scopes: tuple[str, ...], expires_days: int | None) -> None:
    """Make a token and print it, this once: only its hash is kept.

    \b
    controlplane token create --email ops@example.com --name laptop > token
    """
    expires_at = expires_days and datetime.now(UTC) + timedelta(days=expires_days)
    click.echo(asyncio.run(_create(email, name, scopes, expires_at or None)))
    tell("It is not shown again.")


@command.command("revoke")
@click.option("--email", required=True, help="Whose.")
@click.option("--name", required=True, help="As it was named when it was made.")
def revoke(*, email: str, name: str) -> None:
    """Revoke an admin's tokens of that name; they are refused at once.

    Where there is none that is not revoked yet, nothing changes.
    """
    count = asyncio.run(_revoke(email, name))
    tell(f"Revoked {count} {'token' if count == 1 else 'tokens'} '{name}' of '{email}'.")


@command.command("tenant")
@click.argument("tenant")
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="May be given several times; tenant_admin where it is left out.",
)
@click.option(
    "--minutes",
    type=click.IntRange(1, 1440),
    default=60,
    show_default=True,
    help="How long it is good.",
)
def tenant(*, tenant: str, roles: tuple[str, ...], minutes: int) -> None:
    """Sign a token for a tenant's host and print it: for trials, until users sign in there.

    It speaks for the tenant's first admin, with the roles that are asked for, and cannot be revoked.
    It is written into the audit log. Needs CONTROLPLANE_TENANT_TOKEN_KEY.

    \b
    controlplane token tenant acme --role tenant_manager > token
    """
    click.echo(asyncio.run(_tenant(tenant, roles or ("tenant_admin",), timedelta(minutes=minutes))))


async def _tenant(which: str, roles: tuple[str, ...], lifetime: timedelta) -> str:
    from controlplane.cli import owner  # noqa: PLC0415  the help must not wait for SQLAlchemy
    from controlplane.cli.tenant_token import signed  # noqa: PLC0415

    async with owner.transaction() as conn:
        return await signed(conn, which, roles=frozenset(roles), lifetime=lifetime)


async def _revoke(email: str, name: str) -> int:
    from controlplane.cli import owner  # noqa: PLC0415  the help must not wait for SQLAlchemy
    from controlplane.store import admins  # noqa: PLC0415

    async with owner.transaction() as conn:
        return await admins.revoke_tokens(conn, email=email, name=name)


async def _create(
    email: str, name: str, scopes: tuple[str, ...], expires_at: datetime | None
) -> str:
    from controlplane.cli import owner  # noqa: PLC0415  the help must not wait for SQLAlchemy
    from controlplane.store import admins  # noqa: PLC0415
    from controlplane.store.admins import Scope  # noqa: PLC0415

    wanted = frozenset(Scope(scope) for scope in scopes) or frozenset(Scope)
    async with owner.transaction() as conn:
        return await admins.add_token(
            conn, email=email, name=name, scopes=wanted, expires_at=expires_at
        )
