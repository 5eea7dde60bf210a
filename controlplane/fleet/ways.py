"""How a schema comes to a rollout's revision: by the compiled script. By Alembic: online.py."""

import asyncio
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import schema_name
from controlplane.errors import RevisionNeedsOnline
from controlplane.store import driver
from controlplane.tenancy.compile import Script, compiled
from controlplane.tenancy.template import Template


class Way(Protocol):
    """How a schema comes to a rollout's revision, in the transaction of `conn`, which is in its
    tenant's scope and has its limits. Returns what was asked of the schema at the end. `to` is None
    for the newest revision."""

    async def prepare(self, heads: str, *, to: str | None) -> None:
        """Raises RevisionNeedsOnline where this way does not lead there, TemplateInvalid where none
        does."""

    def script(self, tenant_id: UUID, *, heads: str, to: str | None) -> str | None:
        """The statements that do it, once it is prepared; None where there is more to it."""

    async def go(
        self,
        conn: AsyncConnection,
        tenant_id: UUID,
        *,
        heads: str,
        to: str | None,
        limits: str,
        done: str,
    ) -> str | None:
        """None where a part of the way was gone, and the rest is for other transactions. Raises
        DBAPIError, and RevisionFailed for what a revision's own Python raises."""


@dataclass
class Compiled:
    """The compiled script and what enters it in the journal, in one message."""

    template: Template
    _scripts: dict[tuple[str, str | None], Script] = field(default_factory=dict)
    # Why there is none: it is asked for each target, and would be compiled in vain for each.
    _online: dict[tuple[str, str | None], str] = field(default_factory=dict)

    async def prepare(self, heads: str, *, to: str | None) -> None:
        if (heads, to) in self._online:
            raise RevisionNeedsOnline(self._online[heads, to])
        if (heads, to) not in self._scripts:
            try:
                self._scripts[heads, to] = await self._compile(heads, to)
            except RevisionNeedsOnline as error:
                self._online[heads, to] = str(error)
                raise

    async def _compile(self, heads: str, to: str | None) -> Script:
        return await asyncio.to_thread(
            compiled,
            self.template,
            start=frozenset(heads.split(",")),
            to=None if to is None else frozenset(to.split(",")),
        )

    def script(self, tenant_id: UUID, *, heads: str, to: str | None) -> str:
        script = self._scripts[heads, to]
        return script.render(schema=schema_name(tenant_id), tenant_id=tenant_id)

    async def go(
        self,
        conn: AsyncConnection,
        tenant_id: UUID,
        *,
        heads: str,
        to: str | None,
        limits: str,
        done: str,
    ) -> str:
        script = self.script(tenant_id, heads=heads, to=to)
        return last(await driver.rows_of_each(conn, f"{limits};\n{script}{done}"))


def last(answers: list[list[tuple[str]]]) -> str:
    """What the last statement of a message has answered."""
    return answers[-1][0][0]
