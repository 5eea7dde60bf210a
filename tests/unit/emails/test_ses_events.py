"""SES's words as events of ours: what counts is kept, and nothing personal."""

import json
from datetime import UTC, datetime

import pytest

from controlplane.domain.mail import Fate, MailEvent
from controlplane_emails.ses_events import parse_event
from controlplane_emails.ses_tag import tag_of
from tests.sns import ses_event

AT = datetime(2026, 11, 22, 2, 41, tzinfo=UTC)


def test_a_bounce_says_which_mail_and_why_and_quotes_no_diagnosis() -> None:
    text = ses_event(
        "Bounce",
        "ses-1",
        tag="mail-1@example.test",
        bounceType="Permanent",
        bounceSubType="General",
        bouncedRecipients=[
            {
                "emailAddress": "ada@acme.test",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 <ada@acme.test> unknown",
            }
        ],
        timestamp="2026-11-22T02:41:00.000Z",
    )
    wanted = MailEvent(
        Fate.BOUNCED, "ses-1", "mail-1@example.test", AT, "Permanent, General, 5.1.1", for_good=True
    )
    assert parse_event(text) == wanted


def test_a_feedback_notification_is_understood_as_well() -> None:
    told = json.loads(ses_event("Complaint", "ses-1", complaintFeedbackType="abuse"))
    told["notificationType"] = told.pop("eventType")
    del told["mail"]["tags"]
    event = parse_event(json.dumps(told))
    assert event is not None
    assert (event.fate, event.message_id, event.reason) == (Fate.COMPLAINED, None, "abuse")


@pytest.mark.parametrize("kind", ["Undetermined", "Transient", "permanent", None])
def test_only_a_permanent_bounce_is_for_good(kind: str | None) -> None:
    event = parse_event(ses_event("Bounce", "ses-1", bounceType=kind))
    assert event is not None
    assert not event.for_good


@pytest.mark.parametrize("word", ["ada@acme.test", "a\nb", "x" * 41, 7, ["General"], "Söhne"])
def test_a_word_that_is_not_one_of_ses_is_left_out(word: object) -> None:
    event = parse_event(ses_event("Bounce", "ses-1", bounceType="Transient", bounceSubType=word))
    assert event is not None
    assert event.reason == "Transient"


@pytest.mark.parametrize("message_id", ["<a+b@example.test>", "<" + "a" * 300 + "@example.test>"])
def test_a_tag_is_what_ses_takes(message_id: str) -> None:
    tag = tag_of(message_id)
    assert len(tag) <= 256
    assert "+" not in tag
