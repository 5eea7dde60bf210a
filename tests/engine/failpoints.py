"""The failpoints that there are, read from the engine's own code, and those where a worker really
died in this run."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from controlplane.domain.operations import Plan, PlanStep, Reach
from controlplane.provisioning import drive
from controlplane.provisioning.plans import PLANS

_ENGINE = Path(drive.__file__).parent
# Where the drive of a step begins, by its reach.
_ROOTS = {Reach.LOCAL: "_local", Reach.REMOTE: "_remote"}
_UNWIND = ("before-unwind", "after-unwind")


@dataclass
class Log:
    """What one process of the run has seen."""

    hit: set[str] = field(default_factory=set)
    # Cases beyond one per test: some tests try many in a row.
    more: int = 0


log = Log()


def name(kind: str, place: str) -> str:
    """A failpoint of a plan's drive."""
    return f"{kind} {place}"


@cache
def registered() -> frozenset[str]:
    """Every failpoint that some drive or the mailroom passes."""
    found = {place for path in _ENGINE.glob("*.py") for place in _plain(path)}
    for plan in PLANS:
        places = {*forward(plan), *unwinding(plan), *waits(plan)}
        found |= {name(plan.kind, place) for place in places}
    return frozenset(found)


@cache
def forward(plan: Plan) -> list[str]:
    """What a drive passes that succeeds at once, in order."""
    steps = [place for step in plan.steps for place in _of_step("step", step)]
    return [*steps, *_ending(plan)]


@cache
def unwinding(plan: Plan) -> list[str]:
    """What a drive passes from the failure of its pivot on, in order."""
    undone = reversed(plan.steps[: plan.pivot])
    turn = [f"operation:{plan.kind}:{place}" for place in _UNWIND]
    return [*turn, *(p for step in undone for p in _of_step("undo", step)), *_ending(plan)]


@cache
def waits(plan: Plan) -> list[str]:
    """What a drive passes when a step, or its undoing, lets it wait."""
    ways = [("step", plan.steps), ("undo", plan.steps[: plan.pivot])]
    steps = [f"{event}:{step.name}" for event, those in ways for step in those]
    return [f"{step}:{place}" for step in steps for place in _of_waiting()]


def _of_step(event: str, step: PlanStep) -> list[str]:
    return [f"{event}:{step.name}:{place}" for place in places(step.reach)]


def _ending(plan: Plan) -> list[str]:
    return [f"operation:{plan.kind}:{p}" for p in _of_operation() if p not in _UNWIND]


# -- reading the code ----------------------------------------------------------------------------


@cache
def places(reach: Reach) -> tuple[str, ...]:
    """What the drive of such a step passes, in order."""
    return tuple(_passed(_ROOTS[reach]))


def _passed(method: str) -> Iterator[str]:
    """The failpoints of a method and, where they are called, of those that it calls."""
    for call in _calls(_methods()[method]):
        called = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if called == "_at":
            yield _literal(call.args[1])
        elif called in _methods():
            yield from _passed(called)


@cache
def _of_operation() -> tuple[str, ...]:
    calls = [call for method in _methods().values() for call in _calls(method)]
    return tuple(_literal(call.args[0]) for call in calls if _is(call, "_at_operation"))


@cache
def _of_waiting() -> tuple[str, ...]:
    calls = [call for method in _methods().values() for call in _calls(method)]
    found = [call.args[0] for call in calls if _is(call, "place")]
    return tuple(_literal(name) for name in found if not isinstance(name, ast.Name))


@cache
def _methods() -> dict[str, ast.AsyncFunctionDef]:
    tree = ast.parse(Path(drive.__file__).read_text())
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)}


def _plain(path: Path) -> Iterator[str]:
    """Failpoints whose whole name stands in the code."""
    for call in _calls(ast.parse(path.read_text())):
        if _is(call, "failpoint") and path != Path(drive.__file__):
            yield _literal(call.args[0])


def _calls(node: ast.AST) -> list[ast.Call]:
    """In the order in which they stand in the code."""
    found = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
    return sorted(found, key=lambda call: (call.lineno, call.col_offset))


def _is(call: ast.Call, method: str) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == method


def _literal(node: ast.expr) -> str:
    assert isinstance(node, ast.Constant), f"line {node.lineno}: a failpoint's name is no literal"
    assert isinstance(node.value, str)
    return node.value
