"""An answer of the registry as one process writes it down for others. Pure.

It tells whom a name belongs to and nothing that anybody could sign in with.
"""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from controlplane.domain.tenants import TenantState
from controlplane.routing.hosts import is_own_domain
from controlplane.routing.tenant import RoutedTenant

# Of what is written. Whoever reads another one asks the registry.
_VERSION = 1
_LONGEST = 4096
_ABOVE_ALL = 2**63


@dataclass(frozen=True)
class SharedAnswer:
    """What the registry said of a name: a subdomain or the host of a tenant's own domain, both as
    `subdomain`; None is one that nobody holds.

    It was asked after its changes had been told to the `horizon`, `at` that second of its clock;
    `server` is whose horizon and clock that is.
    """

    subdomain: str
    tenant: RoutedTenant | None
    horizon: int
    server: str
    at: float


def packed(answer: SharedAnswer) -> bytes:
    """As it is kept: at most a few hundred bytes of JSON."""
    tenant = answer.tenant
    return json.dumps(
        {
            "version": _VERSION,
            "subdomain": answer.subdomain,
            "horizon": answer.horizon,
            "server": answer.server,
            "at": answer.at,
            "tenant": None if tenant is None else _written(tenant, answer.subdomain),
        }
    ).encode()


def unpacked(payload: bytes) -> SharedAnswer | None:
    """What was kept; None for whatever is not exactly that."""
    if len(payload) > _LONGEST:
        return None
    try:
        return _read(json.loads(payload))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _written(tenant: RoutedTenant, name: str) -> dict[str, str | None]:
    written = {
        "id": str(tenant.id),
        "name": tenant.name,
        "state": tenant.state.value,
        "tier": tenant.tier,
        "revision": tenant.revision,
    }
    # Of a subdomain, the form that an earlier release knows.
    own = {"subdomain": tenant.subdomain, "moved_to": tenant.moved_to}
    return written | own if is_own_domain(name) else written


def _read(found: Any) -> SharedAnswer | None:
    version, horizon, at = found["version"], found["horizon"], found["at"]
    if type(version) is not int or version != _VERSION or type(horizon) is not int:
        return None
    if not 0 <= horizon < _ABOVE_ALL or type(at) is not float:
        return None
    name = _text(found["subdomain"])
    tenant = None if found["tenant"] is None else _tenant(name, found["tenant"])
    return SharedAnswer(name, tenant, horizon, _text(found["server"]), at)


def _tenant(name: str, found: Any) -> RoutedTenant:
    own = is_own_domain(name)
    return RoutedTenant(
        UUID(_text(found["id"])),
        _text(found["subdomain"]) if own else name,
        _text(found["name"]),
        TenantState(_text(found["state"])),
        _text(found["tier"]),
        _text_or_none(found["revision"]),
        _text_or_none(found["moved_to"]) if own else None,
    )


def _text_or_none(found: Any) -> str | None:
    return None if found is None else _text(found)


def _text(found: Any) -> str:
    if type(found) is not str:
        raise TypeError(f"not a text: {type(found).__name__}")
    return found
