"""Asks resolvers of the internet's names, with nothing remembered in between."""

import asyncio
from collections.abc import Sequence

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.resolver
from dns.message import Message
from dns.name import Name
from dns.rdatatype import RdataType
from dns.rrset import RRset

from controlplane.domain.dns_look import Way
from controlplane.errors import ProviderUnavailable

# Of one chain; resolvers themselves follow fewer.
_LONGEST_CHAIN = 16
# A datagram may be lost.
_ROUNDS = 2
_PORT = 53
# What no path breaks into pieces.
_PAYLOAD = 1232
_CERTAIN = {dns.rcode.NOERROR, dns.rcode.NXDOMAIN}


class ResolverLookup:
    """Asks the machine's resolvers, or the `nameservers` (address and port) instead, one after the
    other. `timeout_s` is for a whole question."""

    def __init__(self, *, timeout_s: float, nameservers: Sequence[tuple[str, int]] = ()) -> None:
        self._timeout_s = timeout_s
        self._nameservers = tuple(nameservers)

    async def texts(self, name: str) -> frozenset[str]:
        answer = await self._ask(name, RdataType.TXT)
        chain, found = _followed(answer)
        if not found and chain and not _is_whole(answer):
            raise ProviderUnavailable(f"The name servers do not know of '{chain[-1]}'.")
        texts = (b"".join(each.strings) for each in found or ())
        return frozenset(text.decode(errors="replace") for text in texts)

    async def way(self, name: str) -> Way:
        answers = await asyncio.gather(
            self._ask(name, RdataType.A), self._ask(name, RdataType.AAAA), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        followed = [_followed(answer) for answer in answers if isinstance(answer, Message)]
        # Both have the same aliases, or they have just been changed.
        names = max((chain for chain, _ in followed), key=len)
        addresses = (each.address for _, found in followed for each in found or ())
        return Way(tuple(names), frozenset(addresses))

    async def _ask(self, name: str, kind: RdataType) -> Message:
        question = dns.message.make_query(
            dns.name.from_text(name), kind, use_edns=0, payload=_PAYLOAD
        )
        nameservers = self._nameservers or _of_this_machine()
        patience_s = self._timeout_s / (_ROUNDS * len(nameservers))
        why = f"No answer about '{name}' in time."
        for nameserver in nameservers * _ROUNDS:
            try:
                return await _answer(question, nameserver, patience_s)
            except (dns.exception.Timeout, TimeoutError):
                continue
            except (dns.exception.DNSException, OSError, EOFError) as exc:
                why = f"No good answer about '{name}' ({type(exc).__name__})."
            except _Unsure as exc:
                why = f"The name servers answer {exc} about '{name}'."
        raise ProviderUnavailable(why)


class _Unsure(Exception):  # noqa: N818  it never leaves this module
    """An answer that says nothing about the name."""


async def _answer(question: Message, nameserver: tuple[str, int], timeout_s: float) -> Message:
    address, port = nameserver
    async with asyncio.timeout(timeout_s):
        answer, _ = await dns.asyncquery.udp_with_fallback(
            question,
            address,
            port=port,
            timeout=timeout_s,
            ignore_unexpected=True,
            ignore_errors=True,
        )
    rcode = answer.rcode()
    if rcode not in _CERTAIN:
        raise _Unsure(dns.rcode.to_text(rcode))
    if not answer.flags & (dns.flags.AA | dns.flags.RA):
        raise _Unsure("with a referral")
    return answer


def _of_this_machine() -> tuple[tuple[str, int], ...]:
    try:
        found = dns.resolver.Resolver().nameservers
    except dns.exception.DNSException as exc:
        raise ProviderUnavailable("This machine knows no resolver.") from exc
    return tuple((str(address), _PORT) for address in found)


def _followed(answer: Message) -> tuple[list[str], RRset | None]:
    """The chain of aliases in an answer, and what stands at its end."""
    (question,) = answer.question
    name, chain = question.name, list[str]()
    for _ in range(_LONGEST_CHAIN):
        found = _find(answer, name, question.rdtype)
        alias = _find(answer, name, RdataType.CNAME)
        if found is not None or alias is None:
            return chain, found
        name = alias[0].target
        chain.append(name.to_text(omit_final_dot=True).lower())
    return chain, None


def _find(answer: Message, name: Name, kind: RdataType) -> RRset | None:
    return answer.get_rrset(answer.answer, name, dns.rdataclass.IN, kind)


def _is_whole(answer: Message) -> bool:
    """Whether the end of the chain was asked about, too. Who answers for a zone of its own stops
    where that ends."""
    is_resolver = bool(answer.flags & dns.flags.RA)
    in_zone = any(each.rdtype == RdataType.SOA for each in answer.authority)
    return is_resolver or in_zone or answer.rcode() == dns.rcode.NXDOMAIN
