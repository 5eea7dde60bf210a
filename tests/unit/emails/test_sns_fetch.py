"""What is fetched from SNS: over a checked connection, from there alone, and not much of it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from controlplane.errors import ProviderUnavailable
from controlplane_emails.sns_fetch import client, fetcher

pytestmark = pytest.mark.anyio

ANSWERS = {
    "/whole": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nPEM",
    "/moved": b"HTTP/1.1 302 Found\r\nLocation: /whole\r\nContent-Length: 0\r\n\r\n",
    "/missing": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "/large": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 70_000,
    "/cut": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nPEM",
    "/nothing": b"",
}


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, Path]]:
    """The address of a server and the certificate that it has made for itself."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    file.write_bytes(_key_and_certificate())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}", file


@pytest.mark.parametrize("path", ANSWERS)
async def test_only_a_whole_and_small_answer_from_there_counts(
    site: tuple[str, Path], path: str
) -> None:
    url, file = site
    trusting = ssl.create_default_context(cafile=str(file))
    fetch = fetcher(lambda: httpx2.AsyncClient(verify=trusting, trust_env=False, timeout=30))
    if path == "/whole":
        assert await fetch(url + path) == b"PEM"
        return
    with pytest.raises(ProviderUnavailable):
        await fetch(url + path)


async def test_a_server_that_nobody_vouches_for_is_not_believed(
    site: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "localhost")
    with pytest.raises(ProviderUnavailable, match="ConnectError"):
        await fetcher()(f"{site[0]}/whole")


async def test_the_client_follows_nobody_elsewhere() -> None:
    async with client() as opened:
        assert not opened.follow_redirects


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWERS[head.split()[1].decode()])
    writer.close()


def _key_and_certificate() -> bytes:
    key = rsa.generate_private_key(65_537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret + certificate.public_bytes(Encoding.PEM)
