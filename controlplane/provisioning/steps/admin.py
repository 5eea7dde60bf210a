"""The tenant's first admin, without a usable password: the welcome mail brings a one-time link."""

from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.provisioning.step import Output, Target
from controlplane.tenancy.admin import admin_exists, create_admin, remove_admin
from controlplane.tenancy.ownership import find


class Admin:
    condition: ClassVar[str | None] = "AdminReady"
    resource: ClassVar[str | None] = None

    def external_id(self, target: Target) -> str:
        return str(target.tenant.id)

    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        tenant = target.tenant
        user_id = await create_admin(
            tx, tenant_id=tenant.id, email=tenant.admin_email, name=tenant.admin_name
        )
        return {"user_id": str(user_id)}

    async def absent(self, tx: AsyncConnection, target: Target) -> Output:
        if (await find(tx, target.tenant.id)).ours(target.mark):
            await remove_admin(tx, tenant_id=target.tenant.id)
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        ours = (await find(tx, target.tenant.id)).ours(target.mark)
        return ours and await admin_exists(tx, tenant_id=target.tenant.id)
