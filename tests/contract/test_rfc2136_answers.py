"""What a name server's refusals, and what comes in place of an answer, are made of for the engine."""

import asyncio
import contextlib
import re
import traceback
from collections.abc import AsyncIterator, Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import dns.tsig
import pytest
from dns.message import Message

from controlplane.errors import ProviderRefused, ProviderUnavailable, SettingsInvalid, StepError
from controlplane_dns.rfc2136 import Rfc2136
from controlplane_dns.talk import Address, Key, Server, parse_address
from tests.contract.dns_peers import ZONE, provider
from tests.contract.test_dns_contract import ACME, owned, record
from tests.name_servers import KEY_NAME, SECRET, NameServer
from tests.proxy import Cut, Proxy, Way

pytestmark = pytest.mark.anyio

KEY = dns.tsig.Key(KEY_NAME, SECRET)
Reply = Callable[[Message], bytes]


@contextlib.asynccontextmanager
async def answering(*replies: Reply) -> AsyncIterator[Rfc2136]:
    """A provider whose server makes these replies, one after the other, and then hangs up."""
    left = list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            wire = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            question = dns.message.from_wire(wire, keyring=KEY)
            while left:
                answer = left.pop(0)(question)
                writer.write(len(answer).to_bytes(2, "big") + answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = Address(*server.sockets[0].getsockname())
        key = Key(KEY_NAME, SECRET)
        yield Rfc2136(Server(address, key=key, timeout_s=30), zone=ZONE, domain=ZONE)


def coded(rcode: dns.rcode.Rcode, *, error: dns.rcode.Rcode = dns.rcode.NOERROR) -> Reply:
    def reply(question: Message) -> bytes:
        answer = dns.message.make_response(question, tsig_error=error)
        answer.set_rcode(rcode)
        return answer.to_wire()

    return reply


def unsigned(question: Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.tsig = None
    answer.want_tsig_sign = False
    answer.set_rcode(dns.rcode.REFUSED)
    return answer.to_wire()


def of_another_question(question: Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.id = question.id ^ 1
    return answer.to_wire()


def signed_by_another(question: Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.use_tsig(dns.tsig.Key(KEY_NAME, b"somebody else's"))
    answer.request_mac = question.mac or b""
    return answer.to_wire()


def one_end_of_the_zone(question: Message) -> bytes:
    answer = dns.message.make_response(question)
    answer.flags |= dns.flags.AA
    soa = f"ns1.{ZONE}. hostmaster.{ZONE}. 7 3600 600 604800 60"
    answer.answer.append(dns.rrset.from_text(f"{ZONE}.", 300, "IN", "SOA", soa))
    return answer.to_wire()


def whole_but_unsigned(question: Message) -> bytes:
    answer = dns.message.from_wire(one_end_of_the_zone(question), keyring=False)
    answer.tsig = None
    answer.answer.append(answer.answer[0])
    wire: bytes = answer.to_wire()
    return wire


def other_end_unsigned(question: Message) -> bytes:
    answer = dns.message.from_wire(one_end_of_the_zone(question), keyring=False)
    answer.tsig = None
    wire: bytes = answer.to_wire()
    return wire


def rubbish(_question: Message) -> bytes:
    return b"HTTP/1.1 400 Bad Request"


CODE = dns.rcode
REFUSALS = [
    (coded(CODE.REFUSED), ProviderRefused, "REFUSED: allow this key"),
    (coded(CODE.NOTAUTH), ProviderRefused, "NOTAUTH: name the zone's primary"),
    (coded(CODE.NOTZONE), ProviderRefused, "NOTZONE: check which zone"),
    (coded(CODE.NOTIMP), ProviderRefused, "NOTIMP: it takes no dynamic updates"),
    (coded(CODE.FORMERR), ProviderRefused, "FORMERR: it does not understand"),
    (coded(CODE.SERVFAIL), ProviderUnavailable, "answered SERVFAIL"),
    (coded(CODE.NOTAUTH, error=CODE.BADKEY), ProviderRefused, "does not know the key"),
    (coded(CODE.NOTAUTH, error=CODE.BADSIG), ProviderRefused, "secret is another one"),
    (coded(CODE.NOTAUTH, error=CODE.BADTRUNC), ProviderRefused, "longer signatures"),
    (coded(CODE.NOTAUTH, error=CODE.BADTIME), ProviderUnavailable, "set both by NTP"),
    (unsigned, ProviderUnavailable, "REFUSED without a signature: allow this key"),
    (of_another_question, ProviderUnavailable, "a question that was not asked"),
    (signed_by_another, ProviderUnavailable, "cannot be trusted"),
    (rubbish, ProviderUnavailable, "cannot be trusted"),
]


@pytest.mark.parametrize(("reply", "kind", "told"), REFUSALS)
async def test_every_refusal_says_whether_to_try_again_and_what_to_do(
    reply: Reply, kind: type[StepError], told: str
) -> None:
    async with answering(reply) as zone:
        with pytest.raises(kind, match=re.escape(told)) as caught:
            await zone.ensure(record(), ACME)
    assert_no_secret(caught.value)


@pytest.mark.parametrize(
    ("replies", "kind", "told"),
    [
        ([coded(CODE.REFUSED)], ProviderRefused, "to transfer the zone"),
        ([coded(CODE.SERVFAIL)], ProviderUnavailable, "SERVFAIL"),
        ([unsigned], ProviderUnavailable, "REFUSED without a signature"),
        ([whole_but_unsigned], ProviderUnavailable, "without a signature"),
        ([one_end_of_the_zone, other_end_unsigned], ProviderUnavailable, "without a signature"),
        ([one_end_of_the_zone], ProviderUnavailable, "No answer"),
        ([], ProviderUnavailable, "No answer"),
    ],
)
async def test_a_zone_that_does_not_come_whole_and_signed_is_no_listing(
    replies: list[Reply], kind: type[StepError], told: str
) -> None:
    async with answering(*replies) as zone:
        with pytest.raises(kind, match=re.escape(told)) as caught:
            await owned(zone)
    assert_no_secret(caught.value)


async def test_an_answer_by_hearsay_is_not_believed() -> None:
    """It does not come from a server that holds the zone; so nothing is known to be absent."""
    async with answering(coded(CODE.NXDOMAIN)) as zone:
        with pytest.raises(ProviderRefused, match="does not hold the zone"):
            await zone.absent(record(), ACME)


@pytest.mark.requires("named")
@pytest.mark.parametrize(
    ("key", "told"),
    [
        (Key("nobody", SECRET), "does not know the key"),
        (Key(KEY_NAME, "c29tZWJvZHkgZWxzZSdz"), "secret is another one"),
        (Key(KEY_NAME, SECRET, "hmac-sha512"), "does not know the key"),
    ],
)
async def test_a_real_server_refuses_a_key_that_is_not_right(
    bind: NameServer, key: Key, told: str
) -> None:
    address = Address("127.0.0.1", bind.port)
    zone = Rfc2136(Server(address, key=key, timeout_s=30), zone=ZONE, domain=ZONE)
    for attempt in (zone.ensure(record(), ACME), zone.absent(record(), ACME), owned(zone)):
        with pytest.raises(ProviderRefused, match=told) as caught:
            await attempt
        assert_no_secret(caught.value)


@pytest.mark.requires("named")
async def test_a_server_that_falls_silent_is_given_up(bind: NameServer) -> None:
    bind.wipe(ZONE)
    async with Proxy("127.0.0.1", bind.port) as proxy:
        zone = provider(bind, proxy.port, timeout_s=0.2)
        proxy.silent = True
        for attempt in (zone.ensure(record(), ACME), zone.absent(record(), ACME), owned(zone)):
            with pytest.raises(ProviderUnavailable, match="nothing came in time"):
                await attempt


@pytest.mark.requires("named")
@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("after", [0, 1, 2, 40, 150])
@pytest.mark.parametrize("way", Way)
async def test_a_conversation_that_breaks_anywhere_may_be_begun_again(
    bind: NameServer, *, way: Way, after: int, resets: bool
) -> None:
    bind.wipe(ZONE)
    async with Proxy("127.0.0.1", bind.port) as proxy:
        zone = provider(bind, proxy.port)
        proxy.resets = resets
        for attempt in (zone.ensure, zone.absent, zone.ensure):
            proxy.cut = Cut(after=after, way=way)
            with contextlib.suppress(ProviderUnavailable):
                await attempt(record(), ACME)
            proxy.cut = None
            await attempt(record(), ACME)
        proxy.cut = Cut(after=after, way=way)
        with contextlib.suppress(ProviderUnavailable):
            assert [one.record for one in await owned(zone)] == [record()]
        proxy.cut = None
        assert [one.record for one in await owned(zone)] == [record()]


def assert_no_secret(error: BaseException) -> None:
    """Not even where the variables of every frame are shown with the error."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert SECRET not in "".join(shown.format())


def test_a_key_and_a_server_do_not_show_the_secret() -> None:
    key = Key(KEY_NAME, SECRET)
    assert SECRET not in f"{key!r} {key} {Server(Address('ns', 53), key=key, timeout_s=1)!r}"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ((KEY_NAME, "not base64!"), "not base64"),
        ((KEY_NAME, SECRET, "hmac-md5"), "none of"),
        (("a..b", SECRET), "not the name of a DNS key"),
    ],
)
def test_a_key_that_cannot_be_is_refused(key: tuple[str, ...], told: str) -> None:
    with pytest.raises(SettingsInvalid, match=told) as caught:
        Key(*key)
    assert key[1] not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ns1.example.com", ("ns1.example.com", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["", ":53", "ns1:dns", "ns1:65536", "2001:db8::53", "dns://ns1", "me@ns1", "ns1/zone"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid):
        parse_address(text)
