"""What the DNS says of a name: the same in memory, of BIND, and of whoever does not answer."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import dns.update
import pytest

from controlplane.domain.dns_look import Way
from controlplane.errors import ProviderUnavailable
from controlplane.ports import NameLookup
from controlplane_dns.lookup import ResolverLookup
from controlplane_dns.memory_lookup import MemoryLookup
from tests.name_servers import BIND_KEY, BIND_ZONE, ZONES, NameServer, running_bind

pytestmark = pytest.mark.anyio

# A secondary that never had its zone answers SERVFAIL; what lies below the cut is others'.
_UNLOADED = """\
zone "broken.test" {{ type secondary; primaries {{ 127.0.0.1 port 1; }}; file "{folder}/broken"; }};
"""
ZONE = "example.com"


@dataclass
class Peer:
    """A lookup, and hands in what it looks at."""

    lookup: NameLookup
    # Name below ZONE or whole, type, values.
    place: Callable[..., None]
    broken: str = "www.broken.test"
    made: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def bind() -> Iterator[NameServer]:
    zones = "".join(BIND_ZONE.replace("{zone}", zone) for zone in ZONES)
    with running_bind(BIND_KEY + zones + _UNLOADED) as server:
        yield server


def resolver(*ports: int, timeout_s: float = 20.0) -> ResolverLookup:
    nameservers = [("127.0.0.1", port) for port in ports]
    return ResolverLookup(timeout_s=timeout_s, nameservers=nameservers)


@pytest.fixture(params=["memory", "bind"])
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[Peer]:
    if request.param == "memory":
        yield in_memory()
        return
    server: NameServer = request.getfixturevalue("bind")
    yield of_bind(server)
    server.wipe(ZONE)


def in_memory() -> Peer:
    lookup = MemoryLookup()
    lookup.silent.add("www.broken.test")

    def place(name: str, kind: str, *values: str) -> None:
        lookup.records[f"{name}.{ZONE}", kind] = [
            value.replace('" "', "").strip('"') for value in values
        ]

    return Peer(lookup, place)


def of_bind(server: NameServer) -> Peer:
    def place(name: str, kind: str, *values: str) -> None:
        update = dns.update.UpdateMessage(ZONE)
        for value in values:
            update.add(name, 300, kind, value)
        server.send(update)

    return Peer(resolver(server.port), place)


@pytest.mark.requires("named")
async def test_a_name_that_is_not_there_has_no_texts_and_leads_nowhere(peer: Peer) -> None:
    peer.place("other", "TXT", '"there"')
    for name in (f"gone.{ZONE}", f"a.b.c.{ZONE}", f"_controlplane-challenge.gone.{ZONE}"):
        assert await peer.lookup.texts(name) == frozenset()
        assert await peer.lookup.way(name) == Way()
    # There, with nothing of the kind.
    assert await peer.lookup.way(f"other.{ZONE}") == Way()


@pytest.mark.requires("named")
async def test_each_text_is_one_string_however_it_was_cut(peer: Peer) -> None:
    long = "x" * 255
    peer.place("_controlplane-challenge.www", "TXT", '"one"', '"two " "halves"', f'"{long}" "y"')
    found = await peer.lookup.texts(f"_controlplane-challenge.www.{ZONE}")
    assert found == {"one", "two halves", f"{long}y"}


@pytest.mark.requires("named")
async def test_many_texts_come_whole(peer: Peer) -> None:
    texts = [f"{number:03}{'x' * 200}" for number in range(100)]
    peer.place("www", "TXT", *(f'"{text}"' for text in texts))
    assert await peer.lookup.texts(f"www.{ZONE}") == {*texts}


@pytest.mark.requires("named")
async def test_a_chain_is_told_in_order_with_the_addresses_at_its_end(peer: Peer) -> None:
    peer.place("one", "CNAME", f"Two.{ZONE}.")
    peer.place("two", "CNAME", f"three.{ZONE}.")
    peer.place("three", "A", "192.0.2.1", "192.0.2.2")
    peer.place("three", "AAAA", "2001:db8::1")
    peer.place("three", "TXT", '"there"')
    addresses = frozenset({"192.0.2.1", "192.0.2.2", "2001:db8::1"})
    assert await peer.lookup.way(f"ONE.{ZONE}") == Way((f"two.{ZONE}", f"three.{ZONE}"), addresses)
    assert await peer.lookup.way(f"three.{ZONE}") == Way((), addresses)
    assert await peer.lookup.texts(f"one.{ZONE}") == {"there"}


@pytest.mark.requires("named")
async def test_an_alias_of_nothing_still_names_it(peer: Peer) -> None:
    peer.place("dangling", "CNAME", f"gone.{ZONE}.")
    assert await peer.lookup.way(f"dangling.{ZONE}") == Way((f"gone.{ZONE}",))
    assert await peer.lookup.texts(f"dangling.{ZONE}") == frozenset()


@pytest.mark.requires("named")
async def test_a_circle_has_an_end_and_leads_to_no_address(peer: Peer) -> None:
    peer.place("here", "CNAME", f"there.{ZONE}.")
    peer.place("there", "CNAME", f"here.{ZONE}.")
    # Some servers show the circle, others say that they cannot answer.
    with suppress(ProviderUnavailable):
        found = await peer.lookup.way(f"here.{ZONE}")
        assert found.names[:2] == (f"there.{ZONE}", f"here.{ZONE}")
        assert found.addresses == frozenset()
    with suppress(ProviderUnavailable):
        assert await peer.lookup.texts(f"here.{ZONE}") == frozenset()


@pytest.mark.requires("named")
async def test_a_wildcard_answers_for_names_that_are_not_there(peer: Peer) -> None:
    peer.place("*.wild", "TXT", '"any"')
    peer.place("*.wild", "A", "192.0.2.1")
    peer.place("own.wild", "A", "192.0.2.2")
    assert await peer.lookup.texts(f"some.wild.{ZONE}") == {"any"}
    assert (await peer.lookup.way(f"some.wild.{ZONE}")).addresses == {"192.0.2.1"}
    assert await peer.lookup.texts(f"own.wild.{ZONE}") == frozenset()
    assert (await peer.lookup.way(f"own.wild.{ZONE}")).addresses == {"192.0.2.2"}


@pytest.mark.requires("named")
async def test_a_server_with_an_error_of_its_own_says_nothing(peer: Peer) -> None:
    with pytest.raises(ProviderUnavailable, match=peer.broken):
        await peer.lookup.texts(peer.broken)
    with pytest.raises(ProviderUnavailable, match=peer.broken):
        await peer.lookup.way(peer.broken)


@contextmanager
def silent() -> Iterator[int]:
    """The port of a server that hears and does not answer."""
    with socket.socket(type=socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        yield deaf.getsockname()[1]


async def test_a_server_that_does_not_answer_says_nothing() -> None:
    with silent() as port:
        lookup = resolver(port, timeout_s=0.2)
        with pytest.raises(ProviderUnavailable, match="in time"):
            await lookup.texts(f"www.{ZONE}")
        with pytest.raises(ProviderUnavailable, match="in time"):
            await lookup.way(f"www.{ZONE}")


@pytest.mark.requires("named")
async def test_another_server_is_asked_where_one_does_not_answer(bind: NameServer) -> None:
    peer = of_bind(bind)
    peer.place("fallback", "TXT", '"there"')
    with silent() as port:
        assert await resolver(port, bind.port, timeout_s=8.0).texts(f"fallback.{ZONE}") == {"there"}


@pytest.mark.requires("named")
async def test_who_answers_for_other_zones_alone_says_nothing(bind: NameServer) -> None:
    peer = of_bind(bind)
    peer.place("away", "CNAME", "elsewhere.example.")
    peer.place("cut", "NS", "ns.elsewhere.example.")
    with pytest.raises(ProviderUnavailable, match="REFUSED"):
        await peer.lookup.texts("elsewhere.example")
    with pytest.raises(ProviderUnavailable, match="referral"):
        await peer.lookup.texts(f"www.cut.{ZONE}")
    with pytest.raises(ProviderUnavailable, match=r"elsewhere\.example"):
        await peer.lookup.texts(f"away.{ZONE}")
    # Enough to see whose it is.
    assert (await peer.lookup.way(f"away.{ZONE}")).names == ("elsewhere.example",)
