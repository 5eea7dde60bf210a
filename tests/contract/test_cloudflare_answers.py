"""What Cloudflare's refusals, and what comes in place of an answer, are made of for the engine."""

import contextlib
import json
import logging
import re
import traceback
from collections.abc import AsyncIterator

import cloudflare
import httpx
import pytest

from controlplane.errors import ProviderRefused, ProviderUnavailable, SettingsInvalid, StepError
from controlplane_dns.cloudflare import Cloudflare
from tests.contract.cloudflare_fake import TOKEN, ZONE_ID, CloudflareFake, told
from tests.contract.cloudflare_peer import ZONE, provider
from tests.contract.test_dns_contract import ACME, GLOBEX, owned, record
from tests.http_server import Fault
from tests.proxy import Cut, Proxy, Way

pytestmark = pytest.mark.anyio


@pytest.fixture
async def fake() -> AsyncIterator[CloudflareFake]:
    async with CloudflareFake(ZONE) as opened:
        yield opened


def refusal(code: int, text: str = "No.", **more: object) -> bytes:
    return told(success=False, errors=[{"code": code, "message": text, **more}])


CHAIN = {"error_chain": [{"code": 9007, "message": "Content for CNAME record is invalid."}]}
REFUSALS = [
    (403, refusal(10000, "Authentication error"), ProviderRefused, "'Zone - DNS - Edit'"),
    (403, refusal(9109, "Unauthorized"), ProviderRefused, "'Zone - DNS - Edit'"),
    (401, refusal(1000, "Invalid API Token"), ProviderRefused, "'Zone - DNS - Edit'"),
    (400, refusal(6003, "Invalid request headers"), ProviderRefused, "token must be valid"),
    (404, refusal(7003, "Could not route"), ProviderRefused, "no zone of this id"),
    (400, refusal(81045, "Quota exceeded."), ProviderRefused, "no room for more records"),
    (400, refusal(9313, "comment exceeds"), ProviderRefused, "comment exceeds (9313)"),
    (400, refusal(1004, "DNS Validation Error", **CHAIN), ProviderRefused, "invalid. (9007)"),
    (200, refusal(1004, "said with 200"), ProviderRefused, "said with 200"),
    (429, refusal(971, "Please wait"), ProviderUnavailable, "Please wait (971)"),
    (429, refusal(1234, "Too many"), ProviderUnavailable, "Too many (1234)"),
    (400, refusal(971, "Please wait"), ProviderUnavailable, "Please wait (971)"),
    (500, refusal(10013, "internal"), ProviderUnavailable, "answered 500: internal"),
    (502, b"<html>Bad gateway</html>", ProviderUnavailable, "502 came that is not Cloudflare's"),
    (403, b"<html>Sign in</html>", ProviderUnavailable, "not Cloudflare's"),
    (302, b"", ProviderUnavailable, "not Cloudflare's"),
    (200, b"", ProviderUnavailable, "not Cloudflare's"),
    (200, b"[]", ProviderUnavailable, "not Cloudflare's"),
    (200, b"\xff\xfe{", ProviderUnavailable, "not Cloudflare's"),
    (200, told(errors=[{}]), ProviderUnavailable, "not Cloudflare's"),
    (200, told(result=[{"id": 7}]), ProviderUnavailable, "not Cloudflare's"),
    (200, told(result=["acme"]), ProviderUnavailable, "not Cloudflare's"),
    (200, told(result=[]), ProviderUnavailable, "not Cloudflare's"),
]


@pytest.mark.parametrize(("status", "body", "kind", "text"), REFUSALS)
async def test_every_refusal_says_whether_to_try_again_and_what_to_do(
    fake: CloudflareFake, status: int, body: bytes, kind: type[StepError], text: str
) -> None:
    headers = {"Content-Type": "application/json", "Location": "/elsewhere"}
    fake.faults = [Fault(status, body=body, headers=headers)]
    with pytest.raises(kind, match=re.escape(text)) as caught:
        await provider(fake.api).ensure(record(), ACME)
    assert_no_secret(caught.value)
    assert fake.records == {}


async def test_an_answer_in_place_of_a_change_is_no_change(fake: CloudflareFake) -> None:
    for body in (b"", told(result=None), told(result={"id": "x"})):
        fake.faults = [Fault(200, body=body, method="POST")]
        with pytest.raises(ProviderUnavailable, match="not Cloudflare's"):
            await provider(fake.api).ensure(record(), ACME)


@pytest.mark.parametrize(
    ("told_after", "wait_s"),
    [("7", 7.0), ("0", 0.0), ("86400", 300.0), ("", None), ("-1", None), ("soon", None)],
)
async def test_who_is_throttled_comes_back_when_he_is_told_to(
    fake: CloudflareFake, told_after: str, wait_s: float | None
) -> None:
    fake.faults = [Fault(429, body=refusal(971), headers={"Retry-After": told_after})]
    with pytest.raises(ProviderUnavailable) as caught:
        await provider(fake.api).absent(record(), ACME)
    assert caught.value.retry_after_s == wait_s


async def test_nothing_is_asked_twice_of_whom_has_had_enough(fake: CloudflareFake) -> None:
    fake.budget = 0
    with pytest.raises(ProviderUnavailable, match="throttling") as caught:
        await provider(fake.api).ensure(record(), ACME)
    assert caught.value.retry_after_s == 30
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("token", "code"), [("another-token-of-forty-characters_guess", 10000), ("short", 6003)]
)
async def test_a_token_that_is_not_right_is_refused_with_the_scope_it_needs(
    fake: CloudflareFake, token: str, code: int
) -> None:
    token = token.ljust(len(TOKEN), "x") if code == 10000 else token
    zone = provider(fake.api, token=token)
    for attempt in (zone.ensure(record(), ACME), zone.absent(record(), ACME), owned(zone)):
        with pytest.raises(ProviderRefused, match="'Zone - DNS - Edit'") as caught:
            await attempt
        assert_no_secret(caught.value, token)
    assert {*fake.refused} == {code}


async def test_another_zones_id_is_refused(fake: CloudflareFake) -> None:
    with pytest.raises(ProviderRefused, match="no zone of this id"):
        await provider(fake.api, zone_id="0" * 32).find(record(), ACME)


async def test_a_plan_whose_comments_are_too_short_says_so(fake: CloudflareFake) -> None:
    fake.longest_comment = 50
    with pytest.raises(ProviderRefused, match=r"maximum length of 50 characters.*9313"):
        await provider(fake.api).ensure(record(), ACME)


async def test_a_ttl_that_cloudflare_does_not_take_says_so(fake: CloudflareFake) -> None:
    with pytest.raises(ProviderRefused, match=r"Invalid TTL.*9021"):
        await provider(fake.api).ensure(record(ttl=59), ACME)


async def test_nothing_comes_from_the_environment(
    fake: CloudflareFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_TOKEN", "API_KEY", "EMAIL", "API_USER_SERVICE_KEY"):
        monkeypatch.setenv(f"CLOUDFLARE_{name}", "from-elsewhere")
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    await provider(fake.api).ensure(record(), ACME)
    for request in fake.requests:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert "from-elsewhere" not in json.dumps(request.headers)


async def test_no_log_line_of_the_sdk_or_below_holds_the_token(
    fake: CloudflareFake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("cloudflare", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    await provider(fake.api).ensure(record(), ACME)
    assert "dns_records" in caplog.text
    assert TOKEN not in caplog.text


async def test_where_nobody_listens_it_is_tried_again() -> None:
    with pytest.raises(ProviderUnavailable, match="No answer from Cloudflare") as caught:
        await provider("http://127.0.0.1:1").ensure(record(), ACME)
    assert_no_secret(caught.value)


async def test_whoever_falls_silent_is_given_up(fake: CloudflareFake) -> None:
    async with Proxy("127.0.0.1", fake.port) as proxy:
        zone = provider(proxy.url(fake.api), timeout_s=0.2)
        proxy.silent = True
        for attempt in (zone.ensure(record(), ACME), zone.absent(record(), ACME), owned(zone)):
            with pytest.raises(ProviderUnavailable, match="not in time") as caught:
                await attempt
            assert_no_secret(caught.value)


@pytest.mark.parametrize("resets", [False, True])
@pytest.mark.parametrize("after", [0, 1, 40, 900])
@pytest.mark.parametrize("way", Way)
async def test_a_conversation_that_breaks_anywhere_may_be_begun_again(
    fake: CloudflareFake, *, way: Way, after: int, resets: bool
) -> None:
    await provider(fake.api).ensure(record("globex"), GLOBEX)
    async with Proxy("127.0.0.1", fake.port) as proxy:
        zone = provider(proxy.url(fake.api))
        proxy.resets = resets
        for attempt in (zone.ensure, zone.absent, zone.ensure):
            proxy.cut = Cut(after=after, way=way)
            with contextlib.suppress(ProviderUnavailable):
                await attempt(record(), ACME)
            proxy.cut = None
            await attempt(record(), ACME)
    names = [one["name"] for one in fake.records.values()]
    assert names == [f"globex.{ZONE}", f"acme.{ZONE}"]


@pytest.mark.parametrize(
    ("zone_id", "token", "named"),
    [("example.com", TOKEN, "32 hexadecimal"), (ZONE_ID, "a b", "API token"), (ZONE_ID, "", "API")],
)
def test_what_can_be_no_id_or_token_is_refused(zone_id: str, token: str, named: str) -> None:
    with pytest.raises(SettingsInvalid, match=named) as caught:
        provider("http://127.0.0.1:1", zone_id=zone_id, token=token)
    assert token not in str(caught.value).split()


def test_a_provider_does_not_show_the_token() -> None:
    zone: Cloudflare = provider("http://127.0.0.1:1")
    assert TOKEN not in f"{zone!r} {zone}"


def assert_no_secret(error: BaseException | None, token: str = TOKEN) -> None:
    """Not even where the variables of every frame are shown with the error, and with what led to it;
    the frames of the test itself know it."""
    while error is not None:
        assert not isinstance(error, cloudflare.CloudflareError | httpx.HTTPError)
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        stack = [frame for frame in shown.stack if "/tests/" not in frame.filename]
        assert token not in "".join(traceback.StackSummary.from_list(stack).format())
        assert token not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
