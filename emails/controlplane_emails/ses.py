"""Mail by Amazon SES: one request a mail, through boto3 in threads of its own, never repeated here.

SES puts a Message-ID of its own in the place of ours. Ours travels along as a tag, so that what SES
tells later of a mail (controlplane_emails.ses_events) says which one it was.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.policy import SMTP
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from controlplane.domain.mail import Message
from controlplane.errors import SendUncertain
from controlplane_emails.mime import compose, parse_sender
from controlplane_emails.ses_answers import answered, unanswered, unprepared
from controlplane_emails.ses_tag import TAG, tag_of

# One worker sends one mail at a time; this is for whoever calls otherwise.
_AT_ONCE = 4
# SES advises against bytes that are not ASCII in what it is handed.
_WIRE = SMTP.clone(cte_type="7bit")


class SesSender:
    """Credentials are looked for as boto3 does, whenever a mail is sent."""

    def __init__(
        self,
        *,
        sender: str,
        timeout_s: float,
        region: str | None = None,
        configuration_set: str | None = None,
        endpoint_url: str | None = None,
    ) -> None:
        """A mail takes at most `timeout_s`. Raises SettingsInvalid for a sender that is no address."""
        self._sender = parse_sender(sender)
        self._options = {"ConfigurationSetName": configuration_set} if configuration_set else {}
        self._connect = partial(
            _client, region=region, endpoint_url=endpoint_url, timeout_s=timeout_s
        )
        self._prepared: tuple[boto3.session.Session, Any] | None = None
        self._preparing = threading.Lock()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ses")

    async def send(self, message: Message) -> str:
        """Returns SES's own id of the mail."""
        mail = compose(message, sender=self._sender, date=datetime.now(UTC))
        terms = {
            "FromEmailAddress": self._sender.addr_spec,
            "Destination": {"ToAddresses": [message.to]},
            "Content": {"Raw": {"Data": mail.as_bytes(policy=_WIRE)}},
            "EmailTags": [{"Name": TAG, "Value": tag_of(message.message_id)}],
            **self._options,
        }
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._send, terms)

    def _send(self, terms: dict[str, Any]) -> str:
        client = self._client()
        try:
            answer = client.send_email(**terms)
        except ClientError as error:
            raise answered(error.response) from None
        except (BotoCoreError, ResponseParserError) as error:
            # The cause may quote the request, and that holds a one-time link.
            raise unanswered(error) from None
        if "MessageId" not in answer:
            raise SendUncertain("SES answered what cannot be read; it may have taken the mail.")
        return str(answer["MessageId"])

    def _client(self) -> Any:
        """Whatever fails here fails before anything is sent."""
        try:
            with self._preparing:
                self._prepared = self._prepared or self._connect()
            session, client = self._prepared
            credentials = session.get_credentials()
            if credentials is not None:
                credentials.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise unprepared(error) from None
        return client


def _client(
    *, region: str | None, endpoint_url: str | None, timeout_s: float
) -> tuple[boto3.session.Session, Any]:
    # A mail that boto3 sends once more may arrive twice.
    once = {"total_max_attempts": 1, "mode": "standard"}
    config = Config(retries=once, connect_timeout=timeout_s / 3, read_timeout=timeout_s / 2)
    session = boto3.session.Session()
    client = session.client("sesv2", region_name=region, endpoint_url=endpoint_url, config=config)
    hang_up: Callable[..., None] = _hang_up
    client.meta.events.register("before-send.sesv2.SendEmail", hang_up)
    return session, client


def _hang_up(request: Any, **_: object) -> None:
    # On a connection that SES is about to close, a mail would get lost without anybody's knowledge.
    request.headers["Connection"] = "close"
