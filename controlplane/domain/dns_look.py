"""What the DNS shows of a tenant's own domain, and what that proves. Pure."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from controlplane.domain.own_hosts import CHALLENGE_LABEL, Host, is_within

_TOLD_VALUES = 3
_TOLD_CHARACTERS = 100


def challenge_name(host: Host) -> str:
    """Where the TXT record belongs that proves a host's ownership."""
    return f"{CHALLENGE_LABEL}.{host}"


def challenge_value(token: str) -> str:
    """What it must say; the token is random, and of one tenant and host."""
    return f"controlplane-verify={token}"


class Proof(StrEnum):
    THERE = "there"
    # Surely not there: none at all, or others.
    MISSING = "txt_missing"
    WRONG = "txt_wrong"
    # Nobody can tell: this counts as nothing.
    UNKNOWN = "dns_unavailable"


class Pointing(StrEnum):
    HERE = "here"
    NOWHERE = "points_nowhere"
    # To addresses that are not ours; a CDN may stand in between.
    ASIDE = "points_aside"
    # To a name below the base domain that is another tenant's, or nobody's any more.
    ELSEWHERE = "points_elsewhere"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Way:
    """Where a name leads: the names of its chain of aliases in order, without itself and in lower
    case, and the addresses at the end. Both are empty for a name that is not there."""

    names: tuple[str, ...] = ()
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Look:
    """What was found: the TXT records at the challenge's name, and where the host leads. None is for
    what nobody could tell; `why` says so for people."""

    texts: Collection[str] | None
    way: Way | None
    why: str = "No answer from the domain's name servers."


@dataclass(frozen=True)
class Ingress:
    """Where a tenant's own domain should lead: its host below the base domain, or the ingress by its
    name or addresses."""

    tenant_host: str
    base_domain: str
    names: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Seen:
    """What a look proves. `problem` is {"code", "detail"} of what stands in the way, proof first."""

    proof: Proof
    pointing: Pointing
    problem: dict[str, Any] | None


def judge(look: Look, *, host: Host, challenge: str, ingress: Ingress) -> Seen:
    """What follows from a look at this host."""
    proof, pointing = _proof(look.texts, challenge), _pointing(look.way, ingress)
    return Seen(proof, pointing, _problem(look, proof, pointing, host, ingress))


def _proof(texts: Collection[str] | None, challenge: str) -> Proof:
    if texts is None:
        return Proof.UNKNOWN
    if challenge in texts:
        return Proof.THERE
    return Proof.WRONG if texts else Proof.MISSING


def _pointing(way: Way | None, ingress: Ingress) -> Pointing:
    if way is None:
        return Pointing.UNKNOWN
    ours = ingress.names | {ingress.tenant_host}
    # The first name of ours decides: what lies behind it is not the domain's doing.
    for name in way.names:
        if name in ours:
            return Pointing.HERE
        if is_within(name, ingress.base_domain):
            return Pointing.ELSEWHERE
    if not way.addresses:
        return Pointing.NOWHERE
    return Pointing.HERE if way.addresses & ingress.addresses else Pointing.ASIDE


def _problem(
    look: Look, proof: Proof, pointing: Pointing, host: Host, ingress: Ingress
) -> dict[str, Any] | None:
    if proof is Proof.UNKNOWN:
        return _told(proof, look.why)
    if proof is not Proof.THERE:
        return _told(proof, _missing(look.texts or (), host))
    if pointing in {Pointing.HERE, Pointing.UNKNOWN}:
        return None
    return _told(pointing, _astray(look.way or Way(), pointing, host, ingress))


def _told(code: StrEnum, detail: str) -> dict[str, Any]:
    return {"code": str(code), "detail": detail}


def _missing(texts: Collection[str], host: Host) -> str:
    name = challenge_name(host)
    if not texts:
        return f"There is no TXT record at '{name}'."
    shown = ", ".join(repr(text[:_TOLD_CHARACTERS]) for text in sorted(texts)[:_TOLD_VALUES])
    return f"The TXT records at '{name}' are others: {shown}."


def _astray(way: Way, pointing: Pointing, host: Host, ingress: Ingress) -> str:
    remedy = f"lead it to '{ingress.tenant_host}' by a CNAME record"
    if pointing is Pointing.ELSEWHERE:
        there = next(name for name in way.names if is_within(name, ingress.base_domain))
        return f"'{host}' leads to '{there}', which is not this tenant's; {remedy}."
    if pointing is Pointing.ASIDE:
        found = ", ".join(sorted(way.addresses)[:_TOLD_VALUES])
        return f"'{host}' leads to {found}, which is not the ingress; {remedy}."
    dead_end = f"'{way.names[-1]}', which has no address" if way.names else "nowhere"
    return f"'{host}' leads to {dead_end}; {remedy}."
