"""`controlplane tenant …`"""

import asyncio
from typing import Any

import click

from controlplane.cli import domains, freezing, lifecycle, names
from controlplane.cli.acting import dry_run_option, finish, timeout_option, wait_option
from controlplane.cli.client import TENANTS, open_api
from controlplane.cli.output import (
    Output,
    age,
    one_of,
    output_option,
    print_fields,
    print_json,
    print_table,
    tell,
)
from controlplane.domain.naming import Subdomain, parse_subdomain
from controlplane.domain.operations import OperationState
from controlplane.domain.tenants import TenantState, Tier

Json = dict[str, Any]


@click.group("tenant")
def command() -> None:
    """Create, list, show, suspend, rename, delete, restore, purge tenants.

    \b
    controlplane tenant create Acme --subdomain acme --admin-email ada@acme.test
    controlplane tenant list --state active
    controlplane tenant show acme --output json
    controlplane tenant suspend acme
    controlplane tenant rename acme acme-labs
    controlplane tenant delete acme --confirm acme
    controlplane tenant restore acme

    TENANT is a subdomain or an id.
    """


for _each in (*lifecycle.COMMANDS, *names.COMMANDS, *freezing.COMMANDS, domains.command):
    command.add_command(_each)


@command.command("create", short_help="Create a tenant, or nothing at all.")
@click.argument("name")
@click.option("--subdomain", required=True, help="3 to 63 letters, digits or hyphens.")
@click.option("--admin-email", required=True, help="Gets the welcome mail.")
@click.option("--admin-name", help="How the welcome mail greets.")
@click.option("--tier", type=one_of(Tier), help="Default: the installation's.")
@wait_option
@timeout_option
@dry_run_option
@output_option
def create(
    *, wait: bool, timeout: float | None, dry_run: bool, output: Output, **wanted: str | None
) -> None:
    """Create a tenant: schema, first admin, DNS record, welcome mail, or nothing at all."""
    body = {name: value for name, value in wanted.items() if value is not None}
    body["subdomain"] = parse_subdomain(body["subdomain"])
    if dry_run:
        asyncio.run(_check(body))
    else:
        asyncio.run(_create(body, wait=wait, timeout_s=timeout, output=output))


async def _check(body: dict[str, str]) -> None:
    async with open_api() as api:
        await names.require_free(api, Subdomain(body["subdomain"]))
    tell(f"Would create the tenant '{body['name']}' at '{body['subdomain']}'.")


async def _create(
    body: dict[str, str], *, wait: bool, timeout_s: float | None, output: Output
) -> None:
    async with open_api() as api:
        operation = await api.post(TENANTS, body)
        title = f"Creating '{body['subdomain']}', operation {operation['id']}"
        await finish(api, operation, title, wait=wait, timeout_s=timeout_s, output=output)


@command.command("list")
@click.option("--state", type=one_of(TenantState), help="Only those in this state.")
@click.option("--tier", type=one_of(Tier), help="Only those of this tier.")
@click.option("--search", metavar="TEXT", help="Only those with this in name or subdomain.")
@click.option("--include-deleted", is_flag=True, help="Deleted and purged ones too.")
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many."
)
@output_option
def list_(
    *,
    state: str | None,
    tier: str | None,
    search: str | None,
    include_deleted: bool,
    limit: int,
    output: Output,
) -> None:
    """List tenants, the newest first."""
    filters = {"state": state, "tier": tier, "q": search}
    if include_deleted:
        filters["include_deleted"] = "true"
    asyncio.run(_list(limit, filters, output))


async def _list(limit: int, filters: dict[str, str | None], output: Output) -> None:
    async with open_api() as api:
        tenants = await api.items(TENANTS, limit, **filters)
    if output is Output.JSON:
        print_json(tenants)
        return
    columns = ("SUBDOMAIN", "NAME", "STATE", "AGE", "ID")
    rows = [(t["subdomain"], t["name"], t["state"], age(t["created_at"]), t["id"]) for t in tenants]
    print_table(columns, rows, shrinks="NAME")
    if len(tenants) == limit:
        tell(f"The first {limit}; there may be more, see --limit.")


@command.command("show")
@click.argument("tenant")
@output_option
def show(*, tenant: str, output: Output) -> None:
    """Show a tenant with its conditions, domains, mails and operations."""
    asyncio.run(_show(tenant, output))


async def _show(reference: str, output: Output) -> None:
    async with open_api() as api:
        tenant = await api.tenant(reference)
    if output is Output.JSON:
        print_json(tenant)
        return
    names = ("id", "name", "subdomain", "url", "state", "tier", "schema_name", "revision")
    more = ("admin_email", "created_at", "deleted_at")
    shown = {**tenant, "revision": revision(tenant)}
    print_fields([(name, str(shown[name])) for name in (*names, *more) if shown[name]])
    _show_parts(tenant)


def revision(tenant: Json) -> str | None:
    """A tenant's revision, and which one it is behind."""
    at, newest = tenant["revision"], tenant["newest_revision"]
    return f"{at}, behind {newest}" if at and newest and at != newest else at


def _show_parts(tenant: Json) -> None:
    if tenant["conditions"]:
        click.echo()
        rows = [
            (c["type"], "yes" if c["holds"] else "no", age(c["since"]), c["reason"] or "")
            for c in tenant["conditions"]
        ]
        print_table(("CONDITION", "HOLDS", "AGE", "REASON"), rows, wraps="REASON")
    if tenant["domains"]:
        click.echo()
        own = [(d["host"], d["state"], _primary(d)) for d in tenant["domains"]]
        print_table(("DOMAIN", "STATE", "KIND"), own, shrinks="DOMAIN")
    if tenant["mails"]:
        click.echo()
        mails = [(m["template"], m["state"], m["recipient"]) for m in tenant["mails"]]
        print_table(("MAIL", "STATE", "TO"), mails, shrinks="TO")
    if tenant["operations"]:
        click.echo()
        done = [
            (o["kind"], o["state"], age(o["created_at"]), o["id"]) for o in tenant["operations"]
        ]
        print_table(("OPERATION", "STATE", "AGE", "ID"), done)


def _primary(domain: Json) -> str:
    return "primary" if domain["is_primary"] else "redirects" if domain["redirects"] else "-"


@command.command("delete", short_help="Take a tenant off the air; its rows are kept.")
@click.argument("tenant")
@click.option("--confirm", metavar="TENANT", help="The same again, so that it is meant.")
@wait_option
@timeout_option
@dry_run_option
@output_option
def delete(
    *,
    tenant: str,
    confirm: str | None,
    wait: bool,
    timeout: float | None,
    dry_run: bool,
    output: Output,
) -> None:
    """Delete a tenant: its host is refused at once, its record goes, its rows are kept.

    Deleting one that is deleted changes nothing.
    """
    if confirm != tenant and not dry_run:
        raise click.UsageError(
            f"This takes the tenant off the air. If you mean it: "
            f"controlplane tenant delete {tenant} --confirm {tenant}"
        )
    asyncio.run(_delete(tenant, wait=wait, timeout_s=timeout, dry_run=dry_run, output=output))


async def _delete(
    reference: str, *, wait: bool, timeout_s: float | None, dry_run: bool, output: Output
) -> None:
    async with open_api() as api:
        tenant = await api.tenant(reference)
        if dry_run:
            tell(f"Would delete '{tenant['subdomain']}' ({tenant['id']}), now {tenant['state']}.")
            return
        operation = await api.delete(f"{TENANTS}/{tenant['id']}")
        if operation["state"] == OperationState.SUCCEEDED:
            tell(f"'{tenant['subdomain']}' is deleted already.")
        title = f"Deleting '{tenant['subdomain']}', operation {operation['id']}"
        await finish(api, operation, title, wait=wait, timeout_s=timeout_s, output=output)
