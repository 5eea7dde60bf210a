"""Whether an app server knows what a tenant's schema looks like. Pure."""

from collections.abc import Callable, Collection

from controlplane.errors import TenantMigrating

# The revisions that an app server serves, as they stand in the registry (comma-joined and sorted
# template heads), or what tells of one whether it is served.
Serves = Collection[str] | Callable[[str | None], bool]


def refuse_unserved(revision: str | None, serves: Serves | None) -> None:
    """Raises TenantMigrating for a revision outside of `serves`; None serves every one.

    During a rollout tenants are at different revisions: old app servers must not write to a new
    shape, nor new ones read an old one.
    """
    if serves is None or _is_served(revision, serves):
        return
    raise TenantMigrating(
        f"The tenant's schema is at revision '{revision}', which is not served here; try again."
    )


def _is_served(revision: str | None, serves: Serves) -> bool:
    return serves(revision) if callable(serves) else revision in serves
