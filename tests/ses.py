"""An Amazon SES on loopback for as long as a block lasts: moto's server, over a real socket.

It takes mail only from verified senders, and keeps what it took. What moto does not know (the
sandbox, quotas, faults) tests put in its place with tests/http_proxy.py.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.ses.models import SESBackend, ses_backends

from controlplane_emails.ses import SesSender

REGION = "eu-west-1"
SENDER = "no-reply@example.com"
ACCESS_KEY, SECRET = "AKIAEXAMPLE", "s3cret-owl-of-ses"


@dataclass
class SesServer:
    """`sender` sends to it."""

    url: str
    sender: SesSender

    def sent(self) -> list[bytes]:
        """Every mail that was taken, as it was handed over, oldest first."""
        return [mail.raw_data.encode() for mail in self._backend.sent_messages]

    def ids(self) -> list[str]:
        """SES's ids of these mails."""
        return [mail.id for mail in self._backend.sent_messages]

    def wipe(self, *, verified: bool = True) -> None:
        """Forget every mail and, unless `verified`, the sender's verification too."""
        self._backend.reset()
        if verified:
            self._backend.verify_email_identity(SENDER)

    @property
    def _backend(self) -> SESBackend:
        backend: SESBackend = ses_backends[DEFAULT_ACCOUNT_ID][REGION]
        return backend


def ses_sender(url: str, *, timeout_s: float = 30, configuration_set: str = "mail") -> SesSender:
    return SesSender(
        sender=f"Control plane <{SENDER}>",
        timeout_s=timeout_s,
        region=REGION,
        configuration_set=configuration_set,
        endpoint_url=url,
    )


@contextlib.contextmanager
def running_ses() -> Iterator[SesServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            url = f"http://{host}:{port}"
            _asked_once(url)
            yield SesServer(url, ses_sender(url))
        finally:
            server.stop()


def _asked_once(url: str) -> None:
    """moto makes its ways to an operation when it is first asked for: of several that ask then at once,
    one was answered with 500."""
    client = boto3.client("sesv2", region_name=REGION, endpoint_url=url)
    with contextlib.closing(client), pytest.raises(client.exceptions.MessageRejected):
        client.send_email(
            FromEmailAddress="nobody@example.com",
            Destination={"ToAddresses": [SENDER]},
            Content={"Raw": {"Data": b"Subject: Hello\r\n\r\n"}},
        )
