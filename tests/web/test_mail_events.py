"""What becomes of mails after SES has taken them, told by SNS; nobody else is believed."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest

from controlplane.domain.mail import Fate
from controlplane.web.app import create_app
from controlplane_emails.sns_topic import SnsTopic
from tests.database import Server, fresh_database
from tests.sns import (
    BOUNCE,
    CERTIFICATE,
    TOPIC,
    Sns,
    confirmation,
    notification,
    ses_event,
    signer,
    subscribe_url,
)
from tests.web.calls import make_active, new_tenant, open_site
from tests.web.forged_events import FORGED, OTHER_TOPIC, STRANGER, bounce
from tests.web.mail_hook import CurrentTopic, Hook
from tests.web.test_metrics import scraped

pytestmark = pytest.mark.anyio

SOFT = {"bounceType": "Transient", "bounceSubType": "MailboxFull"}


@pytest.fixture(scope="module")
async def whole_hook(server: Server) -> AsyncIterator[Hook]:
    with fresh_database(server) as database:
        async with open_site(database, CONTROLPLANE_BODY_LIMIT_BYTES="1048576") as site:
            async with site.working(), site.client() as client:
                made = [(await make_active(client, new_tenant()))["tenant_id"] for _ in range(2)]
            topic = CurrentTopic(TOPIC, fetch=Sns().fetch)
            app = create_app(replace(site.parts, mail_events=topic))
            yield Hook(site, (made[0], made[1]), topic, app)


@pytest.fixture
async def hook(whole_hook: Hook) -> Hook:
    """Both mails have been sent, the first as `ses-1` and the second as `ses-2`."""
    whole_hook.sns = Sns()
    whole_hook.topic.current = SnsTopic(TOPIC, fetch=whole_hook.sns.fetch)
    for number, tenant in enumerate(whole_hook.tenants, 1):
        await whole_hook.sql(
            "UPDATE public.email_deliveries SET state = 'sent', sent_at = now(),"
            " last_error = NULL, delivered_at = NULL, provider_id = :ses, message_id = :ours,"
            " attempt = 1, lease_expires_at = NULL WHERE tenant_id = :tenant",
            ses=f"ses-{number}",
            ours=f"mail-{number}@example.test",
            tenant=tenant,
        )
        await whole_hook.sql(
            "UPDATE public.tenants SET conditions = conditions || jsonb_build_object('WelcomeSent',"
            " jsonb_build_object('holds', true, 'reason', 'sent', 'since', now()))"
            " WHERE id = :tenant",
            tenant=tenant,
        )
    return whole_hook


@pytest.mark.parametrize(
    ("kind", "details", "state", "code"),
    [
        ("Bounce", BOUNCE, "bounced", "bounced_for_good"),
        ("Bounce", SOFT, "bounced", "bounced"),
        ("Complaint", {"complaintFeedbackType": "abuse"}, "complained", "complained"),
        ("Reject", {}, "failed", "rejected"),
    ],
)
async def test_what_came_back_is_shown_at_its_mail_and_its_tenant_and_no_other(
    hook: Hook, kind: str, details: dict[str, str], state: str, code: str
) -> None:
    other = await hook.shown(1)
    await hook.tell(kind, **details)
    mail, condition = await hook.shown()
    assert (mail["state"], mail["error"]["code"]) == (state, code)
    assert (condition["holds"], condition["reason"]) == (False, state)
    assert await hook.shown(1) == other


async def test_a_delivery_is_shown_with_its_time(hook: Hook) -> None:
    await hook.tell("Delivery", timestamp="2026-11-22T02:41:00.000Z")
    mail, condition = await hook.shown()
    assert (mail["state"], mail["delivered_at"]) == ("sent", "2026-11-22T02:41:00Z")
    assert condition["holds"] is True


@pytest.mark.parametrize("state", ["uncertain", "sending", "queued"])
@pytest.mark.parametrize("kind", ["Send", "Delivery"])
async def test_a_mail_that_ses_did_take_is_sent_after_all(
    hook: Hook, state: str, kind: str
) -> None:
    await hook.sql(
        "UPDATE public.email_deliveries SET state = :state, sent_at = NULL, provider_id = NULL"
        " WHERE provider_id = 'ses-1'",
        state=state,
    )
    await hook.tell(kind, tag="mail-1@example.test")
    mail, condition = await hook.shown()
    assert (mail["state"], condition["holds"]) == ("sent", True)


async def test_what_is_worse_stays_in_whatever_order_it_comes(hook: Hook) -> None:
    for kind, state in [
        ("Bounce", "bounced"),
        ("Delivery", "bounced"),
        ("Complaint", "complained"),
    ]:
        await hook.tell(kind)
        assert (await hook.shown())[0]["state"] == state
    for kind in ("Bounce", "Send", "Reject"):
        await hook.tell(kind)
    assert (await hook.shown())[0]["state"] == "complained"


@pytest.mark.parametrize("kind", ["Bounce", "Complaint", "Delivery", "Send"])
async def test_a_message_that_comes_again_changes_nothing(hook: Hook, kind: str) -> None:
    signed = signer().sign(notification(ses_event(kind, "ses-1", **BOUNCE)))
    assert (await hook.send(signed)).status_code == 204
    before = await hook.world()
    assert (await hook.send(signed)).status_code == 204
    assert await hook.world() == before


async def test_an_old_mail_that_comes_back_says_nothing_of_a_newer_one(hook: Hook) -> None:
    first, second = hook.tenants
    give = (
        "UPDATE public.email_deliveries SET tenant_id = :tenant, created_at = now()"
        " WHERE provider_id = 'ses-2'"
    )
    await hook.sql(give, tenant=first)
    try:
        before = (await hook.shown())[1]
        await hook.tell("Bounce", **BOUNCE)
        assert (await hook.shown())[1] == before
        assert await hook.sql(
            "SELECT state FROM public.email_deliveries WHERE provider_id = 'ses-1'"
        ) == [("bounced",)]
    finally:
        await hook.sql(give, tenant=second)


@pytest.mark.parametrize(
    "message",
    [
        "Successfully validated SNS topic for Amazon SES event publishing.",
        ses_event("Bounce", "ses-of-somebody-else", **BOUNCE),
        ses_event("Open", "ses-1"),
        ses_event("DeliveryDelay", "ses-1"),
        '{"eventType": "Bounce"}',
        "[" * 100_000,
        ses_event("Bounce", "ses-1\0"),
    ],
)
async def test_what_concerns_no_mail_of_ours_is_taken_and_forgotten(
    hook: Hook, message: str
) -> None:
    before = await hook.world()
    assert (await hook.send(signer().sign(notification(message)))).status_code == 204
    assert await hook.world() == before


async def told(hook: Hook) -> dict[str, float]:
    """What `/metrics` says of events, by fate."""
    transport = httpx.ASGITransport(hook.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        counted = await scraped(client)
    return {key[1]: n for key, n in counted.items() if key[0] == "controlplane_mail_events_total"}


async def test_what_is_told_of_our_mails_is_counted_by_fate(hook: Hook) -> None:
    before = await told(hook)
    assert before.keys() == set(Fate)
    for kind in ("Send", "Delivery", "Bounce", "Bounce", "Complaint"):
        await hook.tell(kind)
    await hook.send(signer().sign(notification(ses_event("Bounce", "ses-of-somebody-else"))))
    after = await told(hook)
    more = {fate: after[fate] - before[fate] for fate in Fate}
    assert more == {"taken": 1, "delivered": 1, "rejected": 0, "bounced": 2, "complained": 1}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_message_is_refused_and_changes_nothing(hook: Hook, name: str) -> None:
    signed, changes, status = FORGED[name]
    # It is there, and must not be asked for.
    hook.sns.pages[str(changes.get("SigningCertURL", STRANGER))] = signer().pem
    before = await hook.world()
    answer = await hook.send(signed, **changes)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert await hook.world() == before
    assert set(hook.sns.fetched) <= {CERTIFICATE}


@pytest.mark.parametrize("pem", [b"no certificate", signer("old", days=-1).pem])
async def test_a_certificate_that_is_none_or_has_expired_proves_nothing(
    hook: Hook, pem: bytes
) -> None:
    hook.sns.pages[CERTIFICATE] = pem
    answer = await hook.send(signer("old", days=-1).sign(bounce()))
    assert (answer.status_code, answer.json()["code"]) == (403, "signature_invalid")
    assert (await hook.shown())[0]["state"] == "sent"


async def test_sns_is_to_come_again_while_its_certificate_cannot_be_had(hook: Hook) -> None:
    pem = hook.sns.pages.pop(CERTIFICATE)
    signed = signer().sign(bounce())
    assert (await hook.send(signed)).status_code == 503
    hook.sns.pages[CERTIFICATE] = pem
    assert (await hook.send(signed)).status_code == 204
    assert (await hook.shown())[0]["state"] == "bounced"


async def test_the_certificate_is_fetched_once(hook: Hook) -> None:
    for _ in range(3):
        await hook.tell("Send")
    assert hook.sns.fetched == [CERTIFICATE]


async def test_a_subscription_to_our_topic_is_confirmed_at_sns(hook: Hook) -> None:
    fields = confirmation()
    hook.sns.pages[fields["SubscribeURL"]] = b"<ConfirmSubscriptionResponse/>"
    assert (await hook.send(signer().sign(fields))).status_code == 204
    assert hook.sns.fetched == [CERTIFICATE, fields["SubscribeURL"]]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"TopicArn": OTHER_TOPIC, "SubscribeURL": subscribe_url("1", topic=OTHER_TOPIC)}, "sns"),
        ({"SubscribeURL": subscribe_url("1", topic=OTHER_TOPIC), "Token": "1"}, "sns"),
        ({"SubscribeURL": subscribe_url("another")}, "sns"),
        ({"SubscribeURL": subscribe_url("1", host=STRANGER), "Token": "1"}, "sns"),
        ({"SubscribeURL": subscribe_url("1", host="http://sns.eu-west-1.amazonaws.com")}, "sns"),
        ({"SubscribeURL": "https://169.254.169.254/latest"}, "sns"),
        ({}, "evil"),
    ],
)
async def test_no_other_subscription_is_confirmed(
    hook: Hook, changes: dict[str, str], key: str
) -> None:
    known = signer() if key == "sns" else signer(key)
    assert (await hook.send(known.sign(confirmation(**changes)))).status_code == 403
    assert set(hook.sns.fetched) <= {CERTIFICATE}


async def test_the_end_of_a_subscription_is_not_answered_by_a_new_one(hook: Hook) -> None:
    fields = confirmation("UnsubscribeConfirmation")
    assert (await hook.send(signer().sign(fields))).status_code == 204
    assert hook.sns.fetched == [CERTIFICATE]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 60_000])
async def test_what_is_no_message_of_sns_is_refused(hook: Hook, body: bytes) -> None:
    assert (await hook.post(body)).status_code == 400


async def test_a_body_larger_than_any_of_sns_is_refused(hook: Hook) -> None:
    assert (await hook.post(b"x" * 600_000)).status_code == 413


async def test_there_is_no_such_path_where_no_topic_is_set(hook: Hook) -> None:
    without = replace(hook, app=hook.site.app)
    assert (await without.send(signer().sign(bounce()))).status_code == 404
