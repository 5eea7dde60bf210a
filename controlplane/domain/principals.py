"""Who speaks at a tenant's host."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class PrincipalKind(StrEnum):
    USER = "user"
    CLIENT = "client"


class TenantRole(StrEnum):
    """The roles that every tenant begins with; it may have others."""

    ADMIN = "tenant_admin"
    MANAGER = "tenant_manager"
    USER = "user"


@dataclass(frozen=True, slots=True)
class Principal:
    """A user or an API client of one tenant, and what it may be there."""

    id: UUID
    tenant_id: UUID
    roles: frozenset[str]
    kind: PrincipalKind
