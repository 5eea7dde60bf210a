"""What the lint says."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """Why something is refused, and what to write instead."""

    name: str
    why: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One breach: `revision` is a revision's id or `seed`, `statement` what it says there."""

    rule: Rule
    revision: str
    statement: str

    def __str__(self) -> str:
        said = " ".join(self.statement.split())
        return (
            f"{self.revision}: {self.rule.name}: {said[:120]}\n  {self.rule.why} {self.rule.remedy}"
        )
