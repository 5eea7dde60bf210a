"""Parts that are broken on purpose: what the suite looks at must notice every one of them.

Each harness is run with its parts whole first (the control), then with one that is broken.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg.sql import SQL, Identifier, Literal

from controlplane.errors import Permanent
from controlplane.tenancy.scope import send
from tests.database import Database
from tests.engine.broken import (
    LeavesItsRole,
    MakesOneMoreEachTime,
    MakesRoomForItself,
    RemovesAnothersRecord,
    RemovesWhatIsNotOurs,
    UndoesNothing,
    WorksOnlyOnce,
    claiming_whatever_is_due,
    losing_an_event,
    sending_without_intent,
    step,
    undoing_from_the_front,
    unfenced,
    without_intent,
)
from tests.engine.faults import Repeated
from tests.engine.hands import Fault
from tests.engine.stage import Stage, open_stage

pytestmark = [pytest.mark.anyio]

# How many places a provisioning comes by before the call to DNS has been made.
UNTIL_AFTER_THE_CALL = 12


@pytest.fixture
async def stage(database: Database, tmp_path: Path) -> AsyncIterator[Stage]:
    async with open_stage(database, tmp_path) as opened:
        yield opened


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
