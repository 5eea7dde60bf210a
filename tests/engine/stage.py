"""One control plane of which everything may be asked, and what must hold of it at any moment.

Whatever is asked is compared with the model's answer. What its workers do is in hands.py.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from controlplane import worker
from controlplane.errors import (
    ControlPlaneError,
    InvalidState,
    OperationInProgress,
    SubdomainQuarantined,
    SubdomainTaken,
    ValidationFailed,
)
from controlplane.provisioning import lifecycle, requests
from controlplane.provisioning.reaper import Reaper
from controlplane.store.operations import OperationView
from tests.database import Database
from tests.engine.erasure import erase
from tests.engine.hands import Killed, Workers
from tests.engine.lab import ACTOR, Lab, open_lab, setting
from tests.engine.model import Model
from tests.engine.names import outlast_holds
from tests.engine.world import World, assert_journal, assert_world, fingerprint

# The longest way there is: forward, back, and every wait in between.
_ROUNDS = 40
_GRACE = timedelta(days=30)
_ASKS: dict[str, tuple[Callable[..., Awaitable[OperationView]], dict[str, Any]]] = {
    "again": (requests.provision_again, {}),
    "delete": (requests.delete_tenant, {}),
    "suspend": (lifecycle.suspend, {}),
    "resume": (lifecycle.resume, {}),
    "restore": (lifecycle.restore, {"grace": _GRACE}),
    "purge": (lifecycle.purge, {"grace": _GRACE, "skip_grace": True}),
    "repair": (lifecycle.repair, {}),
    "welcome": (lifecycle.resend_welcome, {}),
    "rename": (lifecycle.rename, {}),
}
_REFUSALS: dict[type[ControlPlaneError], str] = {
    OperationInProgress: "busy",
    InvalidState: "invalid",
    SubdomainTaken: "taken",
    SubdomainQuarantined: "quarantined",
    ValidationFailed: "unchanged",
}


@dataclass
class Stage(Workers):
    """`bystander` is a tenant that must be as `before` whenever it is looked at."""

    bystander: UUID = field(kw_only=True)
    before: dict[str, Any] = field(kw_only=True)
    # Names of schemas and records that are not ours and have to stay.
    beside: set[str] = field(default_factory=set)
    reaper: Reaper | None = None

    @classmethod
    async def open(cls, lab: Lab) -> "Stage":
        bystander = await lab.active("globex")
        return cls(lab, bystander=bystander, before=await fingerprint(lab, bystander))

    async def create(self, name: str) -> None:
        expected = self.model.claim(name, None, await self.inventory())
        try:
            view = await self.lab.create(name)
        except (SubdomainTaken, SubdomainQuarantined) as error:
            answer = _REFUSALS[type(error)]
        else:
            answer = "accepted"
            self.model.create(view.tenant_id, name, view.id)
        assert answer == expected, f"create {name}: {expected} by the model, {answer} in truth"

    async def inventory(self) -> dict[str, set[UUID]]:
        """By name, whose record may be there."""
        found: dict[str, set[UUID]] = {}
        for row in await self.lab.sql("SELECT * FROM public.tenant_resources WHERE kind = 'dns'"):
            found.setdefault(row.external_id, set()).add(row.tenant_id)
        return found

    async def ask(self, what: str, tenant: UUID, name: str) -> None:
        """`name` is for a rename."""
        asked = self.model.tenants[tenant]
        name = name if what == "rename" else asked.name
        expected = self.model.answer(what, tenant, name, await self.inventory())
        request, more = _ASKS[what]
        named: dict[str, Any] = {"purge": {"confirm": name}, "rename": {"subdomain": name}}
        more = {**more, **named.get(what, {})}
        await self._unblock(tenant)
        try:
            async with self.lab.parts.control.begin() as conn:
                view = await request(conn, tenant, actor=ACTOR, deadline_s=300, **more)
        except tuple(_REFUSALS) as error:
            answer = _REFUSALS[type(error)]
        else:
            answer = "same" if view.id in self.model.operations else "accepted"
        assert answer == expected, f"{what}: {expected} by the model, {answer} in truth"
        if answer == "accepted":
            self.model.began(view.id, view.kind, tenant, name)

    async def cancel(self, operation: UUID) -> None:
        expected = self.model.may_cancel(operation)
        if self._barred(operation):
            await self.cut()
        try:
            async with self.lab.parts.control.begin() as conn:
                await requests.cancel(conn, operation, actor=ACTOR)
        except InvalidState:
            assert not expected, "a cancel was refused before the pivot"
        else:
            assert expected, "a cancel was accepted behind the pivot"
            self.model.operations[operation].cancelled = True

    def _barred(self, operation: UUID) -> bool:
        """Whether a transaction holds the row against a cancel: a pivot's, or one that has
        written."""
        for hand in self.hands:
            if hand.claimed.id == operation and hand.in_transaction:
                _, step, where = hand.place.split(":")
                pivot = hand.claimed.plan.steps[hand.claimed.plan.pivot].name
                return where.startswith("before-") or step == pivot
        return False

    async def resume(self, operation: UUID) -> None:
        async with self.lab.parts.control.begin() as conn:
            await requests.resume(conn, operation, actor=ACTOR)

    async def abandon(self, operation: UUID) -> None:
        told = {"reason": "unfixable", "comment": "none", "by": "ada@ops.test"}
        async with self.lab.parts.control.begin() as conn:
            await requests.abandon(conn, operation, quarantine=_GRACE, actor=ACTOR, **told)
        self.model.abandoned(operation)
        self.excused = True

    async def outlast_holds(self) -> None:
        await outlast_holds(self.lab)
        self.model.held.clear()

    async def sweep(self) -> None:
        """What it begins, it begins for idle tenants only, and never without a cause."""
        self.reaper = self.reaper or worker.open_reaper(self.lab.parts)
        await self.reaper.sweep()
        known = [self.bystander, *self.model.tenants]
        begun = await self.lab.sql(
            "SELECT id, kind, tenant_id FROM public.operations WHERE finished_at IS NULL"
            " ORDER BY created_at"
        )
        for row in begun:
            if row.id not in self.model.operations:
                assert self.excused, f"the sweep has found something: {row.kind}"
                assert row.kind in {"clean", "repair"}, row
                assert row.tenant_id in known, row
                assert not self.model.live(row.tenant_id), "the sweep cut in on an operation"
                self.model.began(row.id, row.kind, row.tenant_id)

    async def post(self, *, dies_at: str | None = None) -> None:
        """The mailroom deals with one mail, if there is any."""
        if any(hand.in_transaction for hand in self.hands):
            await self.cut()

        async def gate(place: str) -> None:
            if place == dies_at:
                raise Killed

        await self.lab.sql(
            "UPDATE public.email_deliveries SET run_at = clock_timestamp(),"
            " lease_expires_at = NULL WHERE state IN ('queued', 'sending')"
        )
        with suppress(Killed):
            await self.lab.mailroom(failpoint=gate).deliver_one()

    async def foreign(self) -> set[str]:
        """What is there and does not carry our mark."""
        schemas = await self.lab.sql(
            "SELECT nspname FROM pg_namespace WHERE nspname ~ '^tenant_' AND NOT starts_with("
            "coalesce(obj_description(oid, 'pg_namespace'), ''), :mark)",
            mark=f"controlplane/{self.lab.parts.installation}/",
        )
        return {row.nspname for row in schemas} | set(self.lab.dns.foreign)

    async def check(self) -> World:
        world = await assert_journal(self.lab)
        assert not self.wrong, self.wrong
        ours = [o for o in world.operations if o.tenant_id != self.bystander]
        ended = {o.id: o.state if o.finished_at else None for o in ours}
        assert ended == {key: known.ended for key, known in self.model.operations.items()}
        rows = {k: (t.subdomain, t.state) for k, t in world.tenants.items() if k != self.bystander}
        assert rows == {key: (t.name, t.state) for key, t in self.model.tenants.items()}
        return world

    def heal(self) -> None:
        self.weather.clear()
        self.lab.sender.faults.clear()

    async def come_to_rest(self) -> None:
        """In good weather, with every frozen worker awake, all ends as the model says."""
        self.heal()
        for hand in list(self.hands):
            await self.thaw(hand)
        owed: dict[UUID, str] = {}
        for _ in range(_ROUNDS):
            for operation in self.model.live():
                owed.setdefault(operation, self.model.outcome(operation, self._zone()))
                await self._finish(operation)
            if not self.excused:
                await self._assert_whole()
            await self._ask_again()
            await self.sweep()
            await self.sweep()
            if not self.model.live():
                break
        for operation, outcome in owed.items():
            ended = self.model.operations[operation]
            assert ended.ended == outcome, f"{ended.kind} ended {ended.ended}, owed {outcome}"
        await self._assert_whole()

    async def _ask_again(self) -> None:
        """As whoever has abandoned a purge has to: its tenant is neither there nor gone."""
        for tenant, known in self.model.tenants.items():
            if known.state == "purging" and not self.model.live(tenant):
                await self.ask("purge", tenant, known.name)

    def _zone(self) -> dict[str, UUID]:
        records = {name: held.mark.tenant for name, held in self.lab.dns.records.items()}
        return records | dict.fromkeys(self.lab.dns.foreign, self.bystander)

    async def _finish(self, operation: UUID) -> None:
        """Drive it until it is over; one that parks again is left for the next round."""
        resumed = False
        for _ in range(_ROUNDS):
            if self.model.operations[operation].ended:
                return
            if operation in await self.parked():
                if resumed:
                    return
                resumed = True
                await self.resume(operation)
            await self.expire(operation)
            await self.work(operation)
        raise AssertionError("it does not come to rest")

    async def _assert_whole(self) -> None:
        for _ in self.model.operations:
            await self.post()
        await self.check()
        await assert_world(self.lab)
        assert await fingerprint(self.lab, self.bystander) == self.before, "I14 a bystander"
        assert self.beside <= await self.foreign(), "I14 what is not ours is gone"

    async def clear(self) -> None:
        """As it was at the beginning, at little cost: only the bystander is left."""
        for hand in self.hands:
            assert hand.task is not None
            hand.task.cancel()
            await asyncio.wait({hand.task})
        erase(self.lab.database, self.model.tenants, but=self.bystander)
        records = self.lab.dns.records
        for name in [n for n, held in records.items() if held.mark.tenant != self.bystander]:
            del records[name]
        self.lab.sender.sent.clear()
        self.heal()

        self.model, self.reaper, self.excused = Model(), None, False
        self.lab.dns.foreign.clear()
        for state in (self.hands, self.leased, self.wrong, self.beside):
            state.clear()


@asynccontextmanager
async def open_stage(database: Database, folder: Path) -> AsyncIterator[Stage]:
    """With everything in memory but the database. No lease, no call and no transaction of who is
    frozen runs out by itself, however slow the machine is."""
    patient = {"CONTROLPLANE_WORKER_LEASE_S": "86400", "CONTROLPLANE_WORKER_CALL_S": "3600"}
    async with (
        open_lab(database, folder, more=patient) as lab,
        setting(lab, "idle_in_transaction_session_timeout", "1h"),
    ):
        stage = await Stage.open(lab)
        try:
            yield stage
        finally:
            await stage.clear()
