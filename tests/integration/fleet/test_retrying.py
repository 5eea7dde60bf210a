"""What failed is tried again by the rollout that is the newest."""

import pytest

from controlplane.domain.rollouts import Ask, Budget, RolloutState
from controlplane.errors import InvalidState
from tests.integration.fleet.ground import ADDS

pytestmark = pytest.mark.anyio


async def test_a_rollout_that_another_came_after_is_not_begun_again(fleet):
    unique = 'op.create_index("uq_notes_body", "notes", ["body"], unique=True)\n'
    before = fleet.templates("before", ADDS + unique)
    with fleet.owned("acme") as conn:
        conn.execute("INSERT INTO notes (id, body, tenant_id) SELECT 2, body, tenant_id FROM notes")
    first = await fleet.begin(of=before, budget=Budget(count=1))
    await fleet.work(fleet.roller(of=before))
    assert (await fleet.view(first)).state is RolloutState.INCOMPLETE
    # The next release has mended it: nobody has the first one's template any more.
    second = await fleet.begin()
    await fleet.work()
    assert (await fleet.view(second)).state is RolloutState.SUCCEEDED
    try:
        with pytest.raises(InvalidState, match="start a new one"):
            await fleet.ask(first, Ask.RETRY)
        assert (await fleet.view(first)).state is RolloutState.INCOMPLETE
    finally:
        for name in fleet.tenants:
            with fleet.owned(name) as conn:
                conn.execute("DROP INDEX IF EXISTS uq_notes_body")
