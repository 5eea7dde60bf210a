"""On which terms transactions are opened; what the async and the sync Tenancy agree upon."""

from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from psycopg.abc import Params, QueryNoTemplate

from controlplane.routing.block import Block, Driver, Plain
from controlplane.routing.connections import Visits
from controlplane.routing.pipeline import Pipelined
from controlplane.routing.revisions import Serves, refuse_unserved
from controlplane.routing.tenant import RoutedTenant, check_scope, current_tenant

# Some 25 MB of remembered tables in the server's process.
TENANTS_PER_CONNECTION = 500

Statement = tuple[QueryNoTemplate, Params | None]


class Identified(Protocol):
    """Whatever stands for a tenant; the schema's and the role's name follow from its id."""

    @property
    def id(self) -> UUID: ...


@dataclass(frozen=True)
class Answer:
    """`rows` of a statement that returns some, as the connection's row factory makes them;
    `count` of the rows that it returned or touched."""

    rows: list[Any]
    count: int


@dataclass(frozen=True)
class Terms:
    pipelined: bool
    serves: Serves | None
    tenants_per_connection: int | None
    visits: Visits = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "visits", Visits(limit=self.tenants_per_connection))

    def tenant_id(self, tenant: Identified | None) -> UUID:
        return tenant_id_of(tenant, self.serves)

    def block(self, conn: Driver, tenant_id: UUID, *, pipelined: bool | None) -> Block:
        self.visits.note(conn, tenant_id)
        chosen = self.pipelined if pipelined is None else pipelined
        return (Pipelined if chosen else Plain)(conn, tenant_id)


def tenant_id_of(tenant: Identified | None, serves: Serves | None) -> UUID:
    """Whose transaction it will be; None means `current_tenant()`.

    Raises MissingTenantContext, TenantContextConflict or TenantMigrating, all before anything is
    asked of the database.
    """
    whose = current_tenant() if tenant is None else tenant
    check_scope(whose.id)
    # Of a bare id no revision is known, so with `serves` it is refused.
    revision = whose.revision if isinstance(whose, RoutedTenant) else None
    refuse_unserved(revision, serves)
    return whose.id
