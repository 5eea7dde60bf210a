"""The configurations that docs/how-to/dns-rfc2136.md gives are enough, and no more than that."""

import re
from collections.abc import Iterator
from pathlib import Path

import dns.tsig
import dns.update
import pytest

from controlplane.domain.dns import OwnedRecord
from tests.contract.dns_peers import ZONE, provider
from tests.contract.test_dns_contract import ACME, GLOBEX, owned, record
from tests.name_servers import NameServer, running_bind, running_knot

pytestmark = pytest.mark.anyio

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "dns-rfc2136.md"
_SECRET = re.compile(r"secret:? \"?([A-Za-z0-9+/=]+)")


def told(language: str) -> tuple[str, str]:
    """The block, with the tests' folder for the server's, and the secret in it."""
    text = HOW_TO.read_text(encoding="utf-8")
    block = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert block
    secret = _SECRET.search(block[1])
    assert secret
    escaped = block[1].replace("{", "{{").replace("}", "}}")
    return re.sub(r"/var/lib/\w+/", "{folder}/", escaped), secret[1]


@pytest.fixture(
    params=[
        pytest.param("bind", marks=pytest.mark.requires("named")),
        pytest.param("knot", marks=pytest.mark.requires("knotd")),
    ]
)
def server(request: pytest.FixtureRequest) -> Iterator[NameServer]:
    stanzas, secret = told(request.param)
    if request.param == "bind":
        with running_bind(stanzas, zones=[ZONE], secret=secret) as running:
            yield running
    else:
        with running_knot(stanzas, zones=[ZONE], secret=secret, algorithm="hmac-sha256") as running:
            yield running


async def test_it_lets_tenants_come_and_go_and_nothing_else(server: NameServer) -> None:
    zone = provider(server, server.port)
    await zone.ensure(record(), ACME)
    await zone.ensure(record("globex"), GLOBEX)
    await zone.ensure(record(value="192.0.2.99"), ACME)
    await zone.absent(record(), ACME)
    assert await owned(zone) == [OwnedRecord(record("globex"), GLOBEX)]
    update = dns.update.UpdateMessage(ZONE)
    update.add("acme", 300, "MX", "10 mail.elsewhere.test.")
    # BIND refuses; Knot says that it does not know the key for this.
    with pytest.raises((AssertionError, dns.tsig.PeerBadKey)):
        server.send(update)
    assert server.answer(f"acme.{ZONE}", "MX") == ["NXDOMAIN"]
