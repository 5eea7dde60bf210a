"""Real name servers on loopback that take dynamic updates: BIND and Knot DNS.

Also the hands of somebody else in the same zone, and the eyes of whoever asks.
"""

import base64
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import dns.xfr
import dns.zone

from controlplane import embedded

ZONES = ("example.com", "apps.test")
KEY_NAME = "controlplane."
SECRET = base64.b64encode(b"of the tests, and of nobody else").decode()

_ZONE = """\
$ORIGIN {zone}.
$TTL 300
@ IN SOA ns1 hostmaster 7 3600 600 604800 60
@ IN NS ns1
ns1 IN A 127.0.0.1
"""
_STANDING = {"@", "ns1"}
_PATIENCE_S = 60
_PORTS = range(20_000, 32_000)

BIND = """\
options {{
  directory "{folder}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile none;
  recursion no;
  notify no;
  dnssec-validation no;
}};
controls {{ }};
logging {{ category update {{ null; }}; category update-security {{ null; }}; category xfer-out {{ null; }}; }};
"""
BIND_KEY = """\
key "{key}" {{ algorithm {algorithm}; secret "{secret}"; }};
"""
BIND_ZONE = """\
zone "{zone}" {{
  type primary;
  file "{folder}/{zone}";
  update-policy {{ grant "{key}" zonesub ANY; }};
  allow-transfer {{ key "{key}"; }};
}};
"""
KNOT = """\
server:
    rundir: "{folder}"
    listen: 127.0.0.1@{port}
log:
  - target: stderr
    any: info
database:
    storage: "{folder}"
"""
KNOT_KEY = """\
key:
  - id: {key}
    algorithm: {algorithm}
    secret: {secret}
acl:
  - id: controlplane
    key: {key}
    action: [update, transfer]
zone:
"""
KNOT_ZONE = """\
  - domain: {zone}
    file: "{folder}/{zone}"
    zonefile-sync: -1
    acl: controlplane
"""


@dataclass
class NameServer:
    """A running server; `said` are its last lines."""

    process: subprocess.Popen[str]
    port: int
    algorithm: str
    secret: str = field(repr=False)
    said: deque[str] = field(default_factory=lambda: deque(maxlen=50))

    @property
    def key(self) -> dns.tsig.Key:
        return dns.tsig.Key(KEY_NAME, self.secret, self.algorithm)

    def records(self, zone: str) -> list[str]:
        """Every record of the zone as a line, in a fixed order."""
        copy = dns.zone.Zone(zone)
        query, _ = dns.xfr.make_query(copy, keyring=self.key)
        dns.query.inbound_xfr("127.0.0.1", copy, query=query, port=self.port, timeout=_PATIENCE_S)
        return sorted(
            f"{name} {ttl} {rdata.rdtype.name} {rdata}"
            for name, ttl, rdata in copy.iterate_rdatas()
        )

    def place(self, zone: str, name: str, kind: str, value: str) -> None:
        """Puts a record there, whatever stands there already."""
        update = dns.update.UpdateMessage(zone)
        update.add(name, 300, kind, value)
        self.send(update)

    def remove(self, zone: str, name: str, kind: str = "ANY") -> None:
        """Takes away all records of the name, or those of one type."""
        update = dns.update.UpdateMessage(zone)
        update.delete(name) if kind == "ANY" else update.delete(name, kind)
        self.send(update)

    def wipe(self, zone: str) -> None:
        """Leaves the zone as it was at the start, but for its serial."""
        update = dns.update.UpdateMessage(zone)
        for name in {line.split()[0] for line in self.records(zone)} - _STANDING:
            update.delete(name)
        self.send(update)

    def answer(self, name: str, kind: str) -> list[str]:
        """What anybody is answered: the values, or the name of the error."""
        query = dns.message.make_query(name, kind)
        reply = dns.query.tcp(query, "127.0.0.1", port=self.port, timeout=_PATIENCE_S)
        if reply.rcode() != dns.rcode.NOERROR:
            return [dns.rcode.to_text(reply.rcode())]
        return sorted(item.to_text() for answer in reply.answer for item in answer)

    def send(self, update: dns.update.UpdateMessage) -> None:
        """Signs it with the key."""
        update.use_tsig(self.key)
        reply = dns.query.tcp(update, "127.0.0.1", port=self.port, timeout=_PATIENCE_S)
        assert reply.rcode() == dns.rcode.NOERROR, reply


def program(name: str) -> str:
    """Debian keeps servers where an ordinary user's PATH does not look."""
    return shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin") or name


def free_port() -> int:
    """Free for TCP and UDP, and of those that no client is given by chance."""
    while True:
        # Not by `random`, which is seeded alike in all processes of a run.
        port = secrets.choice(_PORTS)
        with (
            suppress(OSError),
            socket.socket(type=socket.SOCK_STREAM) as stream,
            socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        ):
            stream.bind(("127.0.0.1", port))
            datagrams.bind(("127.0.0.1", port))
            return port


@contextmanager
def running_bind(
    stanzas: str = "", *, zones: Iterable[str] = ZONES, secret: str = SECRET
) -> Iterator[NameServer]:
    """With key and zones of its own, or with those of the stanzas ({folder} is where it may write)."""
    stanzas = stanzas or BIND_KEY + "".join(_of_zone(BIND_ZONE, zone) for zone in zones)
    with _running(
        [program("named"), "-g", "-n", "1", "-c"],
        BIND + stanzas,
        zones,
        ready="all zones loaded",
        algorithm="hmac-sha256",
        secret=secret,
    ) as server:
        yield server


@contextmanager
def running_knot(
    stanzas: str = "",
    *,
    zones: Iterable[str] = ZONES,
    secret: str = SECRET,
    algorithm: str = "hmac-sha512",
) -> Iterator[NameServer]:
    stanzas = stanzas or KNOT_KEY + "".join(_of_zone(KNOT_ZONE, zone) for zone in zones)
    with _running(
        [program("knotd"), "-c"],
        KNOT + stanzas,
        zones,
        ready="server started in",
        algorithm=algorithm,
        secret=secret,
    ) as server:
        yield server


def _of_zone(template: str, zone: str) -> str:
    return template.replace("{zone}", zone)


@contextmanager
def _running(
    command: list[str],
    configuration: str,
    zones: Iterable[str],
    *,
    ready: str,
    algorithm: str,
    secret: str,
) -> Iterator[NameServer]:
    # In memory: each update is written to a journal and flushed.
    with tempfile.TemporaryDirectory(prefix="controlplane-dns-", dir=embedded.memory()) as folder:
        port = free_port()
        path = Path(folder, "server.conf")
        path.write_text(
            configuration.format(
                folder=folder,
                port=port,
                key=KEY_NAME.rstrip("."),
                secret=secret,
                algorithm=algorithm,
            )
        )
        for zone in zones:
            Path(folder, zone).write_text(_ZONE.format(zone=zone))
        with subprocess.Popen(  # noqa: S603  a literal command
            [*command, str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            server = NameServer(process, port, algorithm, secret)
            try:
                _wait(server, ready)
                # Nobody would read what it says from here on, and it would block.
                listener = Thread(target=server.said.extend, args=(process.stderr,))
                listener.start()
                _greet(server, zones)
                yield server
            finally:
                process.terminate()
                process.wait()
            listener.join()


def _wait(server: NameServer, ready: str) -> None:
    assert server.process.stderr
    for line in server.process.stderr:
        server.said.append(line)
        if ready in line:
            return
    raise AssertionError("The name server has ended:\n" + "".join(server.said))


def _greet(server: NameServer, zones: Iterable[str]) -> None:
    for zone in zones:
        assert server.answer(zone, "SOA")[0].split()[2] == "7", "".join(server.said)
