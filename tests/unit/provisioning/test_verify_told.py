"""What a failed verification says."""

from typing import Any

import pytest

from controlplane.errors import VerificationFailed
from controlplane.provisioning.steps.verify import Verify, told


def test_a_few_findings_are_told_whole():
    assert told(["Table a is missing.", "Table b is missing."]) == (
        "Table a is missing. Table b is missing."
    )


def test_of_many_findings_the_first_are_told_and_the_others_counted():
    text = told([f"Table t{n} is missing." for n in range(500)])

    assert text.startswith("Table t0 is missing. Table t1 is missing.")
    assert text.endswith("Table t7 is missing. And 492 more.")


class Appalled(Verify):
    async def _findings(self, _target):
        return [f"Table t{n} is missing." for n in range(500)]


@pytest.mark.anyio
async def test_the_step_says_no_more_than_that():
    unasked: Any = None
    step = Appalled(database=unasked, routing=unasked, template=unasked, app_login="app")
    with pytest.raises(VerificationFailed, match="And 492 more"):
        await step.ensure(unasked)
