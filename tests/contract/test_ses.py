"""What SES answers, what it does not, and what follows for a mail."""

import email
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from dataclasses import replace as changed

import pytest

from controlplane.errors import ProviderRefused, ProviderUnavailable, SendUncertain
from controlplane_emails.ses import SesSender
from tests.contract.test_sender_contract import LINK, MESSAGE
from tests.http_proxy import HttpProxy
from tests.http_server import Fault
from tests.proxy import Cut, Lose, Proxy
from tests.ses import ACCESS_KEY, SECRET, SesServer, ses_sender

pytestmark = pytest.mark.anyio

TARGET = "/v2/email/outbound-emails"
UNVERIFIED = (
    "Email address is not verified. The following identities failed the check in region EU-WEST-1: "
    + MESSAGE.to
)


@dataclass
class Way:
    """From the sender over a network that breaks to a SES that answers as it is told."""

    server: SesServer
    http: HttpProxy
    tcp: Proxy
    sender: SesSender

    def answers(self, status: int, code: str, message: str = "no", **more: object) -> None:
        """The next mail gets this in SES's place; `more` goes to the fault."""
        headers = {"x-amzn-ErrorType": code, "Content-Type": "application/json"}
        body = json.dumps({"message": message}).encode()
        retry = more.pop("retry_after", None)
        headers |= {"Retry-After": str(retry)} if retry else {}
        self.http.faults = [Fault(status, headers, body, **more)]  # type: ignore[arg-type]  # passed on


@pytest.fixture(scope="module")
async def whole_way(ses: SesServer) -> AsyncIterator[Way]:
    async with HttpProxy(ses.url) as http, Proxy.before(http.url) as tcp:
        yield Way(ses, http, tcp, ses_sender(tcp.url(http.url)))


@pytest.fixture
def way(whole_way: Way) -> Way:
    """One for all tests of the module: a client of boto3's is slow to make."""
    whole_way.server.wipe()
    whole_way.http.faults.clear()
    whole_way.http.requests.clear()
    whole_way.tcp.cut = None
    return whole_way


async def test_the_id_of_ses_comes_back_and_ours_travels_as_a_tag(way: Way) -> None:
    provider_id = await way.sender.send(MESSAGE)
    assert way.server.ids() == [provider_id]
    (request,) = way.http.requests
    body = json.loads(request.body)
    assert body["EmailTags"] == [
        {
            "Name": "controlplane-mail",
            "Value": "3f0b9a52-0f3d-5a8e-9f43-6b0a6f3f8f10@acme.example.com",
        }
    ]
    assert body["ConfigurationSetName"] == "mail"
    assert body["Destination"] == {"ToAddresses": [MESSAGE.to]}


async def test_what_is_handed_over_is_ascii_and_of_one_recipient(way: Way) -> None:
    await way.sender.send(changed(MESSAGE, html="<p>" + "ü" * 900 + "</p>\n"))
    (wire,) = way.server.sent()
    assert wire.isascii()
    assert email.message_from_bytes(wire).get_all("To") == [MESSAGE.to]


async def test_no_connection_is_used_for_a_second_mail(way: Way) -> None:
    before = way.tcp.opened
    for _ in range(2):
        await way.sender.send(MESSAGE)
    assert way.tcp.opened == before + 2


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("MessageRejected", UNVERIFIED, "sandbox"),
        ("MessageRejected", "Illegal content", "content"),
        ("MailFromDomainNotVerifiedException", "no", "MAIL FROM"),
        ("AccountSuspendedException", "no", "AWS support"),
        ("BadRequestException", "Invalid address", "address"),
        ("SomethingNewException", "what", "SomethingNewException"),
    ],
)
async def test_a_refusal_is_for_good_and_says_the_remedy_and_no_address(
    way: Way, code: str, message: str, remedy: str
) -> None:
    way.answers(400, code, message)
    with pytest.raises(ProviderRefused, match=remedy) as caught:
        await way.sender.send(MESSAGE)
    assert MESSAGE.to not in str(caught.value)
    assert len(way.http.requests) == 1


async def test_an_unverified_sender_is_refused_for_good(way: Way) -> None:
    way.server.wipe(verified=False)
    with pytest.raises(ProviderRefused):
        await way.sender.send(MESSAGE)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (429, "TooManyRequestsException"),
        (400, "ThrottlingException"),
        (400, "Throttling"),
        (400, "LimitExceededException"),
        (503, "ServiceUnavailable"),
        (400, "SendingPausedException"),
        (403, "AccessDeniedException"),
        (403, "ExpiredTokenException"),
        (403, "UnrecognizedClientException"),
        (404, "NotFoundException"),
    ],
)
async def test_what_surely_was_not_taken_is_for_later_and_asked_for_once(
    way: Way, status: int, code: str
) -> None:
    way.answers(status, code, times=9)
    with pytest.raises(ProviderUnavailable):
        await way.sender.send(MESSAGE)
    assert len(way.http.requests) == 1
    assert way.server.sent() == []


async def test_who_is_throttled_is_told_when_to_come_back(way: Way) -> None:
    way.answers(429, "TooManyRequestsException", retry_after=7)
    with pytest.raises(ProviderUnavailable) as caught:
        await way.sender.send(MESSAGE)
    assert caught.value.retry_after_s == 7
    way.answers(429, "TooManyRequestsException")
    with pytest.raises(ProviderUnavailable) as caught:
        await way.sender.send(MESSAGE)
    assert caught.value.retry_after_s == 2


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize(("status", "code"), [(500, "InternalFailure"), (502, ""), (504, "")])
async def test_a_failure_of_ses_leaves_the_mail_uncertain_and_is_asked_for_once(
    way: Way, status: int, code: str, *, after_effect: bool
) -> None:
    way.answers(status, code, times=9, after_effect=after_effect)
    with pytest.raises(SendUncertain):
        await way.sender.send(MESSAGE)
    assert len(way.http.requests) == 1
    assert len(way.server.sent()) == after_effect


async def test_an_answer_that_cannot_be_read_leaves_the_mail_uncertain(way: Way) -> None:
    way.http.faults = [Fault(200, {"Content-Type": "application/json"}, b'{"MessageId": "1')]
    with pytest.raises(SendUncertain):
        await way.sender.send(MESSAGE)


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("lose", Lose)
async def test_a_connection_that_ends_after_the_request_leaves_the_mail_uncertain(
    way: Way, lose: Lose, *, resets: bool
) -> None:
    way.tcp.resets = resets
    way.tcp.cut = Cut(b"EmailTags", lose=lose)
    with pytest.raises(SendUncertain):
        await way.sender.send(MESSAGE)
    assert len(way.server.sent()) == (lose is Lose.ANSWER)


async def test_silence_after_the_request_leaves_the_mail_uncertain(way: Way) -> None:
    hasty = ses_sender(way.tcp.url(way.http.url), timeout_s=4)
    # Nobody waits for it: the end of the server ends it.
    way.http.faults = [Fault(200, latency_s=600)]
    with pytest.raises(SendUncertain):
        await hasty.send(MESSAGE)


async def test_a_ses_that_cannot_be_reached_is_for_later(way: Way) -> None:
    await way.tcp.refuse()
    try:
        with pytest.raises(ProviderUnavailable):
            await way.sender.send(MESSAGE)
    finally:
        await way.tcp.accept()


async def test_missing_credentials_are_for_later(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(ProviderUnavailable, match="credentials"):
        await ses_sender(way.http.url).send(MESSAGE)
    assert way.http.requests == []


async def test_neither_log_nor_repr_tells_a_secret(
    way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    way.answers(400, "MessageRejected", UNVERIFIED)
    with caplog.at_level(logging.INFO), pytest.raises(ProviderRefused) as caught:
        await way.sender.send(MESSAGE)
    told = caplog.text + repr(way.sender) + repr(vars(way.sender)) + repr(caught.value)
    assert caught.value.__cause__ is None
    for secret in (SECRET, ACCESS_KEY, LINK, MESSAGE.to):
        assert secret not in told
