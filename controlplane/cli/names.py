"""`controlplane tenant rename|release-name`"""

import asyncio
from typing import Any

import click

from controlplane.cli.acting import dry_run_option, finish, timeout_option, wait_option
from controlplane.cli.client import TENANTS, Api, open_api
from controlplane.cli.output import Output, output_option, print_json, tell
from controlplane.domain.naming import Subdomain, parse_subdomain
from controlplane.domain.tenants import RELEASED
from controlplane.errors import SubdomainQuarantined, SubdomainTaken

HOLDS = "/api/admin/subdomain-holds"

Json = dict[str, Any]


async def require_free(api: Api, subdomain: Subdomain, *, to: str | None = None) -> None:
    """Raises SubdomainTaken or SubdomainQuarantined where a new tenant, or the one with the id `to`,
    could not have the name now."""
    if any(tenant["state"] not in RELEASED for tenant in await api.tenants_at(subdomain)):
        raise SubdomainTaken(f"The subdomain '{subdomain}' is taken; choose another.")
    for hold in await _holds(api, subdomain):
        if hold["tenant_id"] != to:
            raise SubdomainQuarantined(
                f"The subdomain '{subdomain}' is held until {_until(hold)}; choose another."
            )


async def _holds(api: Api, subdomain: Subdomain) -> list[Json]:
    found: list[Json] = (await api.get(f"{HOLDS}/{subdomain}"))["holds"]
    return found


def _until(hold: Json) -> str:
    return str(hold["until"] or "a rename has ended")


@click.command("rename")
@click.argument("tenant")
@click.argument("subdomain")
@wait_option
@timeout_option
@dry_run_option
@output_option
def rename(
    *,
    tenant: str,
    subdomain: str,
    wait: bool,
    timeout: float | None,
    dry_run: bool,
    output: Output,
) -> None:
    """Lead another subdomain to an active or suspended tenant.

    The old one leads nowhere from then on, and is kept from others for the quarantine.
    """
    wanted = parse_subdomain(subdomain)
    asyncio.run(
        _rename(tenant, wanted, wait=wait, timeout_s=timeout, dry_run=dry_run, output=output)
    )


async def _rename(
    reference: str,
    subdomain: Subdomain,
    *,
    wait: bool,
    timeout_s: float | None,
    dry_run: bool,
    output: Output,
) -> None:
    async with open_api() as api:
        tenant = await api.tenant(reference)
        old = tenant["subdomain"]
        if dry_run:
            await require_free(api, subdomain, to=tenant["id"])
            tell(f"Would rename '{old}' ({tenant['id']}), now {tenant['state']}, to '{subdomain}'.")
            return
        address = f"{TENANTS}/{tenant['id']}/subdomain"
        operation = await api.put(address, {"subdomain": subdomain})
        title = f"Renaming '{old}' to '{subdomain}', operation {operation['id']}"
        await finish(api, operation, title, wait=wait, timeout_s=timeout_s, output=output)


@click.command("release-name")
@click.argument("subdomain")
@click.option("--confirm", metavar="SUBDOMAIN", help="The same again, so that it is meant.")
@click.option("--dry-run", is_flag=True, help="Only show why it is held, and until when.")
@output_option
def release_name(*, subdomain: str, confirm: str | None, dry_run: bool, output: Output) -> None:
    """Give a quarantined subdomain free before its time.

    Whoever claims it gets the visitors of the tenant that had it. Needs a token of an admin whose
    role is super_admin.
    """
    if confirm != subdomain and not dry_run:
        raise click.UsageError(
            "Whoever claims this name gets the visitors of the tenant that had it. If you mean it: "
            f"controlplane tenant release-name {subdomain} --confirm {subdomain}"
        )
    asyncio.run(_release(parse_subdomain(subdomain), dry_run=dry_run, output=output))


async def _release(subdomain: Subdomain, *, dry_run: bool, output: Output) -> None:
    async with open_api() as api:
        if dry_run:
            found = await _holds(api, subdomain)
        else:
            found = (await api.delete(f"{HOLDS}/{subdomain}"))["holds"]
    if output is Output.JSON:
        print_json(found)
    for hold in found:
        verb = "Would give free" if dry_run else "Gave free"
        held = f"held ({hold['why']}) for {hold['tenant_id']} until {_until(hold)}"
        tell(f"{verb} '{subdomain}', {held}.")
    if not found:
        tell(f"Nobody holds '{subdomain}'.")


COMMANDS = (rename, release_name)
