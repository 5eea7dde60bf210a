"""A zone file in front of the name server it is made for."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import dns.message
import dns.query
import dns.rcode
import pytest

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane_dns.zonefile import ZoneFile
from tests.name_servers import free_port, program

pytestmark = [pytest.mark.anyio, pytest.mark.requires("named", "named-checkzone")]

ACME = Mark(UUID(int=0xA), UUID(int=1), UUID(int=101))
GLOBEX = Mark(UUID(int=0xA), UUID(int=2), UUID(int=201))
ADDRESS = Record(Subdomain("acme"), RecordType.A, "192.0.2.10")
ADDRESS_6 = Record(Subdomain("acme"), RecordType.AAAA, "2001:db8::10")
ALIAS = Record(Subdomain("globex"), RecordType.CNAME, "ingress.example.net.")

CONFIGURATION = """
options {{
  directory "{folder}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile none;
  recursion no;
  notify no;
  dnssec-validation no;
  minimal-responses yes;
}};
controls {{ }};
zone "{zone}" {{ type primary; file "{path}"; }};
"""


class Server:
    """A running named; asks it over loopback."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self._port = port

    def wait_until_it_says(self, words: str) -> None:
        assert self._process.stderr
        said = []
        for line in self._process.stderr:
            said.append(line.decode())
            if words in said[-1]:
                return
        pytest.fail("named has ended:\n" + "".join(said))

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)
        self.wait_until_it_says("/IN: loaded serial")

    def answer(self, name: str, kind: str) -> list[str]:
        """The values, or the name of the error."""
        query = dns.message.make_query(name, kind)
        reply = dns.query.udp(query, "127.0.0.1", port=self._port, timeout=60)
        if reply.rcode() != dns.rcode.NOERROR:
            return [dns.rcode.to_text(reply.rcode())]
        return [item.to_text() for answer in reply.answer for item in answer]


@contextmanager
def served(path: Path, *, zone: str) -> Iterator[Server]:
    port = free_port()
    configuration = path.with_name("named.conf")
    configuration.write_text(
        CONFIGURATION.format(folder=path.parent, port=port, zone=zone, path=path)
    )
    command = [program("named"), "-g", "-n", "1", "-c", str(configuration)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:  # noqa: S603  a literal command
        try:
            server = Server(process, port)
            server.wait_until_it_says(f"zone {zone}/IN: loaded serial")
            yield server
        finally:
            process.terminate()
            process.communicate()


def checked(path: Path, *, zone: str) -> str:
    """What the checker complains about."""
    command = [program("named-checkzone"), "-i", "full", zone, str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  a literal command
    lines = ran.stdout.splitlines()
    assert ran.returncode == 0, ran.stdout
    return "\n".join(line for line in lines if "loaded serial" not in line and line != "OK")


@pytest.mark.parametrize("zone", ["localhost", "example.com"])
@pytest.mark.parametrize("nameserver", [None, "ns.elsewhere.example."])
async def test_the_checker_finds_nothing_to_say(
    tmp_path: Path, zone: str, nameserver: str | None
) -> None:
    path = tmp_path / "zone"
    provider = ZoneFile(path, zone=zone, nameserver=nameserver)
    await provider.ensure(ADDRESS, ACME)
    await provider.ensure(ALIAS, GLOBEX)
    assert checked(path, zone=zone) == ""


async def test_a_server_answers_what_was_ensured_and_after_each_reload_what_was_changed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "zone"
    provider = ZoneFile(path, zone="example.com")
    await provider.ensure(ADDRESS, ACME)
    with served(path, zone="example.com") as server:
        assert server.answer("acme.example.com", "A") == ["192.0.2.10"]
        assert server.answer("globex.example.com", "CNAME") == ["NXDOMAIN"]

        await provider.ensure(ALIAS, GLOBEX)
        await provider.ensure(ADDRESS_6, ACME)
        server.reload()
        assert server.answer("globex.example.com", "CNAME") == ["ingress.example.net."]
        assert server.answer("acme.example.com", "A") == []
        assert server.answer("acme.example.com", "AAAA") == ["2001:db8::10"]

        await provider.absent(ALIAS, GLOBEX)
        server.reload()
        assert server.answer("globex.example.com", "CNAME") == ["NXDOMAIN"]
        assert server.answer("acme.example.com", "AAAA") == ["2001:db8::10"]


async def test_a_zone_written_by_hand_is_served_with_its_tenants(tmp_path: Path) -> None:
    path = tmp_path / "zone"
    path.write_text(
        "$TTL 1h\n"
        "@ SOA ns1 hostmaster ( 2026010101 ; serial\n 1h 10m 1w 5m )\n"
        "   NS ns1\n"
        "ns1 A 127.0.0.1\n"
        '   TXT "made; by (hand"\n'
        "$ORIGIN legacy.example.com.\n"
        "acme A 192.0.2.99\n"
    )
    await ZoneFile(path, zone="example.com").ensure(ADDRESS, ACME)
    assert checked(path, zone="example.com") == ""
    with served(path, zone="example.com") as server:
        assert server.answer("acme.example.com", "A") == ["192.0.2.10"]
        assert server.answer("acme.legacy.example.com", "A") == ["192.0.2.99"]
        assert server.answer("ns1.example.com", "TXT") == ['"made; by (hand"']
        assert server.answer("example.com", "SOA")[0].split()[2] == "2026010102"
