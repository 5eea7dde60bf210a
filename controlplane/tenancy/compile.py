"""Revision chains, compiled once into a list of statements that makes or upgrades any tenant."""

import re
import threading
from dataclasses import dataclass, field
from functools import cached_property
from uuid import UUID

from controlplane.domain.naming import SchemaName, parse_schema_name
from controlplane.errors import TemplateInvalid
from controlplane.tenancy.sqltext import statements
from controlplane.tenancy.template import Template

SCHEMA, ROLE, TENANT_ID = "__schema__", "__role__", "__tenant_id__"

_CONTROLS = re.compile(
    r"(BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|PREPARE)\b", re.IGNORECASE
)

_COMPILING = threading.Lock()
_Key = tuple[str, frozenset[str], frozenset[str] | None]
_compiled: dict[_Key, "Script"] = {}


@dataclass(frozen=True)
class Script:
    """Single statements with placeholders, without semicolons; `heads` are sorted.

    `origins` names for each statement the revision it came from, or `seed`; `digest` is the
    template's.
    """

    statements: tuple[str, ...]
    heads: tuple[str, ...]
    origins: tuple[str, ...]
    digest: str

    @property
    def revision(self) -> str:
        """What public.tenants.revision holds after this script."""
        return ",".join(self.heads)

    @cached_property
    def _message(self) -> str:
        return "".join(f"{statement};\n" for statement in self.statements)

    def render(self, *, schema: SchemaName, tenant_id: UUID) -> str:
        """All statements in one message. Raises ValueError for another name than a tenant's."""
        return _fill(self._message, schema, tenant_id)

    def render_each(self, *, schema: SchemaName, tenant_id: UUID) -> list[str]:
        """One statement per message, for servers that refuse several in one."""
        return [_fill(statement, schema, tenant_id) for statement in self.statements]


def _fill(text: str, schema: SchemaName, tenant_id: UUID) -> str:
    # Both values are hexadecimal by construction: nothing in them can end a literal or a name.
    name = parse_schema_name(schema)
    text = text.replace(SCHEMA, name).replace(ROLE, name)
    return text.replace(TENANT_ID, str(UUID(int=tenant_id.int)))


def compiled(
    template: Template, *, start: frozenset[str] = frozenset(), to: frozenset[str] | None = None
) -> Script:
    """The script from the set of heads `start` to the newest; from nothing, with the seeds. To the
    heads `to` instead, which may lie before `start`.

    Cached by content. The first call for a pair takes about a second and may run in a thread.
    Raises TemplateInvalid for what cannot be compiled and RevisionNeedsOnline for a data
    revision on the way.
    """
    key = (template.digest, start, to)
    known = _compiled.get(key)
    if known is None:
        with _COMPILING:
            known = _compiled.get(key) or _compile(template, start, to)
            _compiled[key] = known
    return known


def _compile(template: Template, start: frozenset[str], to: frozenset[str] | None) -> Script:
    from controlplane.tenancy import environment  # noqa: PLC0415  Alembic takes 0.8 s to import
    from controlplane.tenancy.revisions import Target  # noqa: PLC0415  as above

    template.unchanged()
    scripts = environment.revisions(template)
    tape = _Tape()
    environment.render(
        scripts,
        start=tuple(sorted(start)),
        target=Target(schema=SCHEMA, role=ROLE, tenant_id=TENANT_ID),
        tape=tape,
        to=None if to is None else tuple(sorted(to)),
    )
    if not start:
        tape.seed(template.seeds())
    return Script(
        statements=tuple(tape.statements),
        heads=environment.heads(scripts) if to is None else tuple(sorted(to)),
        origins=tuple(tape.origins),
        digest=template.digest,
    )


@dataclass
class _Tape:
    """What Alembic writes, statement by statement, and where each came from."""

    statements: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    revision: str = "version table"

    def begin(self, revision: str) -> None:
        self.revision = revision

    def write(self, text: str) -> None:
        for statement in statements(text):
            self._add(statement)

    def flush(self) -> None:
        pass

    def seed(self, seeds: list[str]) -> None:
        self.begin("seed")
        for statement in seeds:
            self._add(statement)

    def _add(self, statement: str) -> None:
        if _CONTROLS.match(statement):
            raise TemplateInvalid(f"{self.revision} controls the transaction: {statement}")
        self.statements.append(statement)
        self.origins.append(self.revision)
