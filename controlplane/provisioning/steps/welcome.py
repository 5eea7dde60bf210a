"""The welcome mail once more; sending it mints a new link and revokes the earlier ones."""

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.provisioning.step import OneWay, Output, Target
from controlplane.store import deliveries, tenants


class Welcome(OneWay):
    async def ensure(self, tx: AsyncConnection, target: Target) -> Output:
        await enqueue_welcome(tx, target)
        return None

    async def observe(self, tx: AsyncConnection, target: Target) -> bool:
        mails = await deliveries.of_tenant(tx, target.tenant.id)
        return any(mail["operation_id"] == target.operation_id for mail in mails)


async def enqueue_welcome(tx: AsyncConnection, target: Target) -> None:
    """Put the welcome mail of this operation into the outbox, once."""
    await deliveries.enqueue(
        tx,
        tenant_id=target.tenant.id,
        operation_id=target.operation_id,
        template="welcome",
        recipient=target.tenant.admin_email,
    )
    await tenants.set_condition(tx, target.tenant.id, "WelcomeSent", holds=False, reason="queued")
