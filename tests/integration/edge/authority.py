"""A certificate authority that speaks ACME (Pebble), the name server that it asks, and a proxy that
gets its certificates there."""

import asyncio
import contextlib
import ipaddress
import json
import secrets
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.integration.edge.place import EXAMPLES, Place, running

# Below those for whoever does not say which he wants (Linux, BSD and IANA).
_PORTS = range(20_000, 32_000)
# What the documented file leaves to an operator's machine.
_OURS = """{{
\tadmin off
\tskip_install_trust
\tstorage file_system {storage}
\thttp_port {http}
\thttps_port {https}
\tacme_ca {directory}
\tacme_ca_root {certificate}
"""


@dataclass(frozen=True)
class Authority:
    """Proves a name by a connection to these ports of 127.0.0.1, where every name leads. `trust` is
    of who believes its certificates."""

    directory: str
    certificate: Path
    http_port: int
    https_port: int
    trust: ssl.SSLContext


@contextlib.asynccontextmanager
async def authority(folder: Path) -> AsyncIterator[Authority]:
    """Signs for whoever proves a name; its keys are new each time."""
    names, managed, asked, told, http_port, https_port = _free_ports(6)
    certificate = _own_certificate(folder)
    config = {
        "listenAddress": f"127.0.0.1:{asked}",
        "managementListenAddress": f"127.0.0.1:{told}",
        "certificate": str(certificate),
        "privateKey": str(folder / "key.pem"),
        "httpPort": http_port,
        "tlsPort": https_port,
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": config}), encoding="utf-8")
    dns = f"127.0.0.1:{names}"
    resolving = [
        *(_program("pebble-challtestsrv"), "-dns01", dns, "-management", f"127.0.0.1:{managed}"),
        *("-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""),
    ]
    signing = [
        *("env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", _program("pebble")),
        *("-config", str(folder / "pebble.json"), "-dnsserver", dns),
    ]
    async with running(resolving, managed), running(signing, asked):
        trust = await _trust(certificate, f"https://127.0.0.1:{told}/roots/0")
        directory = f"https://127.0.0.1:{asked}/dir"
        yield Authority(directory, certificate, http_port, https_port, trust)


@contextlib.asynccontextmanager
async def proxied(place: Place, by: Authority, folder: Path) -> AsyncIterator[None]:
    """Caddy as examples/own-domains.Caddyfile has it, with what it has kept in this folder."""
    text = (EXAMPLES / "own-domains.Caddyfile").read_text(encoding="utf-8")
    ours = _OURS.format(
        storage=folder / "storage",
        http=by.http_port,
        https=by.https_port,
        directory=by.directory,
        certificate=by.certificate,
    )
    assert text.count("\n{\n") == 1
    config = folder / "Caddyfile"
    config.write_text(text.replace("\n{\n", f"\n{ours}"), encoding="utf-8")
    variables = {
        "CONTROLPLANE": f"127.0.0.1:{place.controlplane}",
        "APP_SERVER": f"127.0.0.1:{place.app_server}",
        "HOME": folder,
    }
    command = ["env", *(f"{name}={value}" for name, value in variables.items()), _program("caddy")]
    command += ["run", "--adapter", "caddyfile", "--config", str(config)]
    async with running(command, by.https_port):
        yield


async def served(by: Authority, host: str, path: str = "/documents") -> httpx.Response:
    """As `visit`, as often as it takes until there is a certificate: on a busy machine one that is
    ordered may not be there in time."""
    async with asyncio.timeout(120):
        while True:
            try:
                return await visit(by, host, path)
            except httpx.ConnectError:
                await asyncio.sleep(0.2)


async def visit(by: Authority, host: str, path: str = "/documents") -> httpx.Response:
    """As a browser: over TLS, with the certificate looked at. Raises httpx.ConnectError where there
    is none."""
    async with httpx.AsyncClient(verify=by.trust, trust_env=False, timeout=60) as client:
        url = f"https://127.0.0.1:{by.https_port}{path}"
        return await client.get(url, headers={"host": host}, extensions={"sni_hostname": host})


async def _trust(certificate: Path, root: str) -> ssl.SSLContext:
    its_own = ssl.create_default_context(cafile=str(certificate))
    async with httpx.AsyncClient(verify=its_own, trust_env=False, timeout=60) as client:
        answer = (await _once_it_listens(client, root)).raise_for_status()
    return ssl.create_default_context(cadata=answer.text)


async def _once_it_listens(client: httpx.AsyncClient, url: str) -> httpx.Response:
    """What else it does, it may do before."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await client.get(url)
            except httpx.ConnectError:
                await asyncio.sleep(0.05)


def _own_certificate(folder: Path) -> Path:
    """With which the authority is reached; its key lies beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pebble")])
    # The clock of whoever looks may be a little behind.
    since = datetime.now(UTC) - timedelta(days=1)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    built = built.not_valid_before(since).not_valid_after(since + timedelta(days=8))
    built = built.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    signed = built.sign(key, hashes.SHA256())
    path = folder / "certificate.pem"
    path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", secrets.choice(_PORTS)))
                found.append(probe.getsockname()[1])
        return found


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None
    return found
