"""`controlplane tenant domain …`"""

import asyncio
from typing import Any

import click

from controlplane.cli.acting import dry_run_option
from controlplane.cli.client import TENANTS, Api, open_api
from controlplane.cli.exits import CommandFailed, Exit
from controlplane.cli.output import (
    Output,
    age,
    output_option,
    print_fields,
    print_json,
    print_table,
    tell,
)
from controlplane.domain.own_hosts import ascii_host

Json = dict[str, Any]

_POLL_S = 0.5


@click.group("domain")
def command() -> None:
    """Give tenants domains of their own, and see how they stand.

    \b
    controlplane tenant domain add acme www.acme.example
    controlplane tenant domain check acme www.acme.example
    controlplane tenant domain primary acme www.acme.example
    controlplane tenant domain remove acme www.acme.example --confirm www.acme.example

    TENANT is a subdomain or an id.
    """


@command.command("add")
@click.argument("tenant")
@click.argument("host")
@click.option("--redirects", is_flag=True, help="Send its visitors to the primary domain.")
@dry_run_option
@output_option
def add(*, tenant: str, host: str, redirects: bool, dry_run: bool, output: Output) -> None:
    """Add a domain, and show the records that prove it and lead it to the tenant.

    It is served once a worker has seen the proof. Adding one that is there changes nothing.
    """
    wanted = {"host": ascii_host(host), "redirects": redirects}
    asyncio.run(_add(tenant, wanted, dry_run=dry_run, output=output))


async def _add(reference: str, wanted: Json, *, dry_run: bool, output: Output) -> None:
    async with open_api() as api:
        tenant = await api.tenant(reference)
        if dry_run:
            tell(f"Would add '{wanted['host']}' to '{tenant['subdomain']}' ({tenant['id']}).")
            return
        domain = await api.post(f"{TENANTS}/{tenant['id']}/domains", wanted)
    _print(domain, output)


@command.command("list")
@click.argument("tenant")
@output_option
def list_(*, tenant: str, output: Output) -> None:
    """List a tenant's own domains."""
    asyncio.run(_list(tenant, output))


async def _list(reference: str, output: Output) -> None:
    async with open_api() as api:
        tenant = await api.tenant(reference)
    if output is Output.JSON:
        print_json(tenant["domains"])
        return
    columns = ("HOST", "STATE", "PRIMARY", "REDIRECTS", "POINTS HERE", "SEEN", "PROBLEM")
    print_table(columns, [_row(each) for each in tenant["domains"]], shrinks="PROBLEM")


def _row(domain: Json) -> tuple[str, ...]:
    problem, seen = domain["problem"], domain["checked_at"]
    return (
        domain["host"],
        domain["state"],
        _yes(domain["is_primary"]),
        _yes(domain["redirects"]),
        _yes(domain["points_here"]),
        age(seen) if seen else "-",
        problem["code"] if problem else "-",
    )


def _yes(value: bool | None) -> str:  # noqa: FBT001  it is what is shown
    return "-" if value is None else "yes" if value else "no"


@command.command("show")
@click.argument("tenant")
@click.argument("host")
@output_option
def show(*, tenant: str, host: str, output: Output) -> None:
    """Show a domain: what was seen last, and the records that it needs."""
    asyncio.run(_show(tenant, ascii_host(host), output))


async def _show(reference: str, host: str, output: Output) -> None:
    async with open_api() as api:
        domain = await api.get(await _address(api, reference, host))
    _print(domain, output)


@command.command("check")
@click.argument("tenant")
@click.argument("host")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Wait at most so long for a worker's look.",
)
@output_option
def check(*, tenant: str, host: str, timeout: float, output: Output) -> None:
    """Have a worker look at a domain's DNS now, and show what it saw."""
    asyncio.run(_check(tenant, ascii_host(host), timeout, output))


async def _check(reference: str, host: str, timeout_s: float, output: Output) -> None:
    async with open_api() as api:
        address = await _address(api, reference, host)
        asked = await api.post(f"{address}/check")
        try:
            async with asyncio.timeout(timeout_s):
                domain = await _seen(api, address, asked["checked_at"])
        except TimeoutError:
            raise CommandFailed(
                f"No worker has looked within {timeout_s:g} s; see 'tenant domain show'.",
                exit_code=Exit.UNFINISHED,
            ) from None
    _print(domain, output)


async def _seen(api: Api, address: str, before: str | None) -> Json:
    """The domain once somebody has looked since `before`."""
    while (domain := await api.get(address))["checked_at"] == before:  # noqa: ASYNC110  a process of its own looks
        await asyncio.sleep(_POLL_S)
    return domain


@command.command("primary")
@click.argument("tenant")
@click.argument("host")
@dry_run_option
@output_option
def primary(*, tenant: str, host: str, dry_run: bool, output: Output) -> None:
    """Make a domain the tenant's primary one, which others redirect to.

    Whichever was it before gives way.
    """
    asyncio.run(_primary(tenant, ascii_host(host), dry_run=dry_run, output=output))


async def _primary(reference: str, host: str, *, dry_run: bool, output: Output) -> None:
    async with open_api() as api:
        address = await _address(api, reference, host)
        if dry_run:
            domain = await api.get(address)
            tell(f"Would make '{domain['host']}' the primary one; it is {domain['state']}.")
            return
        domain = await api.patch(address, {"is_primary": True})
    _print(domain, output)


@command.command("remove")
@click.argument("tenant")
@click.argument("host")
@click.option("--confirm", metavar="HOST", help="The same again, so that it is meant.")
@dry_run_option
@output_option
def remove(*, tenant: str, host: str, confirm: str | None, dry_run: bool, output: Output) -> None:
    """Let go of a domain: it is no longer served, and anybody may claim it."""
    if confirm != host and not dry_run:
        raise click.UsageError(
            f"'{host}' would no longer be served. If you mean it: "
            f"controlplane tenant domain remove {tenant} {host} --confirm {host}"
        )
    asyncio.run(_remove(tenant, ascii_host(host), dry_run=dry_run, output=output))


async def _remove(reference: str, host: str, *, dry_run: bool, output: Output) -> None:
    async with open_api() as api:
        address = await _address(api, reference, host)
        domain = await (api.get(address) if dry_run else api.delete(address))
    if output is Output.JSON:
        print_json(domain)
    verb = "Would remove" if dry_run else "Removed"
    tell(f"{verb} '{domain['host']}', which was {domain['state']}.")


async def _address(api: Api, reference: str, host: str) -> str:
    tenant = await api.tenant(reference)
    return f"{TENANTS}/{tenant['id']}/domains/{host}"


def _print(domain: Json, output: Output) -> None:
    if output is Output.JSON:
        print_json(domain)
        return
    print_fields([*_fields(domain)])
    click.echo()
    records = [(r["type"], r["name"], r["value"], _USES[r["purpose"]]) for r in domain["records"]]
    print_table(("RECORD", "NAME", "VALUE", "FOR"), records)


_USES = {
    "proof": "proof",
    "target": "the way here",
    "target_without_cname": "instead, at a zone's top",
}


def _fields(domain: Json) -> list[tuple[str, str]]:
    problem, seen, again = domain["problem"], domain["checked_at"], domain["check_at"]
    fields = [
        ("host", domain["host"]),
        ("state", domain["state"]),
        ("primary", _yes(domain["is_primary"])),
        ("redirects", _yes(domain["redirects"])),
        ("points here", _yes(domain["points_here"])),
        ("seen", f"{age(seen)} ago" if seen else "not yet"),
        ("next look", again or "when it is asked for"),
    ]
    if domain["failing_since"]:
        fields.append(("failing", f"for {age(domain['failing_since'])}"))
    if problem:
        fields.append(("problem", f"{problem['detail']} [{problem['code']}]"))
    return fields
