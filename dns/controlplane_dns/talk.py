"""A conversation with a name server over TCP, signed with TSIG (RFC 8945).

Only TCP: zones are transferred by it in any case, and a datagram may arrive twice.
"""

import asyncio
import base64
import binascii
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import NamedTuple
from urllib.parse import urlsplit

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.tsig
from dns.message import Message
from dns.rcode import NOERROR
from dns.rrset import RRset
from dns.tsig import GSSTSig, HMACTSig
from dns.update import UpdateMessage

from controlplane.errors import ProviderRefused, ProviderUnavailable, SettingsInvalid, StepError

_PORT = 53
# A prerequisite does not hold: nothing was changed.
_NOT_HELD = {
    dns.rcode.YXDOMAIN,
    dns.rcode.NXDOMAIN,
    dns.rcode.YXRRSET,
    dns.rcode.NXRRSET,
}
_REMEDIES = {
    dns.rcode.REFUSED: "allow this key to update and to transfer the zone",
    dns.rcode.NOTAUTH: "name the zone's primary server, and a key that it knows for this zone",
    dns.rcode.NOTZONE: "check which zone the base domain lies in",
    dns.rcode.NOTIMP: "it takes no dynamic updates; choose another server or provider",
    dns.rcode.FORMERR: "it does not understand the request; choose another server or provider",
}
_DISTRUSTED: dict[type[dns.exception.DNSException], str] = {
    dns.tsig.PeerBadKey: "it does not know the key, or not for this; check its name, its algorithm"
    " and the server's policy",
    dns.tsig.PeerBadSignature: "the key's secret is another one there",
    dns.tsig.PeerBadTruncation: "it wants longer signatures",
}
_ALGORITHMS = {
    "hmac-sha256": dns.tsig.HMAC_SHA256,
    "hmac-sha384": dns.tsig.HMAC_SHA384,
    "hmac-sha512": dns.tsig.HMAC_SHA512,
}


class Key(dns.tsig.Key):
    """A TSIG key that does not tell its secret."""

    def __init__(self, name: str, secret: str, algorithm: str = "hmac-sha256") -> None:
        """Raises SettingsInvalid for a secret that is not base64, or another algorithm."""
        try:
            known = _ALGORITHMS[algorithm]
            super().__init__(name, base64.b64decode(secret, validate=True), known)
        except KeyError:
            raise SettingsInvalid(f"The key's algorithm is none of {list(_ALGORITHMS)}.") from None
        except binascii.Error:
            # The error's text would hold nothing of it, but its context would.
            raise SettingsInvalid("The secret of the DNS key is not base64.") from None
        except dns.exception.DNSException:
            raise SettingsInvalid(f"{name!r} is not the name of a DNS key.") from None

    def __repr__(self) -> str:
        return f"<DNS key {self.name}>"


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`host`, `host:port` or `[IPv6]:port`. Raises SettingsInvalid."""
    with suppress(ValueError):
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.netloc == text and "@" not in text:
            return Address(parts.hostname, parts.port or _PORT)
    raise SettingsInvalid(
        f"{text!r} is not the address of a name server such as ns1.example.com:53."
    )


class Server:
    """A name server, and the key to sign with, if any. `timeout_s` is for each answer."""

    def __init__(self, address: Address, *, key: Key | None, timeout_s: float) -> None:
        self._address = address
        self._key = key
        self._timeout_s = timeout_s

    @asynccontextmanager
    async def talk(self) -> AsyncIterator["Talk"]:
        """One connection. Raises ProviderUnavailable."""
        with _explained(self._address):
            async with asyncio.timeout(self._timeout_s):
                reader, writer = await asyncio.open_connection(*self._address)
        try:
            yield Talk(reader, writer, self._address, self._key, self._timeout_s)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class Talk:
    """Raises ProviderUnavailable where no trustworthy answer comes, ProviderRefused where the
    server will not do it. After either a change may have taken effect."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        address: Address,
        key: Key | None,
        timeout_s: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._address = address
        self._key = key
        self._timeout_s = timeout_s

    async def apply(self, update: UpdateMessage) -> bool:
        """Whether all that the update asks for held; if not, nothing was changed."""
        answer = await self._answer(update)
        rcode = answer.rcode()
        self._accept(answer, besides=rcode if rcode in _NOT_HELD else NOERROR)
        return rcode == NOERROR

    async def query(
        self, name: dns.name.Name, kind: str, *, below_cut: bool = False
    ) -> list[RRset]:
        """The answer's records. `below_cut`: the name may have been given to another server."""
        question = dns.message.make_query(name, kind, flags=0)
        answer = await self._answer(question)
        self._accept(answer, besides=dns.rcode.NXDOMAIN)
        if answer.flags & dns.flags.AA:
            return list(answer.answer)
        if below_cut:
            return []
        raise ProviderRefused(f"The name server {self._address} does not hold the zone itself.")

    async def transfer(self, zone: dns.name.Name) -> AsyncIterator[RRset]:
        """Every record of the zone, of one moment (AXFR)."""
        question = dns.message.make_query(zone, dns.rdatatype.AXFR, flags=0)
        with _explained(self._address):
            await self._send(question)
        context, is_begun, is_over = None, False, False
        while not is_over:
            # What is here already is read without a pause, and a large zone would stop all else.
            await asyncio.sleep(0)
            with _explained(self._address):
                part = await self._receive(question, context=context)
            context = part.tsig_ctx
            # What lies between is covered by the signature of the end.
            self._accept(part, unproven=is_begun)
            for rrset in part.answer:
                yield rrset
                if rrset.rdtype == dns.rdatatype.SOA and rrset.name == zone:
                    is_begun, is_over = True, is_begun
        self._accept(part)

    async def _answer(self, question: Message) -> Message:
        with _explained(self._address):
            await self._send(question)
            return await self._receive(question)

    async def _send(self, question: Message) -> None:
        if self._key:
            question.use_tsig(self._key)
        self._writer.write(question.to_wire(prepend_length=True))
        async with asyncio.timeout(self._timeout_s):
            await self._writer.drain()

    async def _receive(
        self, question: Message, *, context: HMACTSig | GSSTSig | None = None
    ) -> Message:
        async with asyncio.timeout(self._timeout_s):
            (length,) = struct.unpack("!H", await self._reader.readexactly(2))
            wire = await self._reader.readexactly(length)
        answer = dns.message.from_wire(
            wire,
            keyring=question.keyring,
            request_mac=question.mac,
            xfr=True,
            tsig_ctx=context,
            # `_accept` tells of a missing signature better.
            multi=True,
        )
        if not question.is_response(answer, xfr_continuation=True):
            raise ProviderUnavailable(f"{self._address} answered a question that was not asked.")
        return answer

    def _accept(self, answer: Message, *, besides: int = NOERROR, unproven: bool = False) -> None:
        """Raises for what is not signed, and for every error but `besides`."""
        rcode = answer.rcode()
        is_proven = unproven or answer.had_tsig or self._key is None
        if is_proven and rcode in (NOERROR, besides):
            return
        said = f"The name server {self._address} answered {dns.rcode.to_text(rcode)}"
        remedy = f": {_REMEDIES[rcode]}" if rcode in _REMEDIES else ""
        if not is_proven:
            raise ProviderUnavailable(f"{said} without a signature{remedy}.")
        raise (ProviderRefused if remedy else ProviderUnavailable)(f"{said}{remedy}.")


@contextmanager
def _explained(address: Address) -> Iterator[None]:
    """Turns what network and signatures raise into ours, without a word of the key."""
    try:
        yield
    except (OSError, EOFError) as exc:
        strerror = exc.strerror if isinstance(exc, OSError) else None
        reason = strerror or "the connection ended, or nothing came in time"
        raise ProviderUnavailable(f"No answer from the name server {address}: {reason}.") from exc
    except dns.exception.DNSException as exc:
        raise _told(address, exc) from exc


def _told(address: Address, exc: dns.exception.DNSException) -> StepError:
    if type(exc) in _DISTRUSTED:
        return ProviderRefused(f"The name server {address} refused: {_DISTRUSTED[type(exc)]}.")
    if isinstance(exc, dns.tsig.PeerBadTime | dns.tsig.BadTime):
        return ProviderUnavailable(
            f"The clocks of this machine and of the name server {address} differ too much; "
            "set both by NTP."
        )
    return ProviderUnavailable(
        f"The answer of the name server {address} cannot be trusted ({type(exc).__name__})."
    )
