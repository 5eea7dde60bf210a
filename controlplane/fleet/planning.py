"""What a rollout would do, found out before it begins: who, in which rings, by which SQL, at what
price. A template that cannot be rolled out is refused here."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.naming import Mark
from controlplane.domain.rings import empty
from controlplane.domain.rollouts import Policy
from controlplane.errors import RevisionNeedsOnline, RolloutRefused, TemplateInvalid
from controlplane.fleet import requests, way_back
from controlplane.fleet.upgrading import told
from controlplane.fleet.way_back import Aim
from controlplane.tenancy import expand, lint
from controlplane.tenancy.compile import Script, compiled
from controlplane.tenancy.create import create
from controlplane.tenancy.losses import losses
from controlplane.tenancy.template import Template

# Measured: what one upgrade costs at least, beside its own statements.
_LEAST_S = 0.002
_SHOWN = 3
_LOCKS = text("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")
_ROOM = text(
    "SELECT current_setting('max_locks_per_transaction')::int"
    " * (current_setting('max_connections')::int"
    " + current_setting('max_prepared_transactions')::int)"
)


@dataclass(frozen=True)
class Path:
    """How tenants at one revision get to the newest. An online one is run by Alembic and has no
    statements; `sql` has placeholders for schema, role and tenant id. `lost` are phrases: what is gone
    for good on a way back."""

    revision: str
    tenants: int
    online: bool
    sql: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Warned:
    """A statement that may hurt while tenants are served."""

    rule: str
    statement: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Trial:
    """A schema made from nothing, and undone: seconds, locks, and the server's room for locks."""

    seconds: float
    locks: int
    lock_room: int


@dataclass(frozen=True)
class RolloutPlan:
    """`seconds` is an estimate, soaks included. `starts` are the revisions of the tenants that a way
    back begins from, None on the way to the newest; `older` tenants lie before where it leads, and stay."""

    revision: str
    digest: str
    policy: Policy
    ring_sizes: tuple[int, ...]
    at_revision: int
    older: int
    paths: tuple[Path, ...]
    warnings: tuple[Warned, ...]
    trial: Trial
    seconds: float
    starts: frozenset[str] | None = None

    @property
    def targets(self) -> int:
        return sum(self.ring_sizes)


async def plan(
    conn: AsyncConnection,
    *,
    template: Template,
    policy: Policy,
    owner: AsyncEngine,
    installation: UUID,
    app_login: str,
    to: str | None = None,
    served: Collection[str] = (),
) -> RolloutPlan:
    """Nothing is changed. `to` is an older revision, `served` what app servers serve, if that is known.

    Raises RolloutRefused for a template whose revisions cannot be compiled, break a rule of the
    lint, are refused by PostgreSQL, or do not lead on from where tenants are; for a revision that
    there is no way back to, and one that no app server serves."""
    whole = await asyncio.to_thread(_sound, template)
    aim = await way_back.aim(template, whole, to)
    way_back.within(aim, served)
    policy = replace(policy, back=aim.back)
    starts = await way_back.starts(template, aim, await requests.revisions(conn))
    fleet = await requests.fleet(conn, revision=aim.revision, policy=policy, starts=starts)
    trial = await _tried(template, aim, owner, installation, app_login)
    paths = [
        await asyncio.to_thread(_path, template, revision, tenants, aim)
        for revision, tenants in sorted(fleet.starts().items())
    ]
    sizes = fleet.sizes(policy)
    return RolloutPlan(
        revision=aim.revision,
        digest=template.digest,
        policy=policy,
        ring_sizes=tuple(sizes),
        at_revision=fleet.at_revision,
        older=fleet.older,
        paths=tuple(paths),
        warnings=(*_warnings(paths, aim), *_unknown(aim, served), *_empty(policy, sizes)),
        trial=trial,
        seconds=_seconds(paths, whole, trial, policy, sizes),
        starts=starts,
    )


def _sound(template: Template) -> Script:
    if (template.digest, None) in _sound_before:
        return compiled(template)
    try:
        findings = lint.lint(template)
        whole = compiled(template)
    except TemplateInvalid as error:
        raise RolloutRefused(str(error)) from error
    if findings:
        told_of = " ".join(f"{f.revision}: {f.rule.name}." for f in findings[:_SHOWN])
        raise RolloutRefused(
            f"The template breaks {len(findings)} of the lint's rules: {told_of} "
            "'controlplane template check' explains each."
        )
    return whole


# By the template's digest and the way back from it: what was found sound need not be tried again by
# this process.
_sound_before: dict[tuple[str, frozenset[str] | None], Trial] = {}


async def _tried(
    template: Template, aim: Aim, owner: AsyncEngine, installation: UUID, app_login: str
) -> Trial:
    """Every statement, in a schema that nobody else ever sees."""
    key = (template.digest, aim.heads)
    if key not in _sound_before:
        _sound_before[key] = await _try(template, aim, owner, installation, app_login)
    return _sound_before[key]


async def _try(
    template: Template, aim: Aim, owner: AsyncEngine, installation: UUID, app_login: str
) -> Trial:
    tenant_id = uuid4()
    mark = Mark(installation, tenant_id, uuid4())
    try:
        async with owner.connect() as conn:
            begun = perf_counter()
            await create(
                conn, tenant_id=tenant_id, mark=mark, app_login=app_login, template=template
            )
            if aim.script is not None:
                await way_back.tried(conn, tenant_id, aim.script)
            seconds = perf_counter() - begun
            locks = (await conn.execute(_LOCKS)).scalar_one()
            room = (await conn.execute(_ROOM)).scalar_one()
            await conn.rollback()
    except OperationalError:
        raise
    except DBAPIError as error:
        raise RolloutRefused(f"PostgreSQL refuses the revisions. {told(error)[1]}") from error
    return Trial(seconds, locks, room)


def _path(template: Template, revision: str, tenants: int, aim: Aim) -> Path:
    try:
        script = compiled(template, start=frozenset(revision.split(",")), to=aim.heads)
    except RevisionNeedsOnline:
        return Path(revision, tenants, online=True, lost=_UNTOLD if aim.back else ())
    except TemplateInvalid as error:
        raise RolloutRefused(
            f"{tenants} tenants are at {revision}, from where this template does not lead on. {error}"
        ) from error
    lost = tuple(dict.fromkeys(losses(script.statements))) if aim.back else ()
    return Path(revision, tenants, online=False, sql=script.statements, lost=lost)


_UNTOLD = ("what its downgrade, which reads rows, does away with: read it",)


def _warnings(paths: Sequence[Path], aim: Aim) -> list[Warned]:
    """What a way back drops is told of as lost."""
    found = {
        (rule.name, statement): Warned(rule.name, statement, rule.why, rule.remedy)
        for path in paths
        for rule, statement in expand.warnings(path.sql)
        if not (aim.back and rule.name.startswith("drops-"))
    }
    return list(found.values())


def _unknown(aim: Aim, served: Collection[str]) -> list[Warned]:
    if served or not aim.back:
        return []
    why = "App servers that need a newer one would fail, or answer 503 tenant_migrating."
    remedy = "Let older ones run first, and name what they serve in CONTROLPLANE_SERVED_REVISIONS."
    return [Warned("served-unknown", f"back to {aim.revision}", why, remedy)]


def _empty(policy: Policy, sizes: Sequence[int]) -> list[Warned]:
    why = "None of the targets is in it, so the next ring begins at once."
    remedy = "See whether its subdomains, tags or tiers are written as they should be."
    return [
        Warned("empty-ring", f"ring {name}", why, remedy) for name in empty(policy.rings, sizes)
    ]


def _seconds(
    paths: Sequence[Path], whole: Script, trial: Trial, policy: Policy, sizes: Sequence[int]
) -> float:
    each = trial.seconds / max(len(whole.statements), 1)
    work = sum(path.tenants * max(len(path.sql) * each, _LEAST_S) for path in paths)
    soaks = max(sum(1 for size in sizes if size) - 1, 0) * policy.soak_s
    return work / policy.max_parallel + soaks
