"""What does not fit together: things without a tenant, tenants without their things. Pure.

What does not carry our installation's mark is not looked at here, so it can never be a finding.
"""

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from uuid import UUID

from controlplane.domain.dns import OwnedRecord, record_for
from controlplane.domain.naming import Subdomain, parse_mark, schema_name
from controlplane.domain.operations import OperationState
from controlplane.domain.tenants import RELEASED, TenantState


class Kind(StrEnum):
    SCHEMA_WITHOUT_TENANT = "schema_without_tenant"
    ROLE_WITHOUT_TENANT = "role_without_tenant"
    RECORD_WITHOUT_TENANT = "record_without_tenant"
    TENANT_WITHOUT_SCHEMA = "tenant_without_schema"
    RECORD_MISSING = "record_missing"
    OPERATION_STUCK = "operation_stuck"
    TENANT_WITHOUT_OPERATION = "tenant_without_operation"
    TENANT_WITHOUT_ADMIN = "tenant_without_admin"
    TENANT_BEHIND = "tenant_behind"


# What sets it right.
REMEDIES = {
    Kind.SCHEMA_WITHOUT_TENANT: "A repair removes it.",
    Kind.ROLE_WITHOUT_TENANT: "A repair removes it.",
    Kind.RECORD_WITHOUT_TENANT: "A repair removes it.",
    Kind.RECORD_MISSING: "A repair makes it again.",
    Kind.TENANT_WITHOUT_SCHEMA: "Bring it back from a backup, then repair; nothing is put in its"
    " place.",
    Kind.OPERATION_STUCK: "See why by its id, then mend that; resume or abandon it if it is parked,"
    " start a worker if none takes it.",
    Kind.TENANT_WITHOUT_OPERATION: "No request leads to this: look who else writes to the database.",
    Kind.TENANT_WITHOUT_ADMIN: "'controlplane tenant repair' makes the first one again.",
    Kind.TENANT_BEHIND: "Begin a rollout; or freeze it, if it is to stay.",
}

# What a `clean` operation takes away.
ORPHANS = frozenset(
    {Kind.SCHEMA_WITHOUT_TENANT, Kind.ROLE_WITHOUT_TENANT, Kind.RECORD_WITHOUT_TENANT}
)

_BEHIND_AT_MOST = 100
_SERVED = frozenset({TenantState.ACTIVE, TenantState.SUSPENDED})
_HAS_SCHEMA = _SERVED | {TenantState.DELETED}
_HAS_NO_RECORD = RELEASED | {TenantState.DELETED}
_ON_THE_WAY = frozenset({TenantState.PROVISIONING, TenantState.DELETING, TenantState.PURGING})


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that does not fit. `subject` is a schema's, role's or record's name, a subdomain
    or an operation's id; `detail` says the same of the same thing at every look."""

    kind: Kind
    subject: str
    tenant_id: UUID
    detail: str


@dataclass(frozen=True)
class SeenOperation:
    """A tenant's operation that has not ended. `idle` is one that was due for long, unclaimed,
    `late` one whose deadline is long over."""

    id: UUID
    kind: str
    state: OperationState
    idle: bool
    late: bool = False


@dataclass(frozen=True)
class SeenTenant:
    id: UUID
    subdomain: Subdomain
    state: TenantState
    operation: SeenOperation | None
    revision: str | None = None
    frozen: bool = False


@dataclass(frozen=True)
class Seen:
    """All that was read. `schemas` and `roles` are those that carry our mark, by their tenant.
    `without_admin` is of the last comparison of schemas. `newest` is the template's revision, None
    where nobody is to be there: while a rollout is under way, or it is unknown."""

    tenants: dict[UUID, SeenTenant]
    schemas: frozenset[UUID]
    roles: frozenset[UUID]
    records: tuple[OwnedRecord, ...]
    without_admin: frozenset[UUID] = frozenset()
    newest: str | None = None


def tenant_marked(name: str, comment: str | None, installation: UUID) -> UUID | None:
    """Whose a schema or role is: only ours if name and mark agree about it."""
    mark = parse_mark(comment)
    if mark is None or mark.installation != installation or name != schema_name(mark.tenant):
        return None
    return mark.tenant


def findings(seen: Seen, *, dns_target: str | None) -> list[Finding]:
    """Everything that does not fit, in a fixed order. Without a target, tenants have no records."""
    return sorted([*_orphans(seen), *_tenants(seen, dns_target), *_behind(seen), *_led(seen)])


def repairable(found: Iterable[Finding]) -> dict[UUID, list[Finding]]:
    """By tenant, what one operation can set right: its orphans, or else its missing record.

    A repair stops at a missing schema, so it is not begun; that is for an operator.
    """
    by_tenant: dict[UUID, list[Finding]] = {}
    for finding in sorted(found):
        by_tenant.setdefault(finding.tenant_id, []).append(finding)
    return {tenant_id: due for tenant_id, of in by_tenant.items() if (due := _due(of))}


def _due(of_one: list[Finding]) -> list[Finding]:
    orphans = [finding for finding in of_one if finding.kind in ORPHANS]
    kinds = {finding.kind for finding in of_one}
    if orphans or Kind.TENANT_WITHOUT_SCHEMA in kinds:
        return orphans
    return [finding for finding in of_one if finding.kind is Kind.RECORD_MISSING]


def schema_is_orphan(state: TenantState | None) -> bool:
    """Whether a schema or role has no right to be, its tenant (None: no row) being idle."""
    return state is None or state in RELEASED


def record_is_orphan(name: str, subdomain: str | None, state: TenantState | None) -> bool:
    """The same of a record of that name."""
    return state is None or state in _HAS_NO_RECORD or name != subdomain


def _orphans(seen: Seen) -> Iterator[Finding]:
    yield from _left(seen, Kind.SCHEMA_WITHOUT_TENANT, seen.schemas)
    yield from _left(seen, Kind.ROLE_WITHOUT_TENANT, seen.roles)
    for owned in seen.records:
        tenant_id, name = owned.mark.tenant, owned.record.name
        tenant = seen.tenants.get(tenant_id)
        subdomain, state = (tenant.subdomain, tenant.state) if tenant else (None, None)
        if _idle(tenant) and record_is_orphan(name, subdomain, state):
            detail = _of(tenant)
            if state is not None and name != subdomain:
                detail = f"{detail} and has the subdomain '{subdomain}'"
            yield Finding(Kind.RECORD_WITHOUT_TENANT, name, tenant_id, detail)


def _left(seen: Seen, kind: Kind, marked: Iterable[UUID]) -> Iterator[Finding]:
    for tenant_id in marked:
        tenant = seen.tenants.get(tenant_id)
        if _idle(tenant) and schema_is_orphan(tenant.state if tenant else None):
            yield Finding(kind, schema_name(tenant_id), tenant_id, _of(tenant))


def _idle(tenant: SeenTenant | None) -> bool:
    """What an operation may be about to make or remove is no finding."""
    return tenant is None or tenant.operation is None


def _of(tenant: SeenTenant | None) -> str:
    return f"its tenant is {tenant.state}" if tenant else "there is no such tenant"


def _tenants(seen: Seen, dns_target: str | None) -> Iterator[Finding]:
    records = {(owned.mark.tenant, owned.record) for owned in seen.records}
    for tenant in seen.tenants.values():
        yield from _lacking_schema(seen, tenant)
        if tenant.operation is not None:
            yield from _stuck(tenant, tenant.operation)
        elif tenant.state in _ON_THE_WAY:
            yield Finding(
                Kind.TENANT_WITHOUT_OPERATION,
                tenant.subdomain,
                tenant.id,
                f"it is {tenant.state}, and no operation is under way",
            )
        elif tenant.state in _SERVED and _lacks_record(tenant, records, dns_target):
            yield Finding(
                Kind.RECORD_MISSING,
                tenant.subdomain,
                tenant.id,
                f"it is {tenant.state}, and no record leads to {dns_target}",
            )


def _behind(seen: Seen) -> Iterator[Finding]:
    """So many at most: a metric counts them all, and a release without its rollout is one matter."""
    behind = (
        tenant
        for _, tenant in sorted(seen.tenants.items())
        if seen.newest is not None
        and tenant.revision not in {None, seen.newest}
        and tenant.state in _HAS_SCHEMA
        and tenant.operation is None
        and not tenant.frozen
    )
    for tenant in islice(behind, _BEHIND_AT_MOST):
        detail = f"it is at {tenant.revision}, and the template at {seen.newest}"
        yield Finding(Kind.TENANT_BEHIND, tenant.subdomain, tenant.id, detail)


def _led(seen: Seen) -> Iterator[Finding]:
    for tenant_id in seen.without_admin & seen.tenants.keys():
        tenant = seen.tenants[tenant_id]
        if tenant.state in _SERVED and tenant.operation is None:
            detail = "nobody active in its schema holds the role tenant_admin"
            yield Finding(Kind.TENANT_WITHOUT_ADMIN, tenant.subdomain, tenant_id, detail)


def _lacks_record(
    tenant: SeenTenant, records: Collection[tuple[UUID, object]], dns_target: str | None
) -> bool:
    return (
        dns_target is not None
        and (tenant.id, record_for(tenant.subdomain, _spelled(dns_target))) not in records
    )


def _spelled(target: str) -> str:
    """As it stands in a zone: addresses compressed, names in lower case."""
    try:
        return str(ipaddress.ip_address(target))
    except ValueError:
        return target.lower()


def _lacking_schema(seen: Seen, tenant: SeenTenant) -> Iterator[Finding]:
    things = {"schema": seen.schemas, "role": seen.roles}
    lacking = [thing for thing, there in things.items() if tenant.id not in there]
    if lacking and tenant.state in _HAS_SCHEMA:
        detail = f"it is {tenant.state}, and its {' and '.join(lacking)} is missing or not ours"
        yield Finding(Kind.TENANT_WITHOUT_SCHEMA, schema_name(tenant.id), tenant.id, detail)


def _stuck(tenant: SeenTenant, operation: SeenOperation) -> Iterator[Finding]:
    if operation.state is OperationState.PARKED:
        detail = f"'{operation.kind}' is parked"
    elif operation.idle:
        detail = f"'{operation.kind}' is due, and no worker takes it"
    elif operation.late:
        detail = f"'{operation.kind}' goes on long after its deadline"
    else:
        return
    yield Finding(Kind.OPERATION_STUCK, str(operation.id), tenant.id, detail)
