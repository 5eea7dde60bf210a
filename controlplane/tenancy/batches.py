"""Revisions that go through a tenant's rows in batches. Imports Alembic: for the child process alone.

Such a revision is `online` and has `batch`: a function of the position behind which it begins (None at
first) that returns the next one, or the same as one statement with `:after` that answers with it. None
says that nothing is left; then its `upgrade` follows, and the revision is entered.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alembic import op
from alembic.runtime.migration import RevisionStep
from sqlalchemy import Connection, text

from controlplane.errors import RevisionFailed


@dataclass(frozen=True)
class Part:
    """What was done of the way. `revision` is one that a batch was run of; `position` begins its next
    batch, None where nothing is left. `whole`: the way's end was reached."""

    whole: bool
    revision: str | None = None
    position: Any = None


def part(
    steps: list[RevisionStep], connection: Connection, positions: Mapping[str, Any]
) -> tuple[Part, list[RevisionStep]]:
    """As much of the way as belongs into one transaction: run one batch of the revision that is next,
    or return the steps up to the next that has batches. `positions` are of revisions begun earlier.

    Called where `alembic.op` works.
    """
    now: list[RevisionStep] = []
    ended: str | None = None
    for step in steps:
        name = step.revision.revision
        if batched(step):
            if now:
                return Part(whole=False, revision=ended), now
            position = _batch(step, connection, positions.get(name))
            if position is not None:
                return Part(whole=False, revision=name, position=position), []
            ended = name
        now.append(step)
    return Part(whole=True, revision=ended), now


def at_once(step: RevisionStep) -> RevisionStep:
    """The step with all its batches in its own transaction."""
    change = step.migration_fn

    def run(**options: object) -> None:
        position = None
        while (position := _batch(step, op.get_bind(), position)) is not None:
            pass
        change(**options)

    if batched(step):
        step.migration_fn = run
    return step


def batched(step: RevisionStep) -> bool:
    """Whether the step goes through rows in batches; none does on the way back."""
    return step.is_upgrade and getattr(step.revision.module, "batch", None) is not None


def _batch(step: RevisionStep, connection: Connection, after: Any) -> Any:
    batch = step.revision.module.batch
    if isinstance(batch, str):
        found = connection.execute(text(batch), {"after": after}).scalar()
    else:
        found = batch(after)
    if found is None or isinstance(found, int | str | list | dict):
        if found is not None and found == after:
            raise RevisionFailed(f"A batch of {step.revision.revision} does not get any further.")
        _keepable(step.revision.revision, found)
        return found
    return str(found)


def _keepable(revision: str, position: Any) -> None:
    try:
        json.dumps(position)
    except (TypeError, ValueError) as error:
        raise RevisionFailed(
            f"A position of {revision} is not made of numbers and texts."
        ) from error
