"""An Amazon SNS of our own: signs messages, and has the certificate at the address that it names."""

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from controlplane.errors import ProviderUnavailable

TOPIC = "arn:aws:sns:eu-west-1:111122223333:mail-events"
HOST = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE = f"{HOST}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
BOUNCE = {"bounceType": "Permanent", "bounceSubType": "General"}

# As AWS's documentation tells it, and not as the code under test has it.
_ORDER = {
    "Notification": "Message MessageId Subject Timestamp TopicArn Type",
    "SubscriptionConfirmation": "Message MessageId SubscribeURL Timestamp Token TopicArn Type",
    "UnsubscribeConfirmation": "Message MessageId SubscribeURL Timestamp Token TopicArn Type",
}


@dataclass(frozen=True)
class Signer:
    """A key and its self-made certificate."""

    key: rsa.RSAPrivateKey = field(repr=False)
    pem: bytes = field(repr=False)

    def sign(self, fields: dict[str, str]) -> dict[str, str]:
        names = [name for name in _ORDER[fields["Type"]].split() if name in fields]
        text = "".join(f"{name}\n{fields[name]}\n" for name in names)
        signature = self.key.sign(text.encode(), PKCS1v15(), SHA256())
        return {
            **fields,
            "SignatureVersion": "2",
            "Signature": base64.b64encode(signature).decode(),
            "SigningCertURL": CERTIFICATE,
        }


@cache
def signer(name: str = "sns.amazonaws.com", *, days: int = 30) -> Signer:
    """The same one for the same name; with `days` below zero, its certificate has expired."""
    key = rsa.generate_private_key(65_537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, SHA256())
    )
    return Signer(key, certificate.public_bytes(Encoding.PEM))


@dataclass
class Sns:
    """What can be fetched, and what was. Anything else is not there."""

    pages: dict[str, bytes] = field(default_factory=lambda: {CERTIFICATE: signer().pem})
    fetched: list[str] = field(default_factory=list)

    async def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        if url not in self.pages:
            raise ProviderUnavailable("status 404.")
        return self.pages[url]


def notification(message: str, **changes: str) -> dict[str, str]:
    """The fields that are signed."""
    return {
        "Type": "Notification",
        "MessageId": str(uuid4()),
        "TopicArn": TOPIC,
        "Message": message,
        "Timestamp": stamp(),
        **changes,
    }


def confirmation(kind: str = "SubscriptionConfirmation", **changes: str) -> dict[str, str]:
    token = "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92"  # noqa: S105  no secret
    return {
        "Type": kind,
        "MessageId": str(uuid4()),
        "TopicArn": TOPIC,
        "Message": "You have chosen to subscribe to the topic.\nTo confirm, visit the SubscribeURL.",
        "Timestamp": stamp(),
        "Token": token,
        "SubscribeURL": subscribe_url(token),
        **changes,
    }


def subscribe_url(token: str, *, topic: str = TOPIC, host: str = HOST) -> str:
    query = {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token}
    return f"{host}/?{urlencode(query)}"


def stamp(*, ago: timedelta = timedelta()) -> str:
    at = datetime.now(UTC) - ago
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ses_event(kind: str, provider_id: str, *, tag: str | None = None, **details: Any) -> str:
    """As SES's event publishing tells it."""
    tags = {"ses:configuration-set": ["mail"]}
    mail = {
        "timestamp": "2026-11-22T02:40:00.000Z",
        "source": "no-reply@example.com",
        "messageId": provider_id,
        "destination": ["ada@acme.test"],
        "tags": tags if tag is None else {**tags, "controlplane-mail": [tag]},
    }
    return json.dumps({"eventType": kind, "mail": mail, kind.lower(): details})
