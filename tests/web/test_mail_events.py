"""What becomes of mails after SES has taken them, told by SNS; nobody else is believed."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from controlplane.domain.mail import Fate
from controlplane.web.app import create_app
from controlplane_emails.sns_topic import SnsTopic
from tests.database import Server, fresh_database
from tests.sns import (
    CERTIFICATE,
    HOST,
    TOPIC,
    Sns,
    confirmation,
    notification,
    ses_event,
    signer,
    stamp,
    subscribe_url,
)
from tests.web.calls import TENANTS, Site, new_tenant, open_site
from tests.web.test_metrics import scraped

pytestmark = pytest.mark.anyio

PATH = "/api/webhooks/ses"
OTHER_TOPIC = TOPIC.replace("111122223333", "999988887777")
STRANGER = "https://sns.evil.example"
BOUNCE = {"bounceType": "Permanent", "bounceSubType": "General"}
SOFT = {"bounceType": "Transient", "bounceSubType": "MailboxFull"}


class CurrentTopic(SnsTopic):
    """The topic of the test that runs: an application takes longer to make."""

    current: SnsTopic

    async def receive(self, body: bytes, now: datetime) -> str | None:
        return await self.current.receive(body, now)


@dataclass
class Hook:
    """The webhook and two tenants, each with a welcome mail that was sent."""

    site: Site
    tenants: tuple[str, str]
    topic: "CurrentTopic"
    app: Any
    sns: Sns = field(default_factory=Sns)

    async def send(self, signed: dict[str, str], **changes: Any) -> httpx.Response:
        """Send the message as SNS does; a change to None leaves the field out."""
        body = {k: v for k, v in {**signed, **changes}.items() if v is not None}
        return await self.post(json.dumps(body).encode())

    async def post(self, body: bytes) -> httpx.Response:
        headers = {"content-type": "text/plain; charset=UTF-8"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1"
        ) as client:
            return await client.post(PATH, content=body, headers=headers)

    async def tell(self, kind: str, *, tag: str | None = None, **details: Any) -> None:
        """An event of the first tenant's mail, signed."""
        event = ses_event(kind, "ses-1", tag=tag, **details)
        answer = await self.send(signer().sign(notification(event)))
        assert (answer.status_code, answer.content) == (204, b"")

    async def sql(self, statement: str, **values: Any) -> Any:
        async with self.site.parts.owner.begin() as conn:
            result = await conn.execute(text(statement), values)
            return result.all() if result.returns_rows else None

    async def world(self) -> list[str]:
        """Every mail and every tenant."""
        rows = await self.sql(
            "SELECT to_jsonb(m)::text FROM public.email_deliveries m"
            " UNION ALL SELECT to_jsonb(t)::text FROM public.tenants t ORDER BY 1"
        )
        return [row[0] for row in rows]

    async def shown(self, tenant: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
        """A tenant's mail and its condition WelcomeSent, as the API shows them."""
        async with self.site.client() as client:
            body = (await client.get(f"{TENANTS}/{self.tenants[tenant]}")).json()
        (condition,) = (one for one in body["conditions"] if one["type"] == "WelcomeSent")
        return body["mails"][0], condition


@pytest.fixture(scope="module")
async def whole_hook(server: Server) -> AsyncIterator[Hook]:
    with fresh_database(server) as database:
        async with open_site(database, CONTROLPLANE_BODY_LIMIT_BYTES="1048576") as site:
            made = []
            async with site.working(), site.client() as client:
                for _ in range(2):
                    answer = await client.post(
                        TENANTS, json=new_tenant(), headers={"prefer": "wait=30"}
                    )
                    made.append(answer.headers["location"].rpartition("/")[2])
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


def bounce(**changes: str) -> dict[str, str]:
    return notification(ses_event("Bounce", "ses-1", **BOUNCE), **changes)


FORGED: dict[str, tuple[dict[str, str], dict[str, Any], int]] = {
    "signed with another key": (signer("evil").sign(bounce()), {}, 403),
    "signature of nothing": (signer().sign(bounce()), {"Signature": ""}, 403),
    "signature that is none": (signer().sign(bounce()), {"Signature": "%%"}, 400),
    "signature of another message": (signer().sign(notification("x")), bounce(), 403),
    "another message": (
        signer().sign(bounce()),
        {"Message": ses_event("Bounce", "ses-2", **BOUNCE)},
        403,
    ),
    "a subject that was not signed": (signer().sign(bounce()), {"Subject": "x"}, 403),
    "signature of version 1": (signer().sign(bounce()), {"SignatureVersion": "1"}, 403),
    "signature of no version": (signer().sign(bounce()), {"SignatureVersion": None}, 403),
    "another topic, signed by SNS": (signer().sign(bounce(TopicArn=OTHER_TOPIC)), {}, 403),
    "another topic's message under our topic": (
        signer().sign(bounce(TopicArn=OTHER_TOPIC)),
        {"TopicArn": TOPIC},
        403,
    ),
    "replayed after hours": (
        signer().sign(bounce(Timestamp=stamp(ago=timedelta(hours=3)))),
        {},
        403,
    ),
    "replayed with a new time": (
        signer().sign(bounce(Timestamp=stamp(ago=timedelta(hours=3)))),
        {"Timestamp": stamp()},
        403,
    ),
    "from the future": (signer().sign(bounce(Timestamp=stamp(ago=-timedelta(hours=1)))), {}, 403),
    "time without a zone": (signer().sign(bounce(Timestamp="2026-11-22T02:40:00")), {}, 400),
    "time that is none": (signer().sign(bounce(Timestamp="now")), {}, 400),
    "type that is none": (signer().sign(bounce()), {"Type": "Notice"}, 400),
    "type of another kind": (signer().sign(bounce()), {"Type": ["Notification"]}, 400),
    "line break in an id": (signer().sign(bounce(MessageId="1\nSubject\nx")), {}, 400),
    **{
        f"without {name}": (signer().sign(bounce()), {name: None}, 400)
        for name in (
            *("Type", "MessageId", "TopicArn", "Message", "Timestamp"),
            *("Signature", "SigningCertURL"),
        )
    },
    **{
        f"certificate at {url}": (signer().sign(bounce()), {"SigningCertURL": url}, 403)
        for url in (
            CERTIFICATE.replace("https:", "http:"),
            CERTIFICATE.replace(HOST, STRANGER),
            CERTIFICATE.replace(HOST, "https://sns.eu-west-1.amazonaws.com.evil.example"),
            CERTIFICATE.replace(HOST, "https://evil.example/sns.eu-west-1.amazonaws.com"),
            CERTIFICATE.replace(HOST, "https://sns.eu-west-1.amazonaws.com@evil.example"),
            CERTIFICATE.replace(HOST, "https://sns.eu-west-1.amazonaws.com:8443"),
            CERTIFICATE.replace(HOST, "https://evil.example\\@sns.eu-west-1.amazonaws.com"),
            CERTIFICATE.replace(HOST, "https://s3.eu-west-1.amazonaws.com"),
            CERTIFICATE.replace(HOST, "https://sns.a.b.amazonaws.com"),
            CERTIFICATE.replace(HOST, "https://sns.s3.amazonaws.com"),
            CERTIFICATE.replace(HOST, "https://sns.s3-us-west-2.amazonaws.com"),
            CERTIFICATE.replace(HOST, "https://sns.s3-website-us-east-1.amazonaws.com"),
            CERTIFICATE + "?x=1",
            CERTIFICATE + "#x",
            f"{HOST}/evil/../{CERTIFICATE.rpartition('/')[2]}",
            f"{HOST}/certificate.pem",
            "https://[",
            "",
        )
    },
}


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
