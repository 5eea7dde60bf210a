"""The providers that the DNS contract is checked against. A new one: a class and a line in PEERS,
in REMOTE_PEERS if there is a network between it and its zone, in THROTTLING_PEERS if it may be told
to come back later."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

import pytest

from controlplane.domain.dns import RecordType
from controlplane.errors import ProviderUnavailable
from controlplane.ports import DnsProvider
from controlplane_dns.memory import Fault, MemoryDns
from controlplane_dns.rfc2136 import Rfc2136
from controlplane_dns.talk import Address, Key, Server
from controlplane_dns.zonefile import ZoneFile
from tests.contract.cloudflare_peer import open_cloudflare
from tests.contract.route53_peer import route53_peer
from tests.name_servers import KEY_NAME, NameServer
from tests.proxy import Cut, Lose, Proxy

ZONE = "example.com"
_METHODS = ("ensure", "absent", "find", "propagation", "owned")


class Peer(Protocol):
    """A zone to test with, and the means to look at it and to disturb it from outside."""

    @property
    def dns(self) -> DnsProvider: ...

    def another(self) -> DnsProvider:
        """A second provider on the same zone, as another process has it."""
        ...

    def place_foreign(self, name: str, kind: RecordType, value: str) -> None:
        """Puts a record into the zone that carries no mark."""
        ...

    def world(self) -> object:
        """All that is in the zone, foreign or not, to compare before with after."""
        ...

    async def cut_off(self) -> None:
        """Makes the zone unavailable until `restore`."""
        ...

    async def restore(self) -> None: ...


class RemotePeer(Peer, Protocol):
    """One whose requests and answers may get lost. Each fault strikes once."""

    def lose_request(self) -> None:
        """The next request fails without effect, in a way that may pass."""
        ...

    def lose_answer(self) -> None:
        """The next change takes effect, and nobody is told."""
        ...


class ThrottlingPeer(RemotePeer, Protocol):
    """One whose zone may ask to come back later."""

    def throttle(self, *, retry_after_s: float) -> None:
        """The next request is told to come back after so many seconds, and has no effect."""
        ...


class MemoryPeer:
    def __init__(self) -> None:
        self._zone = MemoryDns()

    @property
    def dns(self) -> DnsProvider:
        return self._zone

    def another(self) -> DnsProvider:
        return self._zone

    def place_foreign(self, name: str, kind: RecordType, value: str) -> None:
        self._zone.place_foreign(name, f"{kind} {value}")

    def world(self) -> object:
        return dict(self._zone.records), dict(self._zone.foreign)

    async def cut_off(self) -> None:
        self._zone.faults = [Fault(method, ProviderUnavailable("gone")) for method in _METHODS]

    async def restore(self) -> None:
        self._zone.faults.clear()

    def lose_request(self) -> None:
        self._next(after_effect=False)

    def lose_answer(self) -> None:
        self._next(after_effect=True)

    def throttle(self, *, retry_after_s: float) -> None:
        self._next(after_effect=False, retry_after_s=retry_after_s)

    def _next(self, *, after_effect: bool, retry_after_s: float | None = None) -> None:
        gone = ProviderUnavailable("gone", retry_after=retry_after_s)
        self._zone.faults = [Fault("ensure absent", gone, after_effect=after_effect)]


class ZoneFilePeer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder / "zones"
        self._folder.mkdir()
        self.path = self._folder / ZONE
        self._dns = ZoneFile(self.path, zone=ZONE)

    @property
    def dns(self) -> DnsProvider:
        return self._dns

    def another(self) -> DnsProvider:
        return ZoneFile(self.path, zone=ZONE)

    def place_foreign(self, name: str, kind: RecordType, value: str) -> None:
        if not self.path.exists():
            self.path.write_text(EMPTY_ZONE)
        with self.path.open("a") as file:
            file.write(f"{name} IN {kind} {value}\n")

    def world(self) -> object:
        return self.path.read_bytes() if self.path.exists() else None

    async def cut_off(self) -> None:
        self._folder.rename(self._folder.with_name("away"))

    async def restore(self) -> None:
        self._folder.with_name("away").rename(self._folder)


class Rfc2136Peer:
    """A name server behind a proxy."""

    def __init__(self, server: NameServer, proxy: Proxy) -> None:
        self.server = server
        self.proxy = proxy
        self._dns = self.another()

    @property
    def dns(self) -> DnsProvider:
        return self._dns

    def another(self) -> Rfc2136:
        return provider(self.server, self.proxy.port)

    def place_foreign(self, name: str, kind: RecordType, value: str) -> None:
        self.server.place(ZONE, name, kind, value)

    def world(self) -> object:
        return self.server.records(ZONE)

    async def cut_off(self) -> None:
        await self.proxy.refuse()

    async def restore(self) -> None:
        await self.proxy.accept()

    def lose_request(self) -> None:
        self.proxy.cut = Cut(_MARKED)

    def lose_answer(self) -> None:
        self.proxy.cut = Cut(_MARKED, lose=Lose.ANSWER)


# Stands in every update that changes a tenant's record, and in no other request.
_MARKED = b"controlplane/"


def provider(
    server: NameServer,
    port: int,
    *,
    zone: str = ZONE,
    domain: str = ZONE,
    timeout_s: float = 30,
    secondaries: tuple[Server, ...] = (),
) -> Rfc2136:
    """The port is the server's own, or that of a proxy."""
    key = Key(KEY_NAME, server.secret, server.algorithm)
    primary = Server(Address("127.0.0.1", port), key=key, timeout_s=timeout_s)
    return Rfc2136(primary, zone=zone, domain=domain, secondaries=secondaries)


EMPTY_ZONE = f"""\
$ORIGIN {ZONE}.
$TTL 300
@ IN SOA ns1 hostmaster 7 3600 600 604800 60
@ IN NS ns1
ns1 IN A 127.0.0.1
"""

Opened = Callable[[pytest.FixtureRequest, Path], AbstractAsyncContextManager[Peer]]


@asynccontextmanager
async def _memory(_request: pytest.FixtureRequest, _folder: Path) -> AsyncIterator[MemoryPeer]:
    yield MemoryPeer()


@asynccontextmanager
async def _zonefile(_request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[ZoneFilePeer]:
    yield ZoneFilePeer(folder)


@asynccontextmanager
async def _behind_proxy(server: NameServer) -> AsyncIterator[Rfc2136Peer]:
    server.wipe(ZONE)
    async with Proxy("127.0.0.1", server.port) as proxy:
        yield Rfc2136Peer(server, proxy)


OPEN: dict[str, Opened] = {
    "memory": _memory,
    "zonefile": _zonefile,
    "bind": lambda request, _: _behind_proxy(request.getfixturevalue("bind")),
    "knot": lambda request, _: _behind_proxy(request.getfixturevalue("knot")),
    "cloudflare": lambda _request, _folder: open_cloudflare(),
    "route53": lambda request, _: route53_peer(request.getfixturevalue("moto"), ZONE),
}
_MEMORY = pytest.param("memory")
_CLOUDFLARE = pytest.param("cloudflare")
_BIND = pytest.param("bind", marks=pytest.mark.requires("named"))
_KNOT = pytest.param("knot", marks=pytest.mark.requires("knotd"))
_ROUTE53 = pytest.param("route53")
PEERS = [_MEMORY, pytest.param("zonefile"), _BIND, _KNOT, _CLOUDFLARE, _ROUTE53]
REMOTE_PEERS = [_MEMORY, _BIND, _KNOT, _CLOUDFLARE, _ROUTE53]
THROTTLING_PEERS = [_MEMORY, _CLOUDFLARE, _ROUTE53]
