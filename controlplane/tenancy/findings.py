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

    @property
    def shortened(self) -> str:
        """The statement on one line of at most 120 characters."""
        return " ".join(self.statement.split())[:120]

    def __str__(self) -> str:
        said = f"{self.revision}: {self.rule.name}: {self.shortened}"
        return f"{said}\n  {self.rule.why} {self.rule.remedy}"
