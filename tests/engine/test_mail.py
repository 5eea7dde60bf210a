"""The outbox: at most one automatic mail, never in the way of an operation."""

import hashlib
import re
from datetime import UTC, datetime

import pytest

from controlplane.domain.mail import DeliveryState, Fate, MailEvent, Message
from controlplane.errors import ProviderRefused, ProviderUnavailable, SendUncertain
from controlplane.provisioning import lifecycle
from controlplane.store import mail_events
from controlplane.tenancy.scope import tenant_scope
from controlplane_emails.memory import Fault
from controlplane_emails.ses import SesSender
from tests.engine.lab import ACTOR, environment, open_lab
from tests.engine.world import assert_world
from tests.http_proxy import HttpProxy
from tests.http_server import Fault as Answer

pytestmark = [pytest.mark.anyio]


async def accepted(lab, subdomain="acme"):
    operation = await lab.settle(await lab.create(subdomain))
    return operation.tenant_id


async def mail_of(lab, tenant_id):
    (row,) = await lab.sql(
        "SELECT * FROM public.email_deliveries WHERE tenant_id = :id", id=tenant_id
    )
    return row


async def tokens(lab, tenant_id):
    async with lab.parts.owner.connect() as conn, tenant_scope(conn, tenant_id):
        rows = await conn.exec_driver_sql(
            "SELECT token_hash, revoked_at IS NULL AS live FROM secure_tokens ORDER BY created_at"
        )
        return [(bytes(row.token_hash), row.live) for row in rows]


def link_in(message: Message) -> str:
    link: str
    (link,) = set(re.findall(r"http\S+#token=[\w-]+", message.text))
    return link


async def test_the_welcome_mail_brings_a_link_whose_token_is_stored_as_a_hash_only(lab):
    tenant_id = await lab.active("acme")

    message = lab.sender.sent[-1]
    link = link_in(message)
    token = link.partition("#token=")[2]
    assert link.startswith("https://acme.apps.test/")
    assert message.to == "ada@acme.test"
    assert await tokens(lab, tenant_id) == [(hashlib.sha256(token.encode()).digest(), True)]
    everything = await lab.sql("SELECT e::text FROM public.email_deliveries e")
    assert not any(token in row[0] for row in everything)
    assert token not in repr(message)


async def test_an_operation_ends_whatever_becomes_of_its_mail(lab):
    lab.sender.faults.append(Fault(ProviderRefused("no such mailbox")))
    tenant_id = await accepted(lab)

    assert await lab.mailroom().deliver_one()

    mail = await mail_of(lab, tenant_id)
    assert (mail.state, mail.last_error["code"]) == ("failed", "provider_refused")
    world = await assert_world(lab)
    assert world.tenants[tenant_id].state == "active"
    assert world.tenants[tenant_id].conditions["WelcomeSent"]["reason"] == "failed"


async def test_a_mail_that_was_surely_not_taken_is_sent_later_with_a_new_token(lab):
    lab.sender.faults.append(Fault(ProviderUnavailable("greylisted"), times=2))
    tenant_id = await accepted(lab)
    mailroom = lab.mailroom()

    for _ in range(3):
        assert await mailroom.deliver_one()

    mail = await mail_of(lab, tenant_id)
    assert (mail.state, mail.attempt) == ("sent", 3)
    assert [live for _, live in await tokens(lab, tenant_id)] == [False, False, True]
    assert len([m for m in lab.sender.sent if m.to == "ada@acme.test"]) == 1


async def test_a_provider_that_asks_for_time_gets_it(lab):
    lab.sender.faults.append(Fault(ProviderUnavailable("busy", retry_after=900)))
    await accepted(lab)
    mailroom = lab.mailroom()
    mailroom.timing = type(mailroom.timing)()

    assert await mailroom.deliver_one()
    assert not await mailroom.deliver_one()
    (row,) = await lab.sql(
        "SELECT run_at > clock_timestamp() + interval '890 s' AS patient"
        " FROM public.email_deliveries WHERE state = 'queued'"
    )
    assert row.patient


@pytest.mark.parametrize("after_effect", [False, True])
async def test_a_mail_that_may_have_been_taken_is_never_sent_again(lab, after_effect):
    lab.sender.faults.append(Fault(SendUncertain("cut off"), after_effect=after_effect))
    tenant_id = await accepted(lab)
    mailroom = lab.mailroom()

    assert await mailroom.deliver_one()
    assert not await mailroom.deliver_one()
    assert (await mail_of(lab, tenant_id)).state == DeliveryState.UNCERTAIN


async def test_a_mail_is_given_up_after_its_day(lab):
    tenant_id = await accepted(lab)
    await lab.sql("UPDATE public.email_deliveries SET give_up_at = clock_timestamp()")

    assert await lab.mailroom().deliver_one()
    mail = await mail_of(lab, tenant_id)
    assert (mail.state, mail.last_error["code"]) == ("failed", "gave_up")


async def test_a_tenant_that_is_deleted_meanwhile_gets_no_mail(lab):
    tenant_id = await accepted(lab)
    before = len(lab.sender.sent)
    await lab.settle(await lab.delete(tenant_id))

    assert not await lab.mailroom().deliver_one()
    assert (await mail_of(lab, tenant_id)).state == "failed"
    assert len(lab.sender.sent) == before


async def test_a_mail_that_was_not_taken_while_its_tenant_was_deleted_is_given_up(lab):
    lab.sender.faults.append(Fault(ProviderUnavailable("not now")))
    tenant_id = await accepted(lab)
    mailroom = lab.mailroom()

    async def deleted_meanwhile(_name):
        await lab.settle(await lab.delete(tenant_id))

    mailroom.failpoint = deleted_meanwhile
    assert await mailroom.deliver_one()
    assert (await mail_of(lab, tenant_id)).state == "queued"
    assert await mailroom.deliver_one()
    mail = await mail_of(lab, tenant_id)
    assert (mail.state, mail.last_error["code"]) == ("failed", "tenant_deleted")


async def test_a_mail_that_cannot_be_rendered_ends_as_failed_and_not_the_loop(lab):
    tenant_id = await accepted(lab)
    mailroom = lab.mailroom()

    def broken(*_args):
        raise KeyError("a template's variable")

    mailroom.render = broken
    assert await mailroom.deliver_one()
    assert (await mail_of(lab, tenant_id)).state == "failed"
    assert await tokens(lab, tenant_id) == [], "its token was rolled back with it"


@pytest.mark.parametrize(("place", "files"), [("mail:after-intent", 0), ("mail:after-send", 1)])
async def test_a_sender_killed_between_intent_and_result_leaves_an_uncertain_mail(
    database,
    tmp_path,
    zygote,
    place,
    files,
):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        tenant_id = await accepted(lab)
        zygote.run_until_killed(environment(database, tmp_path), place)
        await lab.sql("UPDATE public.email_deliveries SET lease_expires_at = clock_timestamp()")

        assert await lab.mailroom().deliver_one()
        assert not await lab.mailroom().deliver_one()

        assert (await mail_of(lab, tenant_id)).state == "uncertain"
        assert len(list((tmp_path / "outbox").glob("*.eml"))) == files
        await assert_world(lab)


async def told(lab, fate, message, *, for_good=False):
    event = MailEvent(
        fate, "ses-1", message.message_id.strip("<>"), datetime.now(UTC), "General", for_good
    )
    async with lab.parts.control.begin() as conn:
        assert await mail_events.enter(conn, event) is not None


@pytest.mark.parametrize(
    ("fate", "for_good", "sent"),
    [
        (Fate.BOUNCED, True, 0),
        (Fate.COMPLAINED, False, 0),
        (Fate.BOUNCED, False, 1),
    ],
)
async def test_an_address_that_is_no_good_gets_no_mail_unless_somebody_asks_for_it(
    lab, fate, for_good, sent
):
    await lab.active("acme")
    await told(lab, fate, lab.sender.sent[-1], for_good=for_good)
    before = len(lab.sender.sent)
    other = (await lab.settle(await lab.create("initech", admin_email="ada@acme.test"))).tenant_id

    assert await lab.mailroom().deliver_one()
    assert len(lab.sender.sent) == before + sent
    mail = await mail_of(lab, other)
    if not sent:
        assert (mail.state, mail.last_error["code"]) == ("failed", "recipient_suppressed")
        async with lab.parts.control.begin() as conn:
            asked = await lifecycle.resend_welcome(conn, other, actor=ACTOR, deadline_s=300)
        await lab.settle(asked)
        assert await lab.mailroom().deliver_one()
        assert len(lab.sender.sent) == before + 1
    await assert_world(lab)


async def test_what_the_provider_tells_before_the_sender_does_stays(lab):
    tenant_id = await accepted(lab)

    async def visit(place):
        if place == "mail:after-send":
            await told(lab, Fate.BOUNCED, lab.sender.sent[-1], for_good=True)

    assert await lab.mailroom(failpoint=visit).deliver_one()
    assert not await lab.mailroom().deliver_one()
    assert (await mail_of(lab, tenant_id)).state == "bounced"
    world = await assert_world(lab)
    assert world.tenants[tenant_id].conditions["WelcomeSent"]["reason"] == "bounced"


async def test_a_refusal_by_the_sandbox_of_ses_is_a_condition_of_a_tenant_that_is_served(
    lab, monkeypatch
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-the-test")
    said = b'{"message": "Email address is not verified: ada@acme.test"}'
    rejected = Answer(400, {"x-amzn-ErrorType": "MessageRejected"}, said)
    tenant_id = await accepted(lab)
    async with HttpProxy("http://127.0.0.1:9") as ses:
        ses.faults.append(rejected)
        mailroom = lab.mailroom()
        mailroom.sender = SesSender(
            sender="a@example.com", timeout_s=30, region="eu-west-1", endpoint_url=ses.url
        )
        assert await mailroom.deliver_one()

    mail = await mail_of(lab, tenant_id)
    assert (mail.state, mail.last_error["code"]) == ("failed", "provider_refused")
    assert "sandbox" in mail.last_error["detail"]
    world = await assert_world(lab)
    assert world.tenants[tenant_id].state == "active"
    assert world.tenants[tenant_id].conditions["WelcomeSent"]["holds"] is False
