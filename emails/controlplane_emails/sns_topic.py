"""A topic of Amazon SNS that is subscribed to: its certificates, and what it sends."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog
from cryptography import x509

from controlplane.errors import NotReady, ProviderUnavailable, SignatureInvalid
from controlplane_emails.sns import NOTIFICATION, SUBSCRIPTION, SnsMessage

log = structlog.get_logger()

# What is at an https address. Raises ProviderUnavailable.
Fetch = Callable[[str], Awaitable[bytes]]

_CERTIFICATES = 8  # SNS has one, and for a while a second
_WAITING = 20  # whoever comes now waits for a certificate; more than these come again


class SnsTopic:
    """`arn` is believed, and no other topic."""

    def __init__(self, arn: str, *, fetch: Fetch) -> None:
        self._arn = arn
        self._fetch = fetch
        self._certificates: dict[str, x509.Certificate] = {}
        self._fetching = asyncio.Lock()
        self._waiting = 0

    async def receive(self, body: bytes, now: datetime) -> str | None:
        """The text of a notification. None for what concerns the subscription itself: it is confirmed
        here.

        Raises InvalidRequest, SignatureInvalid, and NotReady where SNS is to try again.
        """
        message = SnsMessage.parse(body)
        message.check_topic(self._arn)
        message.check_age(now)
        message.check_signature(await self._certificate(message.certificate_url), now)
        if message.type == NOTIFICATION:
            return message.fields["Message"]
        if message.type == SUBSCRIPTION:
            await self._got(message.confirmation_url())
        log.warning("sns_topic", topic=self._arn, told=message.type)
        return None

    async def _certificate(self, url: str) -> x509.Certificate:
        if url in self._certificates:
            return self._certificates[url]
        if self._waiting >= _WAITING:
            raise NotReady("The certificate of SNS is being fetched; try again.")
        self._waiting += 1
        try:
            async with self._fetching:
                if url not in self._certificates:
                    self._keep(url, await self._got(url))
                return self._certificates[url]
        finally:
            self._waiting -= 1

    def _keep(self, url: str, pem: bytes) -> None:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
        except ValueError as error:
            raise SignatureInvalid("There is no certificate at the SigningCertURL.") from error
        if len(self._certificates) >= _CERTIFICATES:
            self._certificates.clear()
        self._certificates[url] = certificate

    async def _got(self, url: str) -> bytes:
        try:
            return await self._fetch(url)
        except ProviderUnavailable as error:
            raise NotReady(f"SNS does not answer: {error}") from error
