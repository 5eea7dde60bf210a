"""The providers that the DNS contract is checked against. A new one: a class and a line in PEERS."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from controlplane.domain.dns import RecordType
from controlplane.errors import ProviderUnavailable
from controlplane.ports import DnsProvider
from controlplane_dns.memory import Fault, MemoryDns
from controlplane_dns.zonefile import ZoneFile

ZONE = "example.com"


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

    def cut_off(self) -> None:
        """Makes the zone unavailable until `restore`."""
        ...

    def restore(self) -> None: ...


class MemoryPeer:
    def __init__(self, folder: Path) -> None:
        del folder
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

    def cut_off(self) -> None:
        methods = ("ensure", "absent", "find", "propagation", "owned")
        self._zone.faults = [Fault(method, ProviderUnavailable("gone")) for method in methods]

    def restore(self) -> None:
        self._zone.faults.clear()


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

    def cut_off(self) -> None:
        self._folder.rename(self._folder.with_name("away"))

    def restore(self) -> None:
        self._folder.with_name("away").rename(self._folder)


EMPTY_ZONE = f"""\
$ORIGIN {ZONE}.
$TTL 300
@ IN SOA ns1 hostmaster 7 3600 600 604800 60
@ IN NS ns1
ns1 IN A 127.0.0.1
"""

PEERS: dict[str, Callable[[Path], Peer]] = {
    "memory": MemoryPeer,
    "zonefile": ZoneFilePeer,
}
