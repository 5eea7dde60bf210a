"""Run Alembic itself on one tenant's schema: in a child process, or in a tool that does no more."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import UUID

from alembic.runtime.migration import RevisionStep
from alembic.script import ScriptDirectory
from psycopg.sql import SQL, Literal
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from controlplane.domain.naming import schema_name
from controlplane.tenancy import batches, environment
from controlplane.tenancy.batches import Part
from controlplane.tenancy.environment import Heads
from controlplane.tenancy.revisions import Target
from controlplane.tenancy.scope import enter
from controlplane.tenancy.template import Template

_LIMIT = SQL("SET LOCAL lock_timeout = {}")

revisions = cache(environment.revisions)


def upgrade(*, url: str, tenant_id: UUID, template: Template, lock_timeout_ms: int) -> str:
    """To the newest revisions in one transaction; returns the revision."""
    with _schema(url, tenant_id, lock_timeout_ms) as connection:
        return upgrade_on(connection, tenant_id=tenant_id, template=template)


def upgrade_on(connection: Connection, *, tenant_id: UUID, template: Template) -> str:
    """To the newest revisions, in the transaction of a connection that is in the tenant's scope;
    returns the revision. Raises environment.FAULTS, whatever a revision's Python may."""
    scripts = revisions(template)

    def steps(present: Heads, _: object) -> list[RevisionStep]:
        return [batches.at_once(step) for step in environment.upgrade_steps(scripts, present)]

    return _run(connection, scripts, tenant_id, steps)


def go_on(
    connection: Connection,
    *,
    tenant_id: UUID,
    template: Template,
    to: Heads | None,
    positions: Mapping[str, Any],
) -> Part:
    """As much of the way to the newest revisions, or to `to`, as belongs into one transaction; that of
    the connection, which is in the tenant's scope. Raises as `upgrade_on`."""
    scripts = revisions(template)
    done: list[Part] = []

    def steps(present: Heads, _: object) -> list[RevisionStep]:
        if to is None:
            way = environment.upgrade_steps(scripts, present)
        else:
            way = environment.steps_to(scripts, present, to)
        part, now = batches.part(way, connection, positions)
        done.append(part)
        return now

    _run(connection, scripts, tenant_id, steps)
    return done[0]


def downgrade(
    *, url: str, tenant_id: UUID, template: Template, to: str, lock_timeout_ms: int
) -> str:
    """Back to `to` (`core@base`, `core_0001`, `base`) in one transaction; returns the revision."""
    with _schema(url, tenant_id, lock_timeout_ms) as connection:
        scripts = revisions(template)

        def steps(present: Heads, _: object) -> list[RevisionStep]:
            return environment.downgrade_steps(scripts, present, to)

        return _run(connection, scripts, tenant_id, steps)


@contextmanager
def _schema(url: str, tenant_id: UUID, lock_timeout_ms: int) -> Iterator[Connection]:
    """Path and tenant come first: FORCE binds the owner too, and a backfill without them would
    silently update nothing."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    limit = _LIMIT.format(Literal(lock_timeout_ms)).as_string()
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"{enter(tenant_id)}; {limit}", execution_options={"no_parameters": True}
        )
        yield connection


def _run(
    connection: Connection, scripts: ScriptDirectory, tenant_id: UUID, steps: environment.Steps
) -> str:
    schema = schema_name(tenant_id)
    target = Target(schema=schema, role=schema, tenant_id=str(tenant_id))
    environment.run(connection, scripts, target=target, steps=steps)
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars()
    return ",".join(sorted(found))
