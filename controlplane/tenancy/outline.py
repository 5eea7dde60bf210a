"""What a template comes to, revision by revision."""

from collections import Counter
from dataclasses import dataclass

from controlplane.tenancy import environment
from controlplane.tenancy.compile import compiled
from controlplane.tenancy.template import Template


@dataclass(frozen=True)
class Part:
    """`name` is a revision's id, `version table` or `seed`; `online` is what is not compiled."""

    name: str
    statements: int
    online: bool


def outline(template: Template) -> list[Part]:
    """The parts in the order in which a new schema gets them.

    Raises TemplateInvalid where the revisions cannot be compiled.
    """
    counts = Counter(compiled(template).origins)
    online = environment.online(environment.revisions(template))
    return [
        Part(name, 0 if name in online else count, name in online) for name, count in counts.items()
    ]
