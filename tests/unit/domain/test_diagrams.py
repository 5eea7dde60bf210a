"""The diagrams of the explanation show the transitions that the code allows, no more and no less."""

import re
from pathlib import Path

import pytest

from controlplane.domain.operations import STEP_TRANSITIONS
from controlplane.domain.tenants import TRANSITIONS

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "operations.md"
_ARROW = re.compile(r"^  (\w+) --> (\w+)", re.MULTILINE)


def _diagrams():
    blocks = re.findall(r"```mermaid\n(stateDiagram.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return [set(_ARROW.findall(block)) for block in blocks]


@pytest.mark.parametrize("transitions", [STEP_TRANSITIONS, TRANSITIONS], ids=["step", "tenant"])
def test_a_diagram_shows_every_transition_and_no_other(transitions):
    allowed = {(before.value, after.value) for before, to in transitions.items() for after in to}
    assert allowed in _diagrams()
