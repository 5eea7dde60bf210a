"""The sender loop: delivers the outbox, apart from every operation.

At most one automatic mail: the intent is written before the mail is handed over, and an intent
without a result is `uncertain` and left to people. What surely was not taken is tried again, with
back-off, for 24 hours.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.mail import DeliveryState, Message
from controlplane.domain.moves import wait_s
from controlplane.domain.tenants import Tenant, TenantState
from controlplane.errors import (
    LeaseLost,
    ProviderRefused,
    ProviderUnavailable,
    SendUncertain,
    StepError,
)
from controlplane.ports import MailSender
from controlplane.provisioning.crew import Failpoint, nowhere
from controlplane.provisioning.leases import Timing
from controlplane.provisioning.waiting import first_of
from controlplane.store import deliveries, mail_events, tenants
from controlplane.store.deliveries import Delivery
from controlplane.tenancy.admin import admin_id, mint_setup_token

log = structlog.get_logger()

# Renders the welcome mail: (delivery, tenant, raw setup token) -> message.
RenderWelcome = Callable[[Delivery, Tenant, str], Message]

_SUPPRESSED = {
    "code": "recipient_suppressed",
    "detail": "Mail to this address came back for good, or was complained of. To try it all the same, "
    "send the welcome mail again.",
}
_UNCERTAIN = {"code": SendUncertain.code, "detail": "The sender ended between intent and result."}


@dataclass
class Mailroom:
    """Sends what is due until told to stop. `wake` is set by whoever heard of a new mail."""

    database: AsyncEngine
    sender: MailSender
    render: RenderWelcome
    token_ttl: timedelta
    timing: Timing
    failpoint: Failpoint = nowhere
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when `stopping` is set and no mail is on its way."""
        while not stopping.is_set():
            self.wake.clear()
            if not await self.deliver_one():
                await first_of(self.wake, stopping, timeout_s=self.timing.poll_s)

    async def deliver_one(self) -> bool:
        """Deal with one due mail; False when none was due or the database was away."""
        try:
            async with self.database.begin() as conn:
                delivery = await deliveries.claim(conn, ttl_s=self.timing.lease_s)
            if delivery is None:
                return False
            await self._deal_with(delivery)
        except LeaseLost as error:
            log.warning("mail_lost", detail=str(error))
        except DBAPIError as error:
            log.warning("mailroom_failed", error=type(error.orig).__name__)
            return False
        return True

    async def _deal_with(self, delivery: Delivery) -> None:
        if delivery.interrupted:
            await self._settle(delivery, DeliveryState.UNCERTAIN, error=_UNCERTAIN)
        elif delivery.expired:
            await self._settle(delivery, DeliveryState.FAILED, error={"code": "gave_up"})
        elif await self._suppressed(delivery):
            await self._settle(delivery, DeliveryState.FAILED, error=_SUPPRESSED)
        else:
            await self._send(delivery)

    async def _suppressed(self, delivery: Delivery) -> bool:
        async with self.database.connect() as conn:
            return await mail_events.suppressed(conn, delivery)

    async def _send(self, delivery: Delivery) -> None:
        try:
            message = await self._intend(delivery)
        except (LeaseLost, DBAPIError):
            raise
        except Exception:
            # A mail that cannot be made must not end the loop.
            log.exception("mail_not_made", mail=str(delivery.id))
            await self._settle(delivery, DeliveryState.FAILED, error={"code": "mail_not_made"})
            return
        if message is None:
            await self._wait_for_tenant(delivery)
            return
        await self.failpoint("mail:after-intent")
        await self._hand_over(delivery, message)

    async def _hand_over(self, delivery: Delivery, message: Message) -> None:
        try:
            async with asyncio.timeout(self.timing.call_s):
                provider_id = await self.sender.send(message)
        except ProviderUnavailable as error:
            await self._postpone(delivery, error)
        except ProviderRefused as error:
            await self._settle(delivery, DeliveryState.FAILED, error=_told(error))
        except (SendUncertain, TimeoutError) as error:
            await self._settle(delivery, DeliveryState.UNCERTAIN, error=_told(error))
        except Exception as error:
            # The loop must go on, and nobody can tell whether this mail was taken.
            log.exception("sender_broke", mail=str(delivery.id))
            await self._settle(delivery, DeliveryState.UNCERTAIN, error=_broke(error))
        else:
            await self.failpoint("mail:after-send")
            await self._settle(delivery, DeliveryState.SENT, provider_id=provider_id)

    async def _intend(self, delivery: Delivery) -> Message | None:
        """Mint this mail's own token (which revokes the earlier ones), render it and write the
        intent; None while the tenant is not served. A deletion that succeeds withdraws the mail."""
        async with self.database.begin() as conn:
            tenant = await tenants.get(conn, delivery.tenant_id, lock=True)
            if tenant.state not in {TenantState.ACTIVE, TenantState.SUSPENDED}:
                return None
            message = self.render(delivery, tenant, await self._token(conn, tenant))
            await deliveries.intend(conn, delivery, message_id=message.message_id)
        return message

    async def _wait_for_tenant(self, delivery: Delivery) -> None:
        async with self.database.connect() as conn:
            state = (await tenants.get(conn, delivery.tenant_id)).state
        if state in _GONE:
            await self._settle(delivery, DeliveryState.FAILED, error={"code": "tenant_deleted"})
        else:
            await self._postpone(delivery, _NOT_SERVED)

    async def _token(self, conn: AsyncConnection, tenant: Tenant) -> str:
        user = admin_id(tenant.id)
        return await mint_setup_token(conn, tenant_id=tenant.id, user_id=user, ttl=self.token_ttl)

    async def _postpone(self, delivery: Delivery, error: ProviderUnavailable) -> None:
        wait = wait_s(delivery.attempt + 1, error.retry_after_s) * self.timing.wait_factor
        async with self.database.begin() as conn:
            await deliveries.postpone(conn, delivery, wait, _told(error))
        log.info("mail_postponed", mail=str(delivery.id), seconds=wait, code=error.code)

    async def _settle(self, delivery: Delivery, state: DeliveryState, **values: Any) -> None:
        async with self.database.begin() as conn:
            await tenants.set_condition(
                conn,
                delivery.tenant_id,
                "WelcomeSent",
                holds=state is DeliveryState.SENT,
                reason=str(state),
            )
            await deliveries.settle(conn, delivery, state, **values)
        log.info("mail", mail=str(delivery.id), template=delivery.template, state=str(state))


# A mail that was on its way when its tenant was deleted, and was not taken.
_GONE = frozenset(
    {TenantState.DELETED, TenantState.PURGING, TenantState.PURGED, TenantState.FAILED}
)
_NOT_SERVED = ProviderUnavailable("The tenant is not served at the moment.")


def _broke(error: Exception) -> dict[str, Any]:
    return {"code": SendUncertain.code, "detail": f"The sender broke ({type(error).__name__})."}


def _told(error: Exception) -> dict[str, Any]:
    if isinstance(error, StepError):
        return {"code": error.code, "detail": str(error)}
    return {"code": SendUncertain.code, "detail": "There was no answer in time."}
