"""What a rollout would do, found out before it begins: who, in which rings, by which SQL, at what
price. A template that cannot be rolled out is refused here."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from controlplane.domain.naming import Mark
from controlplane.domain.rollouts import Policy
from controlplane.errors import RevisionNeedsOnline, RolloutRefused, TemplateInvalid
from controlplane.fleet import requests
from controlplane.fleet.upgrading import told
from controlplane.tenancy import expand, lint
from controlplane.tenancy.compile import Script, compiled
from controlplane.tenancy.create import create
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
    statements; `sql` has placeholders for schema, role and tenant id."""

    revision: str
    tenants: int
    online: bool
    sql: tuple[str, ...] = ()


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
    """`seconds` is an estimate, soaks included."""

    revision: str
    digest: str
    policy: Policy
    ring_sizes: tuple[int, ...]
    at_revision: int
    paths: tuple[Path, ...]
    warnings: tuple[Warned, ...]
    trial: Trial
    seconds: float

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
) -> RolloutPlan:
    """Nothing is changed. Raises RolloutRefused for a template whose revisions cannot be compiled,
    break a rule of the lint, are refused by PostgreSQL, or do not lead on from where tenants are."""
    whole = await asyncio.to_thread(_sound, template)
    fleet = await requests.fleet(conn, revision=whole.revision, policy=policy)
    trial = await _tried(template, owner, installation, app_login)
    paths = [
        await asyncio.to_thread(_path, template, revision, tenants)
        for revision, tenants in sorted(fleet.starts().items())
    ]
    sizes = fleet.sizes(policy)
    return RolloutPlan(
        revision=whole.revision,
        digest=template.digest,
        policy=policy,
        ring_sizes=tuple(sizes),
        at_revision=fleet.at_revision,
        paths=tuple(paths),
        warnings=tuple(_warnings(paths)),
        trial=trial,
        seconds=_seconds(paths, whole, trial, policy, sizes),
    )


def _sound(template: Template) -> Script:
    if template.digest in _sound_before:
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


# By the template's digest: what was found sound need not be tried again by this process.
_sound_before: dict[str, Trial] = {}


async def _tried(
    template: Template, owner: AsyncEngine, installation: UUID, app_login: str
) -> Trial:
    """Every statement, in a schema that nobody else ever sees."""
    if template.digest not in _sound_before:
        found = await _try(template, owner, installation, app_login)
        _sound_before[template.digest] = found
    return _sound_before[template.digest]


async def _try(template: Template, owner: AsyncEngine, installation: UUID, app_login: str) -> Trial:
    tenant_id = uuid4()
    mark = Mark(installation, tenant_id, uuid4())
    try:
        async with owner.connect() as conn:
            begun = perf_counter()
            await create(
                conn, tenant_id=tenant_id, mark=mark, app_login=app_login, template=template
            )
            seconds = perf_counter() - begun
            locks = (await conn.execute(_LOCKS)).scalar_one()
            room = (await conn.execute(_ROOM)).scalar_one()
            await conn.rollback()
    except OperationalError:
        raise
    except DBAPIError as error:
        raise RolloutRefused(f"PostgreSQL refuses the revisions. {told(error)[1]}") from error
    return Trial(seconds, locks, room)


def _path(template: Template, revision: str, tenants: int) -> Path:
    try:
        script = compiled(template, start=frozenset(revision.split(",")))
    except RevisionNeedsOnline:
        return Path(revision, tenants, online=True)
    except TemplateInvalid as error:
        raise RolloutRefused(
            f"{tenants} tenants are at {revision}, from where this template does not lead on. {error}"
        ) from error
    return Path(revision, tenants, online=False, sql=script.statements)


def _warnings(paths: Sequence[Path]) -> list[Warned]:
    found = {
        (rule.name, statement): Warned(rule.name, statement, rule.why, rule.remedy)
        for path in paths
        for rule, statement in expand.warnings(path.sql)
    }
    return list(found.values())


def _seconds(
    paths: Sequence[Path], whole: Script, trial: Trial, policy: Policy, sizes: Sequence[int]
) -> float:
    each = trial.seconds / max(len(whole.statements), 1)
    work = sum(path.tenants * max(len(path.sql) * each, _LEAST_S) for path in paths)
    soaks = max(sum(1 for size in sizes if size) - 1, 0) * policy.soak_s
    return work / policy.max_parallel + soaks
