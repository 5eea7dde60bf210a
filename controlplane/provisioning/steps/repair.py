"""What only `repair` does: look whether there is something to repair, and bring it to head."""

from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.tenants import frozen
from controlplane.errors import Permanent
from controlplane.provisioning.step import OneWay, Output, Target
from controlplane.store import tenants
from controlplane.tenancy.ownership import find
from controlplane.tenancy.template import Template
from controlplane.tenancy.upgrade import upgrade


class Inspect(OneWay):
    """The pivot of `repair`. What is missing can be made again, a tenant's data cannot: without
    its schema the repair stops here, before it would put an empty one in its place."""

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        if not await self.observe(tx, target):
            raise Permanent(
                "The tenant's schema or role is missing or not ours; restore it from a backup. "
                "A repair would put an empty one in its place."
            )
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await find(tx, target.tenant.id)).ours(target.mark)


@dataclass(frozen=True)
class Upgrade(OneWay):
    """The schema at the newest revision, in the step's own transaction; a frozen tenant's is left at
    its own."""

    template: Template
    condition: ClassVar[str | None] = "SchemaReady"

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        # The target's is as it was when the operation was claimed.
        tenant = await tenants.get(tx, target.tenant.id, lock=True)
        if frozen(tenant.conditions):
            return {"revision": tenant.revision}
        revision = await upgrade(tx, tenant_id=target.tenant.id, template=self.template)
        await tenants.set_revision(tx, target.tenant.id, revision)
        return {"revision": revision}

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await find(tx, target.tenant.id)).ours(target.mark)
