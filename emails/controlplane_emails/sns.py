"""Messages of Amazon SNS, believed only where SNS has signed them. Pure.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message-verify-message-signature.html
"""

import base64
import binascii
import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from controlplane.errors import InvalidRequest, SignatureInvalid

NOTIFICATION = "Notification"
SUBSCRIPTION = "SubscriptionConfirmation"
UNSUBSCRIPTION = "UnsubscribeConfirmation"

# A region, and nothing that might be one: sns.s3.amazonaws.com is a bucket named "sns", anybody's.
_HOST = re.compile(r"sns\.[a-z]{2}(-[a-z]+)+-[0-9]+\.amazonaws\.com(\.cn)?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]{1,64}\.pem")
_CONFIRMING = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
# In this order they are signed; Subject only where there is one.
_SIGNED = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    SUBSCRIPTION: _CONFIRMING,
    UNSUBSCRIPTION: _CONFIRMING,
}
_OPTIONAL = "Subject"
# What may hold line breaks; anywhere else they could make one signed text of two messages.
_FREE = ("Message", "Subject")
# SNS tries for an hour; a message that comes later is somebody's copy.
_OLDEST = timedelta(hours=2)
_AHEAD = timedelta(minutes=5)


@dataclass(frozen=True)
class SnsMessage:
    """A message as it came, not believed yet. `fields` are its signed ones."""

    type: str
    fields: dict[str, str]
    signature: bytes
    certificate_url: str

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Raises InvalidRequest for what is no message of SNS, SignatureInvalid for a signature of
        another kind or a certificate that is not SNS's own."""
        told = _object(body)
        kind = told.get("Type")
        if not isinstance(kind, str) or kind not in _SIGNED:
            raise InvalidRequest("This is no message of Amazon SNS.")
        fields = _fields(kind, told)
        if told.get("SignatureVersion") != "2":
            raise SignatureInvalid("Set the topic's SignatureVersion to 2, which is SHA-256.")
        return cls(kind, fields, _signature(told), _certificate_url(told))

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        return "".join(
            f"{name}\n{self.fields[name]}\n" for name in _SIGNED[self.type] if name in self.fields
        ).encode()

    def check_topic(self, arn: str) -> None:
        """Raises SignatureInvalid for another topic's message."""
        if self.fields["TopicArn"] != arn:
            raise SignatureInvalid("This message is of another topic.")

    def check_age(self, now: datetime) -> None:
        """Raises SignatureInvalid for a message that was signed too long ago, or is to be."""
        try:
            at = datetime.fromisoformat(self.fields["Timestamp"])
            age = now - at
        except (ValueError, TypeError) as error:
            raise InvalidRequest("The Timestamp is none.") from error
        if not -_AHEAD <= age <= _OLDEST:
            raise SignatureInvalid("This message was not sent just now.")

    def check_signature(self, certificate: x509.Certificate, now: datetime) -> None:
        """Raises SignatureInvalid."""
        key = certificate.public_key()
        valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
        if not valid or not isinstance(key, RSAPublicKey):
            raise SignatureInvalid("The certificate of this message is not valid now.")
        try:
            key.verify(self.signature, self.signed, PKCS1v15(), SHA256())
        except InvalidSignature as error:
            raise SignatureInvalid("The signature of this message is not SNS's.") from error

    def confirmation_url(self) -> str:
        """Where a subscription is confirmed. Raises SignatureInvalid where that is not at SNS, or is
        another subscription's."""
        url = self.fields["SubscribeURL"]
        query = parse_qs(urlsplit(url).query)
        wanted = {
            "Action": ["ConfirmSubscription"],
            "TopicArn": [self.fields["TopicArn"]],
            "Token": [self.fields["Token"]],
        }
        if not _at_sns(url) or any(query.get(name) != value for name, value in wanted.items()):
            raise SignatureInvalid("The SubscribeURL does not confirm this subscription at SNS.")
        return url


def _object(body: bytes) -> dict[str, object]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not JSON.") from error
    if not isinstance(told, dict):
        raise InvalidRequest("This is no message of Amazon SNS.")
    return told


def _fields(kind: str, told: dict[str, object]) -> dict[str, str]:
    fields = {}
    for name in _SIGNED[kind]:
        if name == _OPTIONAL and name not in told:
            continue
        value = told.get(name)
        if not isinstance(value, str) or not (name in _FREE or value.isprintable()):
            raise InvalidRequest(f"The message lacks a sound {name}.")
        fields[name] = value
    return fields


def _signature(told: dict[str, object]) -> bytes:
    try:
        return base64.b64decode(str(told["Signature"]), validate=True)
    except (KeyError, binascii.Error, ValueError) as error:
        raise InvalidRequest("The message lacks a sound Signature.") from error


def _certificate_url(told: dict[str, object]) -> str:
    url = told.get("SigningCertURL")
    if not isinstance(url, str):
        raise InvalidRequest("The message lacks a sound SigningCertURL.")
    if not _at_sns(url) or not _CERTIFICATE.fullmatch(urlsplit(url).path) or "?" in url:
        raise SignatureInvalid("The SigningCertURL is not one of SNS.")
    return url


def _at_sns(url: str) -> bool:
    """Over https, and at a host of SNS by its plain name: no port, no login."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and "\\" not in url and not parts.fragment
    return plain and parts.scheme == "https" and bool(_HOST.fullmatch(parts.netloc))
