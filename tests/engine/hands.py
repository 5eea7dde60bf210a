"""Workers that freeze, die and wake up on cue, each with one operation, under weather that is made.

Every place that one comes by is told to the model. Nothing here depends on time: what is due, and
whose lease has run out, is said.
"""

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NoReturn
from uuid import UUID

from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from controlplane.domain.operations import Operation
from controlplane.errors import DnsConflict, SchemaConflict, Transient
from tests.engine.faults import Wrapped
from tests.engine.lab import Lab
from tests.engine.model import Model

FOREVER = 1_000_000
_INSIDE_A_TRANSACTION = {"after-fence", "after-effect", "before-commit", "before-finish-commit"}
_BEHIND_A_COMMIT = {"after-commit", "after-unwind", "after-finish"}


class Killed(BaseException):
    """Ends a worker as SIGKILL does: it writes nothing more, and its lease stays."""


@dataclass(frozen=True)
class Fault:
    """What a step does instead of, or after, its work."""

    error: type[Exception]
    after_effect: bool

    def strike(self) -> NoReturn:
        raise self.error("broken on purpose")


@dataclass(eq=False)
class Hand:
    """A worker that has claimed one operation. After `left` more places it freezes or dies."""

    claimed: Operation
    left: int = 0
    dies: bool = False
    place: str = "::"
    # One of its steps has failed for good.
    failed: bool = False
    # Its transaction was ended from outside, as the server does with one that stays idle.
    cut: bool = False
    frozen: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def in_transaction(self) -> bool:
        return not self.cut and self.place.rpartition(":")[2] in _INSIDE_A_TRANSACTION


class _Weathered(Wrapped):
    """A step as one hand has it."""

    def __init__(self, name: str, step: Any, hand: Hand, workers: "Workers") -> None:
        super().__init__(step)
        self.name, self.hand, self.workers = name, hand, workers

    async def call(self, method: str, *args: Any) -> Any:
        fault = self.workers.weather.get(self.name)
        # Nothing fences a call: what it leaves behind is for the reaper.
        self.workers.excused |= not self.workers.current(self.hand)
        try:
            if fault is None:
                return await super().call(method, *args)
            if fault.after_effect:
                await super().call(method, *args)
            fault.strike()
        except (Transient, TimeoutError, OperationalError, InterfaceError, InternalError):
            raise
        except Exception as error:
            self.hand.failed = True
            if fault is None and not isinstance(error, (DnsConflict, SchemaConflict)):
                self.workers.wrong.append(f"{self.name} failed by itself: {error!r}")
            raise


@dataclass
class Workers:
    lab: Lab
    model: Model = field(default_factory=Model)
    weather: dict[str, Fault] = field(default_factory=dict)
    # Those that are frozen.
    hands: list[Hand] = field(default_factory=list)
    # Operations whose lease is held, be it by the dead.
    leased: set[UUID] = field(default_factory=set)
    # What was seen that must not be.
    wrong: list[str] = field(default_factory=list)
    # Something happened that may leave an orphan, or take away a record.
    excused: bool = False

    async def parked(self) -> list[UUID]:
        rows = await self.lab.sql(
            "SELECT id FROM public.operations WHERE state = 'parked' ORDER BY created_at"
        )
        return [row.id for row in rows]

    async def work(self, operation: UUID, *, left: int = FOREVER, dies: bool = False) -> None:
        """A worker looks for this operation and, where it may, drives it past `left` places."""
        expected = operation not in self.leased | set(await self.parked()) | self._locked()
        engine = self.lab.engine()
        await self._only_due(operation)
        claimed = await engine.claim()
        told = [found.id for found in claimed]
        assert told == ([operation] if expected else []), f"claimed {told}, {expected} by the model"
        if not claimed:
            return
        self.leased.add(operation)
        known = self.model.operations[operation]
        known.epoch += 1
        assert claimed[0].epoch == known.epoch, "a claim that raised no epoch"
        hand = Hand(claimed[0])
        self.hands.append(hand)
        steps: dict[str, Any] = {
            name: _Weathered(name, step, hand, self) for name, step in self.lab.steps.items()
        }
        gate = partial(self._gate, hand)
        engine.crew = replace(engine.crew, failpoint=gate, steps=steps)
        hand.left, hand.dies = left, dies
        hand.task = asyncio.create_task(engine.drive(hand.claimed))
        await self._until_still(hand)

    def _locked(self) -> set[UUID]:
        return {hand.claimed.id for hand in self.hands if hand.in_transaction}

    async def thaw(self, hand: Hand, *, left: int = FOREVER, dies: bool = False) -> None:
        """A frozen worker goes on, whatever has happened meanwhile."""
        hand.left, hand.dies = left, dies
        hand.frozen.clear()
        hand.go.set()
        await self._until_still(hand)

    async def _until_still(self, hand: Hand) -> None:
        assert hand.task is not None
        frozen = asyncio.create_task(hand.frozen.wait())
        await asyncio.wait({hand.task, frozen}, return_when=asyncio.FIRST_COMPLETED)
        frozen.cancel()
        if not hand.task.done():
            return
        self.hands.remove(hand)
        error = hand.task.exception()
        if error is not None and not isinstance(error, Killed):
            raise error
        if error is None and self.current(hand):
            self.leased.discard(hand.claimed.id)

    async def _gate(self, hand: Hand, place: str) -> None:
        if place.rpartition(":")[2] in _BEHIND_A_COMMIT and not self.current(hand):
            self.wrong.append(f"a worker of epoch {hand.claimed.epoch} came to {place}")
        else:
            self.model.reached(hand.claimed.id, place, failed=hand.failed)
        while hand.left == 0:
            if hand.dies:
                raise Killed
            hand.place = place
            hand.go.clear()
            hand.frozen.set()
            await hand.go.wait()
        hand.place = "::"
        hand.left -= 1

    def current(self, hand: Hand) -> bool:
        return hand.claimed.epoch == self.model.operations[hand.claimed.id].epoch

    async def expire(self, operation: UUID) -> None:
        """Its lease has run out, unless its worker is writing to the row just now."""
        ended = await self.lab.sql(
            "UPDATE public.operations SET lease_expires_at = clock_timestamp() - interval '1 s'"
            " WHERE id = (SELECT id FROM public.operations WHERE id = :id AND finished_at IS NULL"
            " FOR NO KEY UPDATE SKIP LOCKED) RETURNING id",
            id=operation,
        )
        self.leased -= {row.id for row in ended}

    async def _only_due(self, operation: UUID) -> None:
        await self.lab.sql(
            "UPDATE public.operations SET run_at = clock_timestamp()"
            " + CASE WHEN id = :id THEN interval '0' ELSE interval '1 h' END"
            " WHERE id IN (SELECT id FROM public.operations WHERE finished_at IS NULL"
            " FOR NO KEY UPDATE SKIP LOCKED)",
            id=operation,
        )

    async def _unblock(self, tenant: UUID) -> None:
        if any(h.claimed.tenant_id == tenant and h.in_transaction for h in self.hands):
            await self.cut()

    async def cut(self) -> None:
        """The server ends every transaction that is idle, as it does after some seconds."""
        await self.lab.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND state LIKE 'idle in transaction%'"
        )
        for hand in self.hands:
            hand.cut = hand.cut or hand.in_transaction
