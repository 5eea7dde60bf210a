"""`controlplane admin …`"""

import asyncio

import click

from controlplane.cli.output import Output, output_option, print_fields, print_json, tell


@click.group("admin")
def command() -> None:
    """Global admins. There is no default account: this makes the first one."""


@command.command("create")
@click.option("--email", required=True, help="The admin's address.")
@click.option("--name", help="The admin's name.")
@click.option(
    "--role",
    required=True,
    type=click.Choice(["super_admin", "admin", "support"]),
    help="support may only read.",
)
@click.option("--dry-run", is_flag=True, help="Only check and say what would happen.")
@output_option
def create(*, email: str, name: str | None, role: str, dry_run: bool, output: Output) -> None:
    """Enter a global admin, in the database itself.

    Then 'controlplane token create' makes the token.
    """
    asyncio.run(_create(email, name, role, dry_run=dry_run, output=output))


async def _create(
    email: str, name: str | None, role: str, *, dry_run: bool, output: Output
) -> None:
    from controlplane.cli import owner  # noqa: PLC0415  the help must not wait for SQLAlchemy
    from controlplane.domain.addresses import is_address  # noqa: PLC0415
    from controlplane.store import admins  # noqa: PLC0415
    from controlplane.store.admin_tables import AdminRole  # noqa: PLC0415

    if not is_address(email):
        raise click.BadParameter(f"'{email}' is no mail address.", param_hint="--email")
    async with owner.transaction() as conn:
        made = await admins.add_admin(conn, email=email, name=name, role=AdminRole(role))
        if dry_run:
            await conn.rollback()
            tell(f"Would enter '{email}' as {role}.")
            return
    if output is Output.JSON:
        print_json({"id": str(made), "email": email.lower(), "name": name, "role": role})
    else:
        print_fields([("Admin", str(made)), ("Email", email.lower()), ("Role", role)])
    tell(f"Make a token: controlplane token create --email {email} --name <what for>")
