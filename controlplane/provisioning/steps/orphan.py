"""What only `clean` does: take away what carries our mark and belongs to no tenant that lives.

`params` of the operation: `record`, a name in the zone or null, and `schema`, whether schema and
role are to go. The tenant keeps its state.
"""

from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.dns import record_for
from controlplane.domain.drift import record_is_orphan, schema_is_orphan
from controlplane.domain.naming import Subdomain, schema_name
from controlplane.errors import Permanent
from controlplane.ports import DnsProvider
from controlplane.provisioning import journal
from controlplane.provisioning.step import Later, OneWay, Output, Target
from controlplane.provisioning.steps.dns import gone
from controlplane.provisioning.steps.schema import PAUSE_S
from controlplane.store import tenants
from controlplane.tenancy.drop import drop
from controlplane.tenancy.ownership import find, owned


class Disown(OneWay):
    """The pivot: looks once more whether what is about to go is an orphan. From here on it stays
    one, because a tenant's state changes by operations alone, and this one is live."""

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        if not await self.observe(tx, target):
            raise Permanent("What was to be removed is in use again; nothing was touched.")
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        tenant = await tenants.get(tx, target.tenant.id)
        record, schema = target.params["record"], target.params["schema"]
        return (not schema or schema_is_orphan(tenant.state)) and (
            record is None or record_is_orphan(record, tenant.subdomain, tenant.state)
        )


@dataclass(frozen=True)
class OrphanRecord:
    """The record of `params`, whatever the tenant's subdomain is. Made by no plan."""

    provider: DnsProvider
    target: str
    condition: ClassVar[str | None] = None
    resource: ClassVar[str | None] = "dns"

    def external_id(self, target: Target) -> str:
        return target.params["record"] or ""

    async def ensure(self, _target: Target) -> Output:
        raise AssertionError("BUG: nobody makes an orphan")

    async def absent(self, target: Target) -> Output | Later:
        name = target.params["record"]
        if not name:
            return None
        return await gone(self.provider, record_for(Subdomain(name), self.target), target)

    async def observe(self, target: Target) -> bool:
        name = target.params["record"]
        if not name:
            return False
        return await self.provider.find(record_for(Subdomain(name), self.target), target.mark)


class OrphanSchema:
    """Schema and role of a tenant that is failed or purged; its entry in the inventory too."""

    condition: ClassVar[str | None] = None
    # A clean that is about a record alone must not strike the schema out of the inventory.
    resource: ClassVar[str | None] = None

    def external_id(self, target: Target) -> str:
        return schema_name(target.tenant.id)

    async def ensure(self, _tx: AsyncConnection, _target: Target) -> Output:
        raise AssertionError("BUG: nobody makes an orphan")

    async def absent(self, tx: AsyncConnection, target: Target) -> Output | Later:
        tenant_id = target.tenant.id
        if target.params["schema"] and schema_is_orphan((await tenants.get(tx, tenant_id)).state):
            dropped = await drop(tx, tenant_id=tenant_id, mark=target.mark)
            await tenants.set_revision(tx, tenant_id, None)
            if not dropped:
                return Later(PAUSE_S)
            await journal.unhold(tx, tenant_id, "schema", schema_name(tenant_id))
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        holding = await find(tx, target.tenant.id)
        return owned(holding.schema, target.mark) or owned(holding.role, target.mark)
