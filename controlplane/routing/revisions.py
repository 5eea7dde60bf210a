"""Whether an app server knows what a tenant's schema looks like, and what it may ask of it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from controlplane.domain.lineage import Lineage
from controlplane.errors import TenantMigrating
from controlplane.routing.tenant import RoutedTenant, current_tenant

# The revisions that an app server serves, as they stand in the registry (comma-joined and sorted
# template heads), or what tells of one whether it is served.
Serves = Collection[str] | Callable[[str | None], bool]


@dataclass(frozen=True)
class Revisions:
    """The revisions that an app server was written for, in their order."""

    lineage: Lineage

    @classmethod
    def read(cls, *folders: Path | str) -> "Revisions":
        """From folders with revisions, the template's `versions` and if need be the core's.

        Raises OSError, and ValueError where a revision cannot be read or there is none.
        """
        paths = [path for folder in folders for path in sorted(Path(folder).glob("*.py"))]
        if not paths:
            raise ValueError(f"no revision in {', '.join(map(str, folders)) or 'no folder'}")
        return cls(Lineage.of(path.read_text(encoding="utf-8") for path in paths))

    def reached(self, revision: str, tenant: RoutedTenant | None = None) -> bool:
        """Whether the tenant, by default the current one, is at or past the revision; so what it
        brought may be used. A revision that is unknown here is newer than all that are known.

        Raises MissingTenantContext, and ValueError for a revision that was not read.
        """
        asked = current_tenant() if tenant is None else tenant
        return self.lineage.reached(revision, asked.revision)

    def since(self, revision: str) -> Callable[[str | None], bool]:
        """For `serves`: tenants at or past the revision. Raises ValueError as `reached`."""
        self.lineage.reached(revision, None)
        return lambda at: self.lineage.reached(revision, at)


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
