"""A conversation with Route 53: boto3 in threads of its own, one try per request."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from controlplane.errors import ProviderRefused, ProviderUnavailable, StepError

# Threads: many tenants may wait for Route 53 at once, and it is asked a few times a second at most.
_AT_ONCE = 8
_BUSY = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "PriorRequestNotComplete"}
_BUSY_S = 1.0
_SERVER_ERROR = 500
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
_EXPIRED = "the session's credentials have expired; renew them and start the workers anew"
_UNKNOWN = "it does not know these credentials; check the access key, or the role of the workers"
_REMEDIES = {
    "NoSuchHostedZone": "there is no hosted zone of this id in the account; check the zone's id",
    "AccessDenied": "allow these credentials what docs/how-to/dns-route53.md lists",
    "AccessDeniedException": "allow these credentials what docs/how-to/dns-route53.md lists",
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "InvalidClientTokenId": _UNKNOWN,
    "UnrecognizedClientException": _UNKNOWN,
    "SignatureDoesNotMatch": "the secret of the access key is another one there",
    "InvalidSignature": "the secret of the access key is another one there",
}


class BatchRefused(Exception):  # noqa: N818  no error: who asked decides what it means
    """Route 53 does not apply the batch; nothing was changed. The text is Route 53's reason."""


class UnknownChange(Exception):  # noqa: N818  no error: who asked decides what it means
    """Route 53 knows no change of this id."""


def once(timeout_s: float) -> Config:
    """How a client asks: at most so many seconds, half for the connection, half for the answer, and
    only once. A second try inside the client would outlast an operation's lease."""
    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=timeout_s / 2,
        read_timeout=timeout_s / 2,
    )


def connector(*, timeout_s: float) -> Callable[[], Any]:
    """Makes a client with the credentials, the region and the endpoint that boto3 finds."""
    return partial(_client, timeout_s)


def _client(timeout_s: float) -> Any:
    session = boto3.session.Session()
    # Route 53 has no regions, only partitions; without any, this is the usual one's.
    region = session.region_name or "us-east-1"
    return session.client("route53", region_name=region, config=once(timeout_s))


class Talk:
    """Raises ProviderUnavailable where no answer comes or Route 53 asks to come back later,
    ProviderRefused where it will not do it. After either a change may have taken effect.

    What Route 53 says of a refused request is not repeated: it may quote credentials.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._client: Any = None
        self._making = threading.Lock()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="route53")

    async def ask(self, request: str, **terms: Any) -> dict[str, Any]:
        """The answer to a request by boto3's name of it. Raises BatchRefused and UnknownChange too."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(self._ask, request, terms))

    def close(self) -> None:
        """Ends threads and connections; a request under way ends by itself."""
        self._threads.shutdown(wait=False)
        if self._client is not None:
            self._client.close()

    def _ask(self, request: str, terms: dict[str, Any]) -> dict[str, Any]:
        try:
            with self._making:
                self._client = self._client or self._connect()
            answer: dict[str, Any] = getattr(self._client, request)(**terms)
        except ClientError as error:
            raise _told(error.response) from None
        except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
            raise ProviderRefused(
                f"There are no credentials for Route 53 ({type(error).__name__}); give the workers a "
                "role, or an access key as boto3 expects it."
            ) from None
        except BotoCoreError as error:
            raise ProviderUnavailable(f"No answer from Route 53: {type(error).__name__}.") from None
        return answer


def _told(response: dict[str, Any]) -> Exception:
    code, reason = response["Error"].get("Code", ""), response["Error"].get("Message", "")
    # In the other of its two forms, boto3 finds neither code nor reason.
    if code == "InvalidChangeBatch" or "Messages" in response:
        return BatchRefused(reason)
    if code == "NoSuchChange":
        return UnknownChange()
    return _failure(code, response["ResponseMetadata"])


def _failure(code: str, sent: dict[str, Any]) -> StepError:
    after_s = _retry_after_s(sent["HTTPHeaders"])
    if code in _BUSY:
        said = "Route 53 asks to come back later"
        return ProviderUnavailable(f"{said} ({code}).", retry_after=after_s or _BUSY_S)
    if code in _SKEWED:
        return ProviderUnavailable(
            f"The clocks of this machine and of Route 53 differ too much ({code}); set it by NTP."
        )
    if sent["HTTPStatusCode"] >= _SERVER_ERROR:
        return ProviderUnavailable(f"Route 53 failed ({code}).", retry_after=after_s)
    remedy = f": {_REMEDIES[code]}" if code in _REMEDIES else ""
    return ProviderRefused(f"Route 53 refused ({code}){remedy}.")


def _retry_after_s(headers: dict[str, str]) -> float | None:
    text = headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None
