"""A lab that one test after the other begins anew, at a tenth of the cost of a new database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from uuid import UUID

import psycopg

from controlplane.provisioning.crew import nowhere
from tests.database import Database, Server, fresh_database
from tests.engine.keeping import Keeper, Kept
from tests.engine.lab import Lab, open_lab
from tests.engine.plans_under_test import Prepare, Scenario
from tests.engine.world import assert_world, fingerprint


@dataclass
class Memory:
    """What providers in memory hold."""

    records: dict[Any, Any]
    pending: dict[str, int]
    sent: list[Any]

    @classmethod
    def of(cls, lab: Lab) -> Self:
        return cls(dict(lab.dns.records), dict(lab.dns._still_pending), list(lab.sender.sent))  # noqa: SLF001  all of it

    def to(self, lab: Lab) -> None:
        """What is there already gives way; faults that were still to come do not come."""
        lab.dns.records = dict(self.records)
        lab.dns._still_pending = dict(self.pending)  # noqa: SLF001  all of it
        lab.dns.foreign.clear()
        lab.sender.sent[:] = self.sent
        for faults in (lab.dns.faults, lab.sender.faults):
            faults.clear()


@dataclass
class Prepared:
    """What a scenario needs, once it has been made."""

    tenant_id: UUID | None
    database: Kept
    memory: Memory
    served: int = 0


@dataclass
class Ground:
    """A lab with the bystander 'globex', whom nothing touches; `mails` are the bystander's."""

    database: Database
    lab: Lab
    bystander: UUID
    superuser: psycopg.AsyncConnection[Any]
    healthy: dict[str, Any]
    unharmed: Any
    mails: int
    keeper: Keeper
    base: Prepared
    # None where a scenario does away with what it needs.
    _prepared: dict[Prepare, Prepared | None] = field(default_factory=dict)
    _is_new: bool = False

    @asynccontextmanager
    async def anew(self) -> AsyncIterator[None]:
        """For one test: nobody but the bystander is there, whom it leaves as he was."""
        await self.forget()
        yield
        await assert_world(self.lab)
        assert await fingerprint(self.lab, self.bystander) == self.unharmed

    @asynccontextmanager
    async def lab_anew(
        self, folder: Path, *, database: Database | None = None, real_files: bool = False
    ) -> AsyncIterator[Lab]:
        """As `anew`, with a lab that the test has for itself; `database` is another way to it."""
        await self.forget()
        async with open_lab(database or self.database, folder, real_files=real_files) as lab:
            for owned in self.base.memory.records.values():
                await lab.dns.ensure(owned.record, owned.mark)
            for message in self.base.memory.sent:
                await lab.sender.send(message)
            before = await fingerprint(lab, self.bystander)
            yield lab
            await assert_world(lab)
            assert await fingerprint(lab, self.bystander) == before

    async def forget(self) -> None:
        """Make everybody but the bystander unheard of, as only a superuser can."""
        known = [each.database for each in self._prepared.values() if each is not None]
        await self.keeper.clear(self.base.database, known)
        self.base.memory.to(self.lab)
        self.lab.steps, self.lab.failpoint = dict(self.healthy), nowhere
        self.lab.visited.clear()
        self._is_new = True

    async def prepare(self, scenario: Scenario) -> UUID | None:
        """Nothing is there but the bystander and what the scenario needs: the first time it is made,
        and from then on it is had again where it has not changed."""
        if not self._is_new:
            await self.forget()
        self._is_new = False
        kept = self._prepared.get(scenario.prepare)
        if kept is not None and await self.keeper.restore(kept.database):
            kept.memory.to(self.lab)
            kept.served += 1
            return kept.tenant_id
        tenant_id = await scenario.prepare(self.lab)
        pays = scenario.prepare not in self._prepared or (kept is not None and kept.served)
        self._prepared[scenario.prepare] = (
            Prepared(tenant_id, await self.keeper.keep(), Memory.of(self.lab)) if pays else None
        )
        return tenant_id


@asynccontextmanager
async def open_ground(server: Server, folder: Path) -> AsyncIterator[Ground]:
    """A database of its own, and the bystander in it."""
    with fresh_database(server) as database:
        url = database.superuser_url
        async with (
            open_lab(database, folder) as lab,
            await psycopg.AsyncConnection.connect(url, autocommit=True) as superuser,
        ):
            bystander = await lab.active("globex")
            keeper = await Keeper.begin(superuser, lab.parts.installation)
            yield Ground(
                database=database,
                lab=lab,
                bystander=bystander,
                superuser=superuser,
                healthy=dict(lab.steps),
                unharmed=await fingerprint(lab, bystander),
                mails=len(lab.sender.sent),
                keeper=keeper,
                base=Prepared(bystander, await keeper.keep(), Memory.of(lab)),
            )
            await keeper.end()
