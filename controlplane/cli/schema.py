"""`controlplane schema …`"""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from controlplane.cli.output import Output, output_option, print_json, print_table
from controlplane.errors import TenantNotFound

if TYPE_CHECKING:
    from controlplane.tenancy.inspect import TableShown


@click.group("schema")
def command() -> None:
    """What is in a tenant's schema."""


@command.command("show")
@click.argument("tenant")
@click.option("--columns", is_flag=True, help="With the columns of each table.")
@output_option
def show(*, tenant: str, columns: bool, output: Output) -> None:
    """Show the tables of a tenant's schema, and whether row-level security is forced on each.

    Reads the database itself. TENANT is a subdomain or an id.
    """
    tables = asyncio.run(_tables(tenant))
    if output is Output.JSON:
        print_json([asdict(table) for table in tables])
    elif columns:
        _print_columns(tables)
    else:
        rows = [
            (t.name, str(len(t.columns)), str(len(t.policies)), "yes" if t.protected else "no")
            for t in tables
        ]
        print_table(("TABLE", "COLUMNS", "POLICIES", "RLS FORCED"), rows)


def _print_columns(tables: "list[TableShown]") -> None:
    rows = [
        (t.name, c.name, c.type, "yes" if c.nullable else "no", c.preset or "")
        for t in tables
        for c in t.columns
    ]
    print_table(("TABLE", "COLUMN", "TYPE", "NULL", "DEFAULT"), rows, shrinks="DEFAULT")


async def _tables(reference: str) -> "list[TableShown]":
    from controlplane.cli import owner  # noqa: PLC0415  the help must not wait for SQLAlchemy
    from controlplane.tenancy import inspect  # noqa: PLC0415

    async with owner.transaction() as conn:
        tenant_id = await owner.tenant_id(conn, reference)
        tables = await inspect.show(conn, tenant_id=tenant_id)
    if not tables:
        raise TenantNotFound(f"The tenant '{reference}' has no schema.")
    return tables
