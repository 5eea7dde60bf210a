"""What the API is sent and answers of tenants' own domains."""

from datetime import datetime
from ipaddress import ip_address
from typing import Annotated, Any

from msgspec import Meta, Struct

from controlplane.domain.naming import Subdomain
from controlplane.domain.own_domains import DomainState
from controlplane.domain.own_hosts import MAX_CHARACTERS, Host, Ours, parse_host
from controlplane.domain.own_records import Purpose, wanted_records
from controlplane.domain.tenants import Tenant
from controlplane.settings import Settings
from controlplane.store.domains import Domain

_TENANTS = "/api/admin/tenants"

HostName = Annotated[
    str,
    Meta(
        description="A host name of a domain that is the tenant's own; kept in lower case, other "
        "scripts as `xn--…`.",
        examples=["www.acme.example"],
        # The document says it; `parsed` looks, and tells what to do.
        extra_json_schema={
            "extra": {
                "minLength": 3,
                "maxLength": MAX_CHARACTERS,
                "pattern": r"^[a-z][a-z0-9]{0,30}(\.[a-z][a-z0-9]{0,30}){1,3}$",
            }
        },
    ),
]


class NewDomainBody(Struct, forbid_unknown_fields=True):
    """A domain of a tenant's own. One that `redirects` sends visitors to the primary one."""

    host: HostName
    redirects: bool = False

    def parsed(self, settings: Settings) -> Host:
        """Raises DomainInvalid and DomainReserved."""
        return parse_host(self.host, ours(settings))


class DomainChangesBody(Struct, forbid_unknown_fields=True):
    """What is left out, or null, stays as it is."""

    is_primary: bool | None = None
    redirects: bool | None = None


class DomainRecordBody(Struct):
    """A record to be made in the domain's zone: TXT proves, CNAME or else A or AAAA leads here."""

    purpose: Purpose
    type: str
    name: str
    value: str


class DomainBody(Struct):
    """A domain of a tenant's own, and the records that it needs. `points_here` is null until
    somebody has seen; `problem` is {"code", "detail"}; `check_at` is null once nobody looks again by
    himself."""

    host: str
    state: DomainState
    is_primary: bool
    redirects: bool
    points_here: bool | None
    problem: dict[str, Any] | None
    records: list[DomainRecordBody]
    created_at: datetime
    verified_at: datetime | None
    failing_since: datetime | None
    checked_at: datetime | None
    check_at: datetime | None
    links: dict[str, str]


class DomainsBody(Struct):
    """All domains of a tenant, by name."""

    items: list[DomainBody]


def ours(settings: Settings) -> Ours:
    """The installation's own names."""
    target = settings.dns_target.lower().removesuffix(".")
    try:
        ip_address(target)
    except ValueError:
        return Ours(settings.base_domain, (*settings.domains_refused, target))
    return Ours(settings.base_domain, settings.domains_refused)


def address_of(domain: Domain) -> str:
    """Where it is found."""
    return f"{_TENANTS}/{domain.tenant_id}/domains/{domain.host}"


def domain_body(domain: Domain, tenant: Tenant, settings: Settings) -> DomainBody:
    """A domain as it is shown."""
    records = wanted_records(
        domain.host,
        domain.challenge,
        subdomain=Subdomain(tenant.subdomain),
        base_domain=settings.base_domain,
        dns_target=settings.dns_target,
    )
    address = address_of(domain)
    return DomainBody(
        host=domain.host,
        state=domain.state,
        is_primary=domain.is_primary,
        redirects=domain.redirects,
        points_here=domain.points_here,
        problem=domain.last_error,
        records=[DomainRecordBody(r.purpose, r.type, r.name, r.value) for r in records],
        created_at=domain.created_at,
        verified_at=domain.verified_at,
        failing_since=domain.failing_since,
        checked_at=domain.checked_at,
        check_at=domain.check_at,
        links={
            "self": address,
            "check": f"{address}/check",
            "tenant": f"{_TENANTS}/{domain.tenant_id}",
        },
    )
