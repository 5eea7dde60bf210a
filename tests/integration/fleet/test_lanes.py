"""What a lane sends for each target, and what it keeps for later."""

import re
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest

from controlplane.errors import RevisionNeedsOnline
from controlplane.fleet import at_once
from controlplane.fleet.journal import Due
from controlplane.fleet.upgrading import Outcome
from controlplane.fleet.ways import Compiled
from controlplane.store import driver
from tests.integration.fleet.ground import BEFORE, NAMES

pytestmark = pytest.mark.anyio

_IDS = re.compile("[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class _Online(Compiled):
    asked: list[str] = field(default_factory=list)

    async def _compile(self, heads, to):  # noqa: ARG002  as it is called
        self.asked.append(heads)
        raise RevisionNeedsOnline(f"from {heads}")


class _OneOfAll:
    at_most = 8

    async def some(self, rollout, dues):  # noqa: ARG002  as it is called
        return [Outcome.DONE]


async def test_each_transaction_names_its_own_tenant_and_where_that_begins(fleet):
    rollout = await fleet.begin()
    dues = [Due(uuid4(), BEFORE), Due(uuid4(), "elsewhere"), Due(uuid4(), BEFORE)]
    async with at_once.opened(fleet.roller().upgrader) as lane:
        assert isinstance(lane, at_once._AtOnce)  # noqa: SLF001  nobody else sees what is sent
        sent = [lane._transaction(rollout, due, n, "SELECT 1;\n") for n, due in enumerate(dues)]  # noqa: SLF001  nobody else sees them
    for due, text in zip(dues, sent, strict=True):
        named = {UUID(found) for found in _IDS.findall(text)}
        assert named == {due.tenant_id, rollout.id, fleet.database.installation}
        assert ("'elsewhere'" in text) == (due.before == "elsewhere")


async def test_of_a_message_the_last_commit_waits_for_the_disk_and_no_other(fleet, monkeypatch):
    sent = []
    carry_out = driver.carry_out

    async def see(conn, message):
        sent.append(message)
        await carry_out(conn, message)

    monkeypatch.setattr(driver, "carry_out", see)
    rollout = await fleet.begin()
    dues = [Due(tenant, BEFORE) for tenant in fleet.tenants.values()]
    async with at_once.opened(fleet.roller().upgrader) as lane:
        assert await lane.some(rollout, dues) == [Outcome.DONE] * len(NAMES)
    (message,) = sent
    *transactions, nothing = message.split("COMMIT")
    assert nothing == ""
    waits = ["synchronous_commit" not in each for each in transactions]
    assert waits == [False] * (len(NAMES) - 1) + [True]


async def test_what_a_message_did_not_come_to_is_next(fleet):
    rollout = await fleet.begin()
    roller = fleet.roller()
    dues = [Due(uuid4(), BEFORE) for _ in range(3)]
    later = Due(uuid4(), BEFORE)
    roller._due.append(later)  # noqa: SLF001  what is left shows nowhere else
    assert await roller._some(_OneOfAll(), rollout, dues) == [Outcome.DONE]  # noqa: SLF001  as above
    assert list(roller._due) == [*dues[1:], later]  # noqa: SLF001  as above


async def test_that_a_revision_needs_python_is_found_out_once(fleet):
    way = _Online(fleet.new)
    for _ in range(2):
        with pytest.raises(RevisionNeedsOnline, match=f"from {BEFORE}"):
            await way.prepare(BEFORE, to=None)
    assert way.asked == [BEFORE]
