"""Parts that are broken on purpose."""

import re
from collections.abc import Callable
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
from tests.engine.faults import Wrapped
from tests.engine.stage import Stage


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
