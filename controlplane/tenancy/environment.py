"""The one Alembic environment of tenant schemas, for rendering offline and for running online.

Importing this costs the better part of a second (Alembic); the API's start-up must not.
`alembic.op` is a process-wide proxy, so whoever runs revisions holds RUNNING.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData
from sqlalchemy.exc import SQLAlchemyError

from controlplane.errors import RevisionNeedsOnline, TemplateInvalid
from controlplane.tenancy.lint_sources import no_way_back
from controlplane.tenancy.revisions import Target, target_metadata
from controlplane.tenancy.template import Template
from controlplane.tenancy.versions import VERSIONS

RUNNING = threading.RLock()

Heads = tuple[str, ...]
Steps = Callable[[Heads, MigrationContext], list[RevisionStep]]


# What a revision's own Python may raise, and Alembic about it.
FAULTS = (
    ArithmeticError,
    AttributeError,
    CommandError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SQLAlchemyError,
    SyntaxError,
    TypeError,
    UserWarning,
    ValueError,
)


class Tape(Protocol):
    """Takes what Alembic writes: after `begin(revision)`, that revision's statements."""

    def begin(self, revision: str) -> None: ...
    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


def revisions(template: Template) -> ScriptDirectory:
    """Both chains. Raises TemplateInvalid where one cannot be read or has not one head."""
    scripts = ScriptDirectory(template.core, version_locations=list(template.versions))
    try:
        with RUNNING:
            for folder in template.versions:
                _single_head(scripts, folder)
    except FAULTS as error:
        why = f"{type(error).__name__}: {error}"
        raise TemplateInvalid(f"The revisions cannot be read. {why}") from error
    return scripts


def _single_head(scripts: ScriptDirectory, folder: Path) -> None:
    inside = [r for r in scripts.walk_revisions() if Path(r.path).parent == folder.resolve()]
    followed = {parent for revision in inside for parent in revision._versioned_down_revisions}  # noqa: SLF001  the only place where several parents are told apart from none
    heads = sorted(r.revision for r in inside if r.revision not in followed)
    if len(heads) != 1:
        raise TemplateInvalid(f"{folder} must end in one head, but has {', '.join(heads)}.")


def heads(scripts: ScriptDirectory) -> Heads:
    """The rows that a schema's version table holds when nothing is left to do, sorted."""
    return tuple(sorted(scripts.revision_map._real_heads))  # noqa: SLF001  `heads` also names revisions that others depend on; the version table does not


def online(scripts: ScriptDirectory) -> frozenset[str]:
    """The data revisions, which only Alembic itself can run."""
    return frozenset(r.revision for r in scripts.walk_revisions() if _is_online(r))


def _is_online(revision: Script) -> bool:
    return bool(getattr(revision.module, "online", False))


def render(
    scripts: ScriptDirectory, *, start: Heads, target: Target, tape: Tape, to: Heads | None = None
) -> None:
    """Write the statements from the set of heads `start` to the newest revisions, or to `to`.

    Raises RevisionNeedsOnline for a data revision on the way of an existing schema, and
    TemplateInvalid for any other that cannot be rendered and for an unknown start.
    """

    def steps(present: Heads, _: MigrationContext) -> list[RevisionStep]:
        way = upgrade_steps(scripts, present) if to is None else steps_to(scripts, present, to)
        refuse_one_way(way)
        return [_offline(step, tape, fresh=not start) for step in way]

    _run(
        scripts,
        steps,
        as_sql=True,
        starting_rev=start,
        # Named parameters are never sent; the psycopg style would double every percent sign.
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},
        transactional_ddl=False,
        literal_binds=True,
        output_buffer=tape,
        target=target,
        version_table_schema=target.schema,
    )


def upgrade_steps(scripts: ScriptDirectory, present: Heads) -> list[RevisionStep]:
    """The core first: an application's tables may refer to it without naming a revision."""
    core = scripts._upgrade_revs("core@head", present)  # type: ignore[arg-type]  # noqa: SLF001  what alembic.command.upgrade calls, with the set of heads
    everything = scripts._upgrade_revs("heads", present)  # type: ignore[arg-type]  # noqa: SLF001  as above
    first = {step.revision.revision for step in core}
    return core + [step for step in everything if step.revision.revision not in first]


def steps_to(scripts: ScriptDirectory, present: Heads, to: Heads) -> list[RevisionStep]:
    """From one set of heads to another, which lies before it or after it; the application first
    where it goes back. Raises TemplateInvalid for heads that are unknown or lie neither way."""
    had, wanted = below(scripts, present), below(scripts, to)
    gone, missing = had - wanted, wanted - had
    if gone and missing:
        raise TemplateInvalid(
            f"{','.join(to)} lies neither before {','.join(present)} nor after it."
        )
    back = bool(gone)
    ways = [r for r in scripts.walk_revisions() if r.revision in gone | missing]
    if not back:
        ways.reverse()
    ways.sort(key=lambda revision: ("core" in revision.branch_labels) is back)
    return [RevisionStep(scripts.revision_map, revision, is_upgrade=not back) for revision in ways]


def below(scripts: ScriptDirectory, heads: Heads) -> frozenset[str]:
    """These revisions with all that come before them. Raises TemplateInvalid for an unknown one."""
    known = {revision.revision: revision for revision in scripts.walk_revisions()}
    found: set[str] = set()
    left = [head for head in heads if head]
    while left:
        name = left.pop()
        if name not in known:
            raise TemplateInvalid(f"The template has no revision '{name}'.")
        found.add(name)
        left += [parent for parent in known[name]._all_down_revisions if parent not in found]  # noqa: SLF001  parents and what it depends on
    return frozenset(found)


def downgrade_steps(scripts: ScriptDirectory, present: Heads, to: str) -> list[RevisionStep]:
    """The application first: its tables may refer to the core's."""
    steps = scripts._downgrade_revs(to, present)  # type: ignore[arg-type]  # noqa: SLF001  what alembic.command.downgrade calls, with the set of heads
    return sorted(steps, key=lambda step: "core" in step.revision.branch_labels)


def run(connection: Connection, scripts: ScriptDirectory, *, target: Target, steps: Steps) -> None:
    """Run steps on a live schema, in the connection's transaction.

    `steps(present_heads, context)` gives them. The path and the tenant's id are set by the caller.
    """
    _run(
        scripts,
        steps,
        connection=connection,
        target=target,
        version_table_schema=target.schema,
    )


def _run(scripts: ScriptDirectory, steps: Steps, **options: Any) -> None:
    as_sql = options.pop("as_sql", False)
    starting_rev = options.pop("starting_rev", None)
    environment = EnvironmentContext(
        Config(), scripts, fn=steps, as_sql=as_sql, starting_rev=starting_rev
    )
    try:
        with RUNNING, environment:
            environment.configure(target_metadata=target_metadata(), **options)
            environment.run_migrations()
    except CommandError as error:
        raise TemplateInvalid(f"{error}. Is it another template's schema?") from error


def refuse_one_way(steps: list[RevisionStep]) -> None:
    """Raises TemplateInvalid where a revision on the way back says that there is none."""
    for step in steps:
        if step.is_upgrade:
            continue
        reason = no_way_back(Path(step.revision.path).read_text(encoding="utf-8"))
        if reason is not None:
            raise TemplateInvalid(f"Revision {step.revision.revision} has no downgrade: {reason}")


def _offline(step: RevisionStep, tape: Tape, *, fresh: bool) -> RevisionStep:
    name = step.revision.revision
    online = _is_online(step.revision)
    if online and not fresh:
        raise RevisionNeedsOnline(
            f"Revision {name} reads rows (`online = True`): it is applied to tenants that exist "
            "already by a rollout, and by nothing else."
        )
    change = step.migration_fn

    def rendered(**options: object) -> None:
        tape.begin(name)
        # A data revision finds no rows in a new schema; the seeds come after the last revision.
        if not online:
            with _named(name):
                change(**options)

    step.migration_fn = rendered
    return step


@contextmanager
def _named(revision: str) -> Iterator[None]:
    try:
        yield
    except FAULTS as error:
        raise TemplateInvalid(
            f"Revision {revision} cannot be rendered offline: {error!r}. A revision that must read "
            "rows says `online = True` and changes rows only."
        ) from error


def changes(connection: Connection, metadata: MetaData) -> list[Any]:
    """What autogenerate would change in the schema on the connection's path; for tests and for
    authors of revisions."""
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "include_object": _not_versions}
    )
    with RUNNING:
        return list(compare_metadata(context, metadata))


def _not_versions(_: object, name: str | None, kind: str, *__: object) -> bool:
    return not (kind == "table" and name == VERSIONS)
