"""Keeps the warm pool at its size: schemas made ahead, one in each transaction.

Row and schema come and go together, so whatever dies in between leaves both or neither.
"""

import asyncio
import random
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID, uuid4

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.naming import Mark, schema_name
from controlplane.domain.warm_pool import Discard, Make, next_move
from controlplane.errors import ControlPlaneError
from controlplane.provisioning.waiting import first_of
from controlplane.store import warm_schemas
from controlplane.tenancy.contents import leaned_upon
from controlplane.tenancy.create import create
from controlplane.tenancy.drop import drop
from controlplane.tenancy.ownership import find
from controlplane.tenancy.stamp import stamps
from controlplane.tenancy.template import Template

log = structlog.get_logger()

# Measured: 2 ms each. Whoever takes a tenant up looks at its schema in any case.
_AT_ONCE = 50


@dataclass
class WarmPool:
    """The loop that fills the pool; any number of workers may run it.

    `database` is the owner's, `recipe` of `template` and `app_login`; `size` is how many are wanted
    of it. `wake` is set by whoever heard that one was handed out: it is replaced `calm_s` later.
    """

    database: AsyncEngine
    installation: UUID
    template: Template
    app_login: str
    recipe: str
    size: int
    every_s: float = 15.0
    calm_s: float = 1.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _look_at: float = field(default=0.0, repr=False)

    async def run(self, stopping: asyncio.Event) -> None:
        """Returns when `stopping` is set and what was begun has ended."""
        while not stopping.is_set():
            self.wake.clear()
            await self._tend(stopping)
            await first_of(self.wake, stopping, timeout_s=self.every_s)
            if self.wake.is_set():
                # Whoever has just taken one is waited for by somebody; the pool is not.
                await first_of(stopping, timeout_s=self.calm_s)

    async def _tend(self, stopping: asyncio.Event) -> None:
        try:
            if monotonic() >= self._look_at:
                self._look_at = monotonic() + self.every_s
                await self.look()
            while not stopping.is_set() and await self.turn():
                pass
        except (SQLAlchemyError, ControlPlaneError) as error:
            name = type(error.orig if isinstance(error, DBAPIError) else error).__name__
            # Ours say what to do, and quote no data.
            why = str(error) if isinstance(error, ControlPlaneError) else ""
            log.warning("warm_pool_interrupted", error=name, why=why)

    async def look(self) -> None:
        """Give up what is not as it was made, for nobody has been let into it, and what could not be
        taken back, for somebody has built upon it. Of a large pool, a part."""
        async with self.database.begin() as conn:
            made = await warm_schemas.stamps_of(conn, self.recipe)
            if not made:
                return
            some = random.sample(list(made), min(len(made), _AT_ONCE))
            names = {schema_name(tenant_id): tenant_id for tenant_id in some}
            found = await stamps(conn, names)
            leaned = await leaned_upon(conn, names)
            changed = [
                id_ for name, id_ in names.items() if name in leaned or found.get(name) != made[id_]
            ]
            if changed:
                log.warning("warm_schemas_changed", schemas=len(changed))
                await warm_schemas.give_up(conn, changed)

    async def turn(self) -> bool:
        """Make or remove one; whether there was one to make or remove.

        Raises DBAPIError and what tenancy.create and tenancy.drop do; nothing is changed then.
        """
        async with self.database.begin() as conn:
            if not await warm_schemas.alone(conn):
                return False
            move = next_move(
                await warm_schemas.everything(conn),
                recipe=self.recipe,
                size=self.size,
                rolled_out=await warm_schemas.rolled_out(conn, self.template.digest),
            )
            match move:
                case Make():
                    await self._make(conn)
                case Discard(those):
                    # Any: one that cannot be removed must not stand before the others.
                    return await self._discard(conn, random.choice(those))  # noqa: S311  no secret
                case _:
                    return False
        return True

    async def _make(self, conn: AsyncConnection) -> None:
        tenant_id = uuid4()
        name = schema_name(tenant_id)
        revision = await create(
            conn,
            tenant_id=tenant_id,
            mark=self._mark(tenant_id),
            app_login=self.app_login,
            template=self.template,
        )
        stamped = await stamps(conn, [name])
        await warm_schemas.add(
            conn,
            tenant_id=tenant_id,
            recipe=self.recipe,
            revision=revision,
            stamp=stamped[name],
        )

    async def _discard(self, conn: AsyncConnection, tenant_id: UUID) -> bool:
        """Whether it was not being handed out. A large one goes in several transactions."""
        if not await warm_schemas.hold(conn, tenant_id):
            return False
        if not (await find(conn, tenant_id)).untaken(self._mark(tenant_id)):
            log.warning("warm_schema_is_a_tenants", tenant=str(tenant_id))
            await warm_schemas.forget(conn, tenant_id)
        elif await drop(conn, tenant_id=tenant_id, mark=self._mark(tenant_id)):
            await warm_schemas.forget(conn, tenant_id)
        else:
            await warm_schemas.give_up(conn, [tenant_id])
        return True

    def _mark(self, tenant_id: UUID) -> Mark:
        """Made by no operation."""
        return Mark(self.installation, tenant_id, tenant_id)
