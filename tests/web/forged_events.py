"""Messages that look as if SNS had sent them, and did not."""

from datetime import timedelta
from typing import Any

from tests.sns import (
    BOUNCE,
    CERTIFICATE,
    HOST,
    TOPIC,
    notification,
    ses_event,
    signer,
    stamp,
)

OTHER_TOPIC = TOPIC.replace("111122223333", "999988887777")
STRANGER = "https://sns.evil.example"


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
