"""The tenant's role and schema at the newest revision, with its seed rows."""

from dataclasses import dataclass
from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import schema_name
from controlplane.provisioning.step import Later, Output, Target
from controlplane.provisioning.warm import WARM
from controlplane.store import tenants
from controlplane.tenancy.create import create
from controlplane.tenancy.drop import drop, left_over
from controlplane.tenancy.ownership import find, sign
from controlplane.tenancy.stamp import stamps
from controlplane.tenancy.template import Template

# Between two batches of a drop others have their turn, at the database and at the worker.
PAUSE_S = 0.2


@dataclass(frozen=True)
class Schema:
    template: Template
    app_login: str
    # What a schema of the warm pool must have been made by.
    recipe: str
    condition: ClassVar[str | None] = "SchemaReady"
    resource: ClassVar[str | None] = "schema"

    def external_id(self, target: Target) -> str:
        return schema_name(target.tenant.id)

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output | Later:
        if await left_over(
            tx, tenant_id=target.tenant.id, mark=target.mark
        ) or await self._is_stale(tx, target):
            # Of an undo or a purge that was abandoned halfway, or made ahead by another template or
            # changed since. Nobody was ever let into it (again).
            await drop(tx, tenant_id=target.tenant.id, mark=target.mark)
            return Later(PAUSE_S)
        revision = await create(
            tx,
            tenant_id=target.tenant.id,
            mark=target.mark,
            app_login=self.app_login,
            template=self.template,
        )
        if target.params.get(WARM) is not None:
            # Whatever row of the pool comes back, out of a backup, this schema is never its again.
            await sign(tx, target.tenant.id, target.mark)
        await tenants.set_revision(tx, target.tenant.id, revision)
        return {"revision": revision}

    async def _is_stale(self, tx: AsyncConnection, target: Target) -> bool:
        """Whether what the warm pool gave is there, and is not what this worker would make."""
        warm = target.params.get(WARM)
        if warm is None:
            return False
        name = schema_name(target.tenant.id)
        found = (await stamps(tx, [name])).get(name)
        same = warm["recipe"] == self.recipe and found == warm["stamp"]
        return found is not None and not same

    async def absent(self, tx: AsyncConnection, target: Target) -> Output | Later:
        gone = await drop(tx, tenant_id=target.tenant.id, mark=target.mark)
        await tenants.set_revision(tx, target.tenant.id, None)
        return None if gone else Later(PAUSE_S)

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        return (await find(tx, target.tenant.id)).ours(target.mark)
