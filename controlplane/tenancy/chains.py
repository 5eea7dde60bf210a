"""What lies before what in the revisions of a template. Imports Alembic: import it where it is used."""

from collections.abc import Collection, Iterable

from alembic.script import ScriptDirectory

from controlplane.errors import TemplateInvalid
from controlplane.tenancy import environment
from controlplane.tenancy.template import Template


def heads_at(template: Template, newest: Collection[str], to: str) -> frozenset[str]:
    """The heads of a schema that went back to `to`: a revision of each chain that goes back, with
    commas between. A chain that is not named stays at its newest.

    Raises TemplateInvalid for an unknown one, and where a whole chain would be gone.
    """
    scripts = environment.revisions(template)
    named = _foremost(scripts, frozenset(part.strip() for part in to.split(",") if part.strip()))
    if not named:
        raise TemplateInvalid("It names no revision.")
    stay = {head for head in newest if not named & environment.below(scripts, (head,))}
    heads = named | stay
    kept = environment.below(scripts, tuple(heads))
    for revision in scripts.walk_revisions():
        if not revision._versioned_down_revisions and revision.revision not in kept:  # noqa: SLF001  the only place where several parents are told apart from none
            raise TemplateInvalid(
                f"It would take away the whole chain that begins with {revision.revision}."
            )
    return heads


def _foremost(scripts: ScriptDirectory, named: frozenset[str]) -> frozenset[str]:
    """Without those that lie before another of them: a schema is never at both."""
    before = {
        one
        for one in named
        for other in named - {one}
        if one in environment.below(scripts, (other,))
    }
    return named - before


def past(template: Template, revision: str, candidates: Iterable[str]) -> frozenset[str]:
    """Those of the candidates that lie after the revision, and those that the template does not know."""
    scripts = environment.revisions(template)
    wanted = environment.below(scripts, tuple(revision.split(",")))
    return frozenset(each for each in candidates if _past(scripts, each, wanted))


def _past(scripts: ScriptDirectory, candidate: str, wanted: frozenset[str]) -> bool:
    try:
        return environment.below(scripts, tuple(candidate.split(","))) > wanted
    except TemplateInvalid:
        return True
