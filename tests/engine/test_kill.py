"""kill -9 of a real worker process at every boundary of every plan; another worker takes over."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.lab import environment, open_lab
from tests.engine.plans_under_test import SCENARIOS
from tests.engine.world import assert_world, fingerprint

pytestmark = [pytest.mark.anyio]

ROOT = Path(__file__).parents[2]
# The places that a step of each kind passes, forward and back (see provisioning/drive.py).
LOCAL = ("before-begin", "after-fence", "after-effect", "before-commit", "after-commit")
REMOTE = ("before-intent", "before-call", "after-call", "before-commit", "after-commit")
ENDING = ("before-finish", "before-finish-commit", "after-finish")


def places(plan, kind: str) -> list[str]:
    steps = plan.steps if kind == "step" else plan.steps[: plan.pivot]
    return [
        f"{kind}:{step.name}:{place}"
        for step in steps
        for place in (LOCAL if step.reach == "local" else REMOTE)
    ]


FORWARD = [
    pytest.param(scenario, place, id=f"{scenario}-{place}")
    for scenario in SCENARIOS
    for place in [
        *places(scenario.plan, "step"),
        *(f"operation:{scenario.plan.kind}:{place}" for place in ENDING),
    ]
]


@pytest.fixture(scope="session")
def zygote() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.zygote"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run_until_killed(zygote, variables: dict[str, str], place: str) -> None:
    zygote.stdin.write(json.dumps({"environment": variables, "kill_at": place}) + "\n")
    zygote.stdin.flush()
    answer = json.loads(zygote.stdout.readline())
    assert answer == {"signal": signal.SIGKILL}, f"{place} was not reached"


@pytest.mark.parametrize(("scenario", "place"), FORWARD)
async def test_a_worker_killed_at_any_boundary_leaves_nothing_doubled_and_nothing_half_done(
    database, tmp_path, zygote, scenario, place
):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        bystander = await lab.active("globex")
        before = await fingerprint(lab, bystander)
        tenant_id = await scenario.prepare(lab)
        operation = await scenario.ask(lab, tenant_id)

        run_until_killed(zygote, environment(database, tmp_path), place)
        ended = await lab.settle(operation)

        assert ended.state == "succeeded"
        while await lab.mailroom().deliver_one():
            pass
        world = await assert_world(lab)
        assert world.tenants[operation.tenant_id].state == scenario.succeeded
        assert await fingerprint(lab, bystander) == before
        assert len(list((tmp_path / "outbox").glob("*.eml"))) == 2
