"""The tenant's sessions. A plan only ever wants them gone."""

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.provisioning.step import Output, Plain, Target
from controlplane.tenancy.admin import revoke_sessions
from controlplane.tenancy.ownership import find


class Sessions(Plain):
    async def ensure(self, _tx: AsyncConnection, _target: Target) -> Output:
        # A revoked session is not given back: its user signs in again.
        return None

    async def absent(self, tx: AsyncConnection, target: Target) -> Output:
        if not (await find(tx, target.tenant.id)).ours(target.mark):
            return {"revoked": 0}
        return {"revoked": await revoke_sessions(tx, tenant_id=target.tenant.id)}

    async def observe(self, _tx: AsyncConnection, _target: Target) -> bool:
        return True
