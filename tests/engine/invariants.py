"""What must hold of one operation's journal, read at any moment. Pure.

I1  an operation is over if and only if it has its end on record, and nothing follows that.
I3  steps are done in order, undone in reverse, at most one of them is begun.
I4  what succeeded is done whole; of what failed or was cancelled nothing is left.
I5  what turned round never goes forward again.
I6  events are numbered without gap, epochs never fall, and the events alone give back every state.
I7  what was written carries the epoch that was current when it was committed.
I20 an operation is parked only by a failure behind its pivot, or by one of an undo.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from controlplane.domain.moves import UNDO_BUDGET
from controlplane.domain.operations import STEP_TRANSITIONS, StepState

FINISHED = {"succeeded", "failed", "cancelled", "abandoned"}
_TURNS = {"unwinding", "parked", "resumed", *FINISHED}
_LETTERS = {"pending": "p", "started": "s", "done": "d", "undo_started": "u", "undone": "x"}
# What may stand in the journal, step by step, in each state of an operation.
_BOTH_WAYS = "d*(s?|u?x*)p*"
_SHAPES = {
    # The warm pool gave the first step's effect with the request.
    "pending": "s?p*",
    "running": "d*s?p*",
    "succeeded": "d*",
    "unwinding": _BOTH_WAYS,
    "parked": _BOTH_WAYS,
    "abandoned": _BOTH_WAYS,
    "failed": "x*p*",
    "cancelled": "x*p*",
}


def assert_operation(operation: Any, steps: Sequence[Any], events: Sequence[Any]) -> None:
    """All of them, for a row of `operations`, its rows of steps by ordinal and of events by seq."""
    _assert_ended(operation, events)
    shape = "".join(_LETTERS[step.state] for step in steps)
    number = "I4" if operation.state in FINISHED - {"abandoned"} else "I3"
    assert re.fullmatch(_SHAPES[operation.state], shape), f"{number} {operation.state}: {shape}"
    _assert_numbered(operation, events)
    _assert_one_way(steps, events)
    _assert_folded(operation, steps, events)
    _assert_parked(operation, steps, events)


def _assert_ended(operation: Any, events: Sequence[Any]) -> None:
    over = operation.state in FINISHED
    assert (operation.finished_at is not None) == over, "I1 an end without its time"
    ends = [event for event in events if event.type in FINISHED]
    assert [event.type for event in ends] == ([operation.state] if over else []), (
        f"I1 it is {operation.state}, its ends are {[event.type for event in ends]}"
    )
    if over:
        assert events[-1] is ends[0], f"I1 {events[-1].type} after the end"


def _assert_numbered(operation: Any, events: Sequence[Any]) -> None:
    numbers = [event.seq for event in events]
    assert numbers == list(range(1, operation.event_seq + 1)), f"I6 events {numbers}"
    assert all(a.epoch <= b.epoch for a, b in pairwise(events)), "I6 an old epoch wrote later"
    assert all(event.epoch <= operation.epoch for event in events), "I6 an epoch never given"


def _assert_one_way(steps: Sequence[Any], events: Sequence[Any]) -> None:
    ordinals = {step.name: step.ordinal for step in steps}
    kinds = [event.type for event in events]
    assert kinds.count("unwinding") <= 1, "I5 turned round twice"
    turned = kinds.index("unwinding") if "unwinding" in kinds else len(kinds)
    back = [kind for kind in kinds[turned:] if kind.startswith("step_")]
    assert not back, f"I5 {back} after it turned round"
    forward = [ordinals[e.step] for e in events if e.type == "step_done"]
    assert forward == sorted(set(forward)), f"I3 done in the order {forward}"
    undone = [ordinals[e.step] for e in events if e.type == "undo_done"]
    assert undone == sorted(set(undone), reverse=True), f"I3 undone in the order {undone}"
    early = [kind for kind in kinds[:turned] if kind.startswith("undo_")]
    assert not early, f"I5 {early} before it turned round"


def _assert_folded(operation: Any, steps: Sequence[Any], events: Sequence[Any]) -> None:
    """The events alone tell how operation and steps stand."""
    told: dict[str, tuple[str, int, int, int | None]] = {
        step.name: ("pending", 0, 0, None) for step in steps
    }
    for event in events:
        if event.type == "resumed":
            told = {n: (s, a, u if s == "undone" else 0, e) for n, (s, a, u, e) in told.items()}
        if event.step is not None:
            before, after = told[event.step][0], event.data["state"]
            allowed = {before, *STEP_TRANSITIONS[StepState(before)]}
            assert after in allowed, f"I6 {event.step}: {before} -> {after}"
            undos = event.data.get("undo_attempt", 0)
            told[event.step] = (after, event.data["attempt"], undos, event.epoch)
    rows = {step.name: (step.state, step.attempt, step.undo_attempt) for step in steps}
    assert {name: known[:3] for name, known in told.items()} == rows, "I6 events and steps differ"
    epochs = {step.name: step.epoch for step in steps}
    assert {name: known[3] for name, known in told.items()} == epochs, "I7 a step of no event"
    assert operation.state in _state_told(events), f"I6 {operation.state} was never told"


def _state_told(events: Sequence[Any]) -> set[str]:
    """The operation's own state; that it was claimed is no event."""
    turns = [event.type for event in events if event.type in _TURNS]
    if turns and turns[-1] not in {"unwinding", "resumed"}:
        return {turns[-1]}
    return {"unwinding"} if "unwinding" in turns else {"pending", "running"}


def _assert_parked(operation: Any, steps: Sequence[Any], events: Sequence[Any]) -> None:
    """Whenever it was parked, the event before says by which failure."""
    pivot = next(i for i, step in enumerate(operation.plan["steps"]) if step["pivot"])
    names = [step.name for step in steps]
    for cause, event in pairwise(events):
        if event.type != "parked":
            continue
        if cause.type == "undo_failed":
            spent = cause.data.get("undo_attempt", 0) >= UNDO_BUDGET
            assert spent or not cause.data["error"]["retriable"], "I20 parked before its budget"
        else:
            assert cause.type == "step_failed", f"I20 parked after {cause.type}"
            assert names.index(cause.step) > pivot, "I20 parked before its pivot"
