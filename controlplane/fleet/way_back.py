"""Which revision a rollout is to, and whether it may be an older one."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from controlplane.domain.naming import schema_name
from controlplane.errors import RevisionNeedsOnline, RolloutRefused, TemplateInvalid
from controlplane.tenancy.compile import Script, compiled
from controlplane.tenancy.scope import send, tenant_scope
from controlplane.tenancy.template import Template
from controlplane.tenancy.versions import present_heads


@dataclass(frozen=True)
class Aim:
    """`back`: it is older than the newest. `script` leads there from the newest; None where only
    Alembic does, or nothing is to be done."""

    revision: str
    back: bool = False
    script: Script | None = None

    @property
    def heads(self) -> frozenset[str] | None:
        """What to compile to; None for the newest."""
        return frozenset(self.revision.split(",")) if self.back else None


async def aim(template: Template, whole: Script, to: str | None) -> Aim:
    """`to` names a revision of each chain that is to go back, with commas between; a chain that is
    not named stays at its newest. Raises RolloutRefused where no way leads there."""
    if to is None:
        return Aim(whole.revision)
    try:
        return await asyncio.to_thread(_aim, template, whole, to)
    except TemplateInvalid as error:
        raise RolloutRefused(f"No way leads back to '{to}'. {error}") from error


def _aim(template: Template, whole: Script, to: str) -> Aim:
    from controlplane.tenancy import chains  # noqa: PLC0415  Alembic takes 0.8 s to import

    heads = chains.heads_at(template, whole.heads, to)
    revision = ",".join(sorted(heads))
    if revision == whole.revision:
        return Aim(revision)
    try:
        script = compiled(template, start=frozenset(whole.heads), to=heads)
    except RevisionNeedsOnline:
        return Aim(revision, back=True)
    return Aim(revision, back=True, script=script)


async def starts(template: Template, to: Aim, revisions: Collection[str]) -> frozenset[str] | None:
    """Those of the revisions that lie past the one aimed at, the unknown ones too; None on the way
    to the newest, which begins anywhere."""
    from controlplane.tenancy import chains  # noqa: PLC0415  as above

    if not to.back:
        return None
    return await asyncio.to_thread(chains.past, template, to.revision, revisions)


def within(to: Aim, served: Collection[str]) -> None:
    """Raises RolloutRefused for a revision outside of what app servers serve, where that is told."""
    if served and to.revision not in served:
        raise RolloutRefused(
            f"App servers serve {' and '.join(sorted(served))} (CONTROLPLANE_SERVED_REVISIONS): of a "
            f"tenant at {to.revision} they would answer 503 tenant_migrating."
        )


async def tried(conn: AsyncConnection, tenant_id: UUID, script: Script) -> None:
    """Go back with a schema at the newest revision. Raises DBAPIError, and RolloutRefused where it
    leads elsewhere."""
    async with tenant_scope(conn, tenant_id):
        await send(conn, script.render(schema=schema_name(tenant_id), tenant_id=tenant_id))
        found = ",".join(await present_heads(conn))
    if found != script.revision:
        raise RolloutRefused(f"The way back to {script.revision} leads to {found or 'nothing'}.")
