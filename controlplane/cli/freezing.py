"""`controlplane tenant freeze|unfreeze`"""

import asyncio

import click

from controlplane.cli.client import TENANTS, open_api
from controlplane.cli.output import tell


@click.command("freeze")
@click.argument("tenant")
@click.option("--reason", required=True, help="Shown with the tenant, and by rollouts.")
def freeze(*, tenant: str, reason: str) -> None:
    """Keep a tenant at its revision: rollouts skip it, and say so."""
    asyncio.run(_freeze(tenant, reason))


async def _freeze(reference: str, reason: str) -> None:
    async with open_api() as api:
        tenant = await api.tenant(reference)
        frozen = await api.post(f"{TENANTS}/{tenant['id']}/freeze", {"reason": reason})
    tell(f"'{frozen['subdomain']}' stays at {frozen['revision']}.")


@click.command("unfreeze")
@click.argument("tenant")
def unfreeze(*, tenant: str) -> None:
    """Have the next rollout take a frozen tenant along again."""
    asyncio.run(_unfreeze(tenant))


async def _unfreeze(reference: str) -> None:
    async with open_api() as api:
        tenant = await api.tenant(reference)
        await api.post(f"{TENANTS}/{tenant['id']}/unfreeze")
    tell(f"'{tenant['subdomain']}' is upgraded by the next rollout.")


COMMANDS = (freeze, unfreeze)
