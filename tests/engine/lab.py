"""A control plane in one process, driven move by move: no loops, no clocks, no waiting."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import event, text

from controlplane import wiring, worker
from controlplane.domain.naming import parse_subdomain
from controlplane.domain.operations import FINISHED, OperationState
from controlplane.provisioning import requests
from controlplane.provisioning.crew import Crew, Failpoint, nowhere
from controlplane.provisioning.engine import Engine
from controlplane.provisioning.leases import Heartbeat
from controlplane.provisioning.mail import Mailroom
from controlplane.provisioning.requests import NewTenant
from controlplane.settings import Settings, load
from controlplane.store import operations
from controlplane.store.audit import Actor
from controlplane.store.operations import OperationView
from tests.database import Database
from tests.engine import witness

ACTOR = Actor(None, "cli")
_TEMPLATE = Path(__file__).with_name("template")
# A statement and its values; the rows.
Ask = Callable[..., Awaitable[list[Any]]]
RESTING = FINISHED | {OperationState.PARKED}


def environment(database: Database, folder: Path, **more: str) -> dict[str, str]:
    """The variables of a process that works on this database; zone and outbox in the folder."""
    return {
        "DATABASE_URL": database.control_url,
        "DATABASE_URL_DIRECT": database.owner_url,
        "CONTROLPLANE_APP_DATABASE_URL": database.app_url,
        "CONTROLPLANE_BASE_DOMAIN": "apps.test",
        "CONTROLPLANE_DNS": "zonefile",
        "CONTROLPLANE_DNS_ZONE_FILE": str(folder / "zone"),
        "CONTROLPLANE_DNS_TARGET": "192.0.2.7",
        "CONTROLPLANE_MAIL": "file",
        "CONTROLPLANE_MAIL_FOLDER": str(folder / "outbox"),
        "CONTROLPLANE_MAIL_FROM": "hello@apps.test",
        "CONTROLPLANE_TENANT_TEMPLATE": str(_TEMPLATE),
        **more,
    }


def settings(database: Database, folder: Path, **more: str) -> Settings:
    return load(environment(database, folder, **more))


@dataclass
class Lab:
    """`steps` may be replaced by broken or repeating ones; `failpoint` by one that fails."""

    parts: wiring.Parts
    database: Database
    steps: dict[str, Any]
    failpoint: Failpoint = nowhere
    visited: list[str] = field(default_factory=list)

    @property
    def dns(self) -> Any:
        return self.parts.dns

    @property
    def recipe(self) -> str:
        """What schemas of the warm pool must have been made by."""
        return wiring.warm_recipe(self.parts.settings, self.parts.template)

    @property
    def sender(self) -> Any:
        return self.parts.sender

    def wrap(self, around: Callable[[Any], Any]) -> None:
        """Put every step into a wrapper."""
        self.steps = {name: around(step) for name, step in self.steps.items()}

    async def create(
        self, subdomain: str = "acme", *, warm: bool = False, **more: Any
    ) -> OperationView:
        wanted = NewTenant(
            name=subdomain.title(),
            subdomain=parse_subdomain(subdomain),
            admin_email=f"ada@{subdomain}.test",
        )
        async with self.parts.control.begin() as conn:
            return await requests.create_tenant(
                conn,
                replace(wanted, **more),
                actor=ACTOR,
                deadline_s=300,
                recipe=self.recipe if warm else None,
            )

    async def delete(self, tenant_id: UUID) -> OperationView:
        async with self.parts.control.begin() as conn:
            return await requests.delete_tenant(conn, tenant_id, actor=ACTOR, deadline_s=300)

    async def active(self, subdomain: str = "acme") -> UUID:
        """A tenant that went the whole way, its welcome mail included."""
        operation = await self.settle(await self.create(subdomain))
        assert operation.state is OperationState.SUCCEEDED, operation
        while await self.mailroom().deliver_one():
            pass
        return operation.tenant_id

    def engine(self, *, slots: int = 1) -> Engine:
        """A worker that has not begun to loop; its failpoint notes where it came by."""

        async def visit(place: str) -> None:
            self.visited.append(place)
            await self.failpoint(place)

        times = replace(worker.timing(self.parts.settings), wait_factor=0.0)
        crew = Crew(self.parts.owner, self.parts.installation, self.steps, times, visit)
        return Engine(crew, Heartbeat(self.database.owner_url, times), slots=slots)

    def mailroom(self, *, failpoint: Failpoint = nowhere) -> Mailroom:
        return Mailroom(
            database=self.parts.owner,
            sender=self.parts.sender,
            render=worker.welcome_renderer(self.parts.settings),
            token_ttl=timedelta(hours=1),
            timing=replace(worker.timing(self.parts.settings), wait_factor=0.0),
            failpoint=failpoint,
        )

    async def drive_once(self, *, engine: Engine | None = None) -> bool:
        """Claim one operation, drive it until it ends or is let go; False if none was due."""
        engine = engine or self.engine()
        claimed = await engine.claim()
        for operation in claimed:
            await engine.drive(operation)
        return bool(claimed)

    async def settle(self, operation: OperationView, *, rounds: int = 60) -> OperationView:
        """Drive until the operation rests, making it due again after every wait."""
        for _ in range(rounds):
            found = await self.view(operation.id)
            if found.state in RESTING:
                return found
            await self.expire()
            await self.drive_once()
        raise AssertionError(f"the operation does not rest: {found}")

    async def view(self, operation_id: UUID) -> OperationView:
        async with self.parts.owner.connect() as conn:
            return await operations.get(conn, operation_id)

    async def expire(self) -> None:
        """As if every lease had run out and every wait were over."""
        await self.sql(
            "UPDATE public.operations SET run_at = clock_timestamp(),"
            " lease_expires_at = clock_timestamp() - interval '1 s' WHERE finished_at IS NULL"
        )

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.asking() as ask:
            return await ask(statement, **values)

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[Ask]:
        """As `sql`, with one transaction for all that is asked."""
        async with self.parts.owner.begin() as conn:

            async def ask(statement: str, **values: Any) -> list[Any]:
                result = await conn.execute(text(statement), values)
                return list(result) if result.returns_rows else []

            yield ask


@asynccontextmanager
async def setting(lab: Lab, name: str, value: str) -> AsyncIterator[None]:
    """The worker's sessions begin with this setting instead of the product's."""

    def begin(connection: Any, _record: object) -> None:
        connection.cursor().execute(SQL("SET {} = {}").format(Identifier(name), Literal(value)))
        connection.commit()

    owner = lab.parts.owner
    await owner.dispose()
    event.listen(owner.sync_engine, "connect", begin)
    try:
        yield
    finally:
        event.remove(owner.sync_engine, "connect", begin)


@asynccontextmanager
async def open_lab(
    database: Database,
    folder: Path,
    *,
    real_files: bool = False,
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[Lab]:
    """A lab with providers in memory, or with a real zone file and outbox."""
    kinds = {} if real_files else {"CONTROLPLANE_DNS": "memory", "CONTROLPLANE_MAIL": "memory"}
    async with wiring.open_parts(settings(database, folder, **kinds, **(more or {}))) as parts:
        await witness.install(parts.owner)
        yield Lab(parts, database, worker.open_steps(parts))
