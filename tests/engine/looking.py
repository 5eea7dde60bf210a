"""What the reconciler finds in a lab, what a repair makes of it, the row of an operation, and tenants
that have come to grief."""

import psycopg
from psycopg import sql

from controlplane.provisioning import reconcile
from tests.engine.faults import Failure
from tests.engine.lab import ACTOR
from tests.engine.plans_under_test import found


async def listed(lab):
    return {(finding.kind.value, finding.subject) for finding in await found(lab)}


async def repaired(lab, findings=None):
    """The operations that a repair has begun, brought to their ends."""
    findings = await found(lab) if findings is None else findings
    async with lab.parts.owner.begin() as conn:
        begun = await reconcile.repair(conn, findings, actor=ACTOR, deadline_s=300)
    return [await lab.settle(await lab.view(operation_id)) for operation_id in begun]


async def state_of(lab, tenant_id):
    (row,) = await lab.sql("SELECT state FROM public.tenants WHERE id = :id", id=tenant_id)
    return row.state


async def failed(lab, subdomain):
    healthy = dict(lab.steps)
    lab.steps = Failure("verify", "ensure").wrap(lab.steps)
    operation = await lab.settle(await lab.create(subdomain))
    lab.steps = healthy
    assert operation.state == "failed"
    return operation.tenant_id


async def deleted(lab, subdomain):
    tenant_id = await lab.active(subdomain)
    await lab.settle(await lab.delete(tenant_id))
    return tenant_id


async def age(lab, operation, age):
    await lab.sql(
        "UPDATE public.operations SET run_at = clock_timestamp() - CAST(:age AS interval)"
        " WHERE id = :id",
        age=age,
        id=operation.id,
    )


async def mark(lab, name, things, comment):
    with psycopg.connect(lab.database.superuser_url, autocommit=True) as conn:
        for thing in things:
            statement = sql.SQL("COMMENT ON {} {} IS {}").format(
                sql.SQL(thing.upper()), sql.Identifier(name), sql.Literal(comment)
            )
            conn.execute(statement)


async def operation_row(lab, operation):
    (row,) = await lab.sql(
        "SELECT *, extract(epoch FROM run_at - clock_timestamp()) AS due_in,"
        " extract(epoch FROM deadline_at - clock_timestamp()) AS left"
        " FROM public.operations WHERE id = :id",
        id=operation.id,
    )
    return row
