"""Which revision of a template comes after which, read from the revisions' text. Pure.

Without Alembic, which neither app servers nor the API's start have time for.
"""

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Lineage:
    """Each known revision's parents: what it revises and what it depends on."""

    parents: Mapping[str, frozenset[str]]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Lineage":
        """From the Python text of every revision. Raises ValueError for one that does not say which
        it is, or what it revises, in so many words."""
        return cls(dict(map(_read, texts)))

    def newest(self) -> str:
        """What the registry says of a tenant at the newest revisions. Raises ValueError where a
        revision comes after an unknown one."""
        followed = frozenset[str]().union(*self.parents.values())
        if unknown := followed - self.parents.keys():
            raise ValueError(f"unknown revisions: {', '.join(sorted(unknown))}")
        return ",".join(sorted(self.parents.keys() - followed))

    def reached(self, revision: str, at: str | None) -> bool:
        """Whether a tenant at `at`, as the registry says it, is at or past a known revision.

        A head that is unknown comes after all that are known, but for those of a chain whose head is
        known. Raises ValueError for an unknown revision.
        """
        if revision not in self.parents:
            raise ValueError(f"there is no revision {revision}")
        heads = frozenset((at or "").split(",")) - {""}
        known = heads & self.parents.keys()
        if revision in self._below(known):
            return True
        return known != heads and not known & self._below({revision})

    def _below(self, heads: Iterable[str]) -> set[str]:
        found: set[str] = set()
        left = list(heads)
        while left:
            revision = left.pop()
            if revision not in found:
                found.add(revision)
                left += self.parents.get(revision, ())
        return found


def _read(text: str) -> tuple[str, frozenset[str]]:
    told: dict[str, object] = {}
    for node in ast.parse(text).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in _SAID:
                told[name] = ast.literal_eval(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if (
                name in _SAID
            ):
                told[name] = ast.literal_eval(value)
    parents = _names(told.get("down_revision")) | _names(told.get("depends_on"))
    (revision,) = _names(told.get("revision"))
    return revision, parents


_SAID = frozenset(["revision", "down_revision", "depends_on"])


def _names(said: object) -> frozenset[str]:
    if said is None:
        return frozenset()
    return frozenset([said] if isinstance(said, str) else map(str, said))  # type: ignore[call-overload]  # a tuple or a list, as Alembic reads it
