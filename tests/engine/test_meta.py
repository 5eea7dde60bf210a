"""Parts that are broken on purpose: what the suite looks at must notice every one of them.

Each harness is run with its parts whole first (the control), then with one that is broken.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import insert

from controlplane.domain import moves
from controlplane.domain.moves import Finish, Undo
from controlplane.domain.operations import OperationState
from controlplane.errors import Permanent
from controlplane.provisioning import journal
from controlplane.provisioning.drive import Drive
from controlplane.store import deliveries
from controlplane.tenancy.account_tables import users
from controlplane.tenancy.scope import send, tenant_scope
from tests.database import Database
from tests.engine.faults import Repeated, Wrapped
from tests.engine.hands import Fault
from tests.engine.stage import Stage, open_stage

pytestmark = [pytest.mark.anyio]

# How many places a provisioning comes by before the call to DNS has been made.
UNTIL_AFTER_THE_CALL = 12


@pytest.fixture
async def stage(database: Database, tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(database, tmp_path) as opened:
        yield opened


# -- harnesses -----------------------------------------------------------------------------------


async def begun(stage: Stage) -> Any:
    """A provisioning that nobody has claimed."""
    await stage.create("acme")
    return stage.model.live()[0]


async def rolled_back(stage: Stage) -> None:
    """The last step before the pivot fails for good."""
    stage.weather["verify"] = Fault(Permanent, after_effect=False)
    await stage.work(await begun(stage))
    await stage.check()
    await stage.come_to_rest()


async def repeated(stage: Stage) -> None:
    """Every step is done twice."""
    stage.lab.wrap(Repeated)
    await stage.work(await begun(stage))
    await stage.check()
    await stage.come_to_rest()


async def overtaken(stage: Stage) -> None:
    """A frozen worker wakes up while another one is about to make the same call."""
    operation = await begun(stage)
    await stage.work(operation, left=UNTIL_AFTER_THE_CALL)
    (frozen,) = stage.hands
    await stage.expire(operation)
    await stage.work(operation, left=1)
    await stage.thaw(frozen)
    await stage.check()
    await stage.come_to_rest()


async def killed_behind_its_call(stage: Stage) -> None:
    """And then the operation is cancelled: the call must be undone by another one."""
    operation = await begun(stage)
    await stage.work(operation, left=UNTIL_AFTER_THE_CALL, dies=True)
    await stage.cancel(operation)
    await stage.come_to_rest()


async def looked_at_by_another(stage: Stage) -> None:
    """While one worker holds the operation, another looks for work."""
    operation = await begun(stage)
    await stage.work(operation, left=UNTIL_AFTER_THE_CALL)
    await stage.work(operation)
    await stage.come_to_rest()


async def killed_behind_its_mail(stage: Stage) -> None:
    """The sender dies when the mail is out, and another one takes over."""
    await stage.work(await begun(stage))
    await stage.post(dies_at="mail:after-send")
    await stage.come_to_rest()


async def beside_a_foreign_record(stage: Stage) -> None:
    """Somebody else's record has the name already."""
    stage.lab.dns.place_foreign("acme")
    stage.beside = {"acme"}
    await begun(stage)
    await stage.come_to_rest()


async def beside_a_foreign_schema(stage: Stage) -> None:
    """Another installation's schema has the name already."""
    operation = await begun(stage)
    name = f"tenant_{stage.model.operations[operation].tenant.hex}"
    mark = f"controlplane/{uuid4()}/{uuid4()}/{uuid4()}"
    made = SQL("CREATE SCHEMA {0}; COMMENT ON SCHEMA {0} IS {1}")
    # By the same owner, so that nothing but its mark protects it.
    async with stage.lab.parts.owner.begin() as conn:
        await send(conn, made.format(Identifier(name), Literal(mark)).as_string())
    stage.beside = {name}
    await stage.work(operation)
    await stage.come_to_rest()


HARNESSES = [
    rolled_back,
    repeated,
    overtaken,
    killed_behind_its_call,
    looked_at_by_another,
    killed_behind_its_mail,
    beside_a_foreign_record,
    beside_a_foreign_schema,
]


async def test_whole_parts_pass_every_harness(stage):
    whole = dict(stage.lab.steps)
    for harness in HARNESSES:
        stage.lab.steps = dict(whole)
        await harness(stage)
        await stage.clear()


# -- broken steps --------------------------------------------------------------------------------


class UndoesNothing(Wrapped):
    async def absent(self, *_args: Any) -> Any:
        return None


class LeavesItsRole(Wrapped):
    async def absent(self, tx: Any, target: Any) -> Any:
        await super().absent(tx, target)
        role = SQL("CREATE ROLE {0}; COMMENT ON ROLE {0} IS {1}").format(
            Identifier(target.tenant.schema), Literal(str(target.mark))
        )
        await send(tx, role.as_string())


class RemovesAnothersRecord(Wrapped):
    async def absent(self, target: Any) -> Any:
        del self.step.provider.records["globex"]
        return await super().absent(target)


class RemovesWhatIsNotOurs(Wrapped):
    async def absent(self, target: Any) -> Any:
        self.step.provider.foreign.pop(target.tenant.subdomain, None)
        return await super().absent(target)


class MakesRoomForItself(Wrapped):
    """Drops whatever has its name."""

    async def ensure(self, tx: Any, target: Any) -> Any:
        name = Identifier(target.tenant.schema)
        await send(tx, SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(name).as_string())
        return await super().ensure(tx, target)


class MakesOneMoreEachTime(Wrapped):
    async def ensure(self, tx: Any, target: Any) -> Any:
        async with tenant_scope(tx, target.tenant.id):
            await tx.execute(insert(users).values(id=uuid4(), email=f"{uuid4().hex}@acme.test"))
        return await super().ensure(tx, target)


class WorksOnlyOnce(Wrapped):
    done = False

    async def ensure(self, *args: Any) -> Any:
        if self.done:
            raise Permanent("it is there already")
        self.done = True
        return await super().ensure(*args)


def step(name: str, broken: type[Wrapped]) -> Callable[[Stage, pytest.MonkeyPatch], None]:
    def breaks(stage: Stage, _patch: pytest.MonkeyPatch) -> None:
        stage.lab.steps[name] = broken(stage.lab.steps[name])

    return breaks


# -- broken engines ------------------------------------------------------------------------------


def unfenced(_stage: Stage, patch: pytest.MonkeyPatch) -> None:
    """Nothing asks for the epoch."""
    for name in ("_FENCE", "_RECORD", "_TURN"):
        text = getattr(journal, name)
        assert "AND epoch = %(epoch)s" in text
        patch.setattr(journal, name, text.replace("AND epoch = %(epoch)s", ""))


def without_intent(_stage: Stage, patch: pytest.MonkeyPatch) -> None:
    """A call is made before it is on record."""

    async def intend(self: Drive, course: Any, _target: Any) -> None:
        await self._at(course, "before-intent")
        self.operation = course.tried(self.operation, state=course.started)

    patch.setattr(Drive, "_intend", intend)


def undoing_from_the_front(_stage: Stage, patch: pytest.MonkeyPatch) -> None:
    def back(operation: Any) -> Undo | Finish:
        for ordinal, known in enumerate(operation.steps):
            if known.state in {"started", "done", "undo_started"}:
                return Undo(ordinal)
        return Finish(OperationState.FAILED)

    patch.setattr(moves, "_back", back)


def losing_an_event(_stage: Stage, patch: pytest.MonkeyPatch) -> None:
    """A step is recorded, its event is not."""
    text = journal._RECORD  # noqa: SLF001  it is to be broken
    patch.setattr(journal, "_RECORD", text.replace(journal._EVENT, "SELECT 1 FROM op"))  # noqa: SLF001  the same


def claiming_whatever_is_due(_stage: Stage, patch: pytest.MonkeyPatch) -> None:
    text = journal._CLAIM  # noqa: SLF001  it is to be broken
    careless = re.sub(r"AND \(lease_expires_at IS NULL .*\n", "\n", text)
    assert careless != text
    patch.setattr(journal, "_CLAIM", careless)


def sending_without_intent(_stage: Stage, patch: pytest.MonkeyPatch) -> None:
    async def intend(_conn: Any, _delivery: Any, **_more: Any) -> None:
        return None

    patch.setattr(deliveries, "intend", intend)


@dataclass(frozen=True)
class Broken:
    """What is broken, in which harness, and what notices it first."""

    says: str
    breaks: Callable[[Stage, pytest.MonkeyPatch], None]
    harness: Callable[[Stage], Awaitable[None]]
    noticed: str

    def __str__(self) -> str:
        return self.says.replace(" ", "-")


BROKEN = [
    Broken("an undo that leaves the schema", step("schema", UndoesNothing), rolled_back, "I8"),
    Broken("an undo that leaves the role", step("schema", LeavesItsRole), rolled_back, "I8"),
    Broken("an undo that leaves the record", step("dns", UndoesNothing), rolled_back, "I11"),
    Broken(
        "an undo that takes another's record",
        step("dns", RemovesAnothersRecord),
        rolled_back,
        "I11",
    ),
    Broken("a step that doubles", step("admin", MakesOneMoreEachTime), repeated, "I9"),
    Broken(
        "a step that works once", step("schema", WorksOnlyOnce), repeated, "schema failed by itself"
    ),
    Broken("a write without fence", unfenced, overtaken, "I6 an old epoch"),
    Broken("a call without intent", without_intent, killed_behind_its_call, "I11"),
    Broken("an undo from the front", undoing_from_the_front, rolled_back, "I3 "),
    Broken("an event that is lost", losing_an_event, rolled_back, "I6 events"),
    Broken(
        "a claim that ignores leases", claiming_whatever_is_due, looked_at_by_another, "claimed"
    ),
    Broken(
        "a mail without intent", sending_without_intent, killed_behind_its_mail, "I12 sent twice"
    ),
    Broken(
        "a step that removes what is not ours",
        step("dns", RemovesWhatIsNotOurs),
        beside_a_foreign_record,
        "I14 what is not ours",
    ),
    Broken(
        "a step that makes room for itself",
        step("schema", MakesRoomForItself),
        beside_a_foreign_schema,
        "I14 what is not ours",
    ),
]


@pytest.mark.parametrize("broken", BROKEN, ids=str)
async def test_a_broken_part_is_noticed(stage, monkeypatch, broken):
    broken.breaks(stage, monkeypatch)

    with pytest.raises(AssertionError, match=broken.noticed):
        await broken.harness(stage)
