"""Tokens of a tenant that must be refused, each made by one trick from what would be a good one."""

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import msgspec
from joserfc import jwe, jws, jwt
from joserfc.jwk import OctKey, OKPKey, RSAKey

AUDIENCE = "apps.example.test"
KEY = b"a key of the tests and no others"
_OTHER_KEY = b"a key that somebody else has made"
_HEADER = {"alg": "HS256", "typ": "at+jwt"}


def claims(tenant_id: UUID, **changes: Any) -> dict[str, Any]:
    """Those of a good token of the tenant's admin; a change to None leaves one out."""
    now = int(time.time())
    made = {
        "iss": "controlplane",
        "aud": AUDIENCE,
        "sub": str(uuid4()),
        "tid": str(tenant_id),
        "roles": ["tenant_admin"],
        "kind": "user",
        "iat": now,
        "exp": now + 300,
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def signed(payload: dict[str, Any], *, key: bytes = KEY, **header: Any) -> str:
    """The claims, signed with HS256 or what the header says instead."""
    wanted = {**_HEADER, **header}
    registry = jws.JWSRegistry(algorithms=[wanted["alg"]], strict_check_header=False)
    return jwt.encode(wanted, payload, OctKey.import_key(key), registry=registry)


def _part(value: Any) -> str:
    content = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _unsigned(tenant_id: UUID, algorithm: str) -> str:
    return f"{_part({**_HEADER, 'alg': algorithm})}.{_part(claims(tenant_id))}."


def _crafted(tenant_id: UUID, header: bytes) -> str:
    """With a header that no library would write, and a signature that fits it."""
    signing = f"{_part(header)}.{_part(claims(tenant_id))}"
    algorithm = jws.JWSRegistry.algorithms["HS256"]
    signature = algorithm.sign(signing.encode(), OctKey.import_key(KEY))
    return f"{signing}.{_part(signature)}"


def _asymmetric(tenant_id: UUID, algorithm: str, key: OKPKey | RSAKey) -> str:
    return jwt.encode({**_HEADER, "alg": algorithm}, claims(tenant_id), key, [algorithm])


@cache
def _rsa_key() -> RSAKey:
    return RSAKey.generate_key(2048)


def _signed_by_its_own_key(tenant_id: UUID) -> str:
    key = OKPKey.generate_key("Ed25519")
    header = {**_HEADER, "alg": "Ed25519", "jwk": key.as_dict(private=False)}
    return jwt.encode(header, claims(tenant_id), key, ["Ed25519"])


def _encrypted(tenant_id: UUID) -> str:
    header = {"alg": "dir", "enc": "A256GCM", "typ": "at+jwt"}
    registry = jwe.JWERegistry(algorithms=["dir", "A256GCM"])
    return jwt.encode(header, claims(tenant_id), OctKey.import_key(KEY), registry=registry)


def _spliced(tenant_id: UUID) -> str:
    """The claims of one token under the signature of another one."""
    head, _, signature = signed(claims(uuid4())).split(".")
    return f"{head}.{_part(claims(tenant_id))}.{signature}"


def _dated(tenant_id: UUID, **seconds: int) -> str:
    now = int(time.time())
    return signed(claims(tenant_id, **{name: now + offset for name, offset in seconds.items()}))


BAD: dict[str, Callable[[UUID], str]] = {
    "nonsense": lambda _: "nonsense",
    "empty parts": lambda _: "..",
    "an admin's token": lambda _: f"cp_{'0' * 38}",
    "alg none": lambda t: _unsigned(t, "none"),
    "alg None": lambda t: _unsigned(t, "None"),
    "HS256 without a signature": lambda t: _unsigned(t, "HS256"),
    "another HMAC": lambda t: signed(claims(t), alg="HS512"),
    "another's key": lambda t: signed(claims(t), key=_OTHER_KEY),
    "an RSA key": lambda t: _asymmetric(t, "RS256", _rsa_key()),
    "an Ed25519 key": lambda t: _asymmetric(t, "Ed25519", OKPKey.generate_key("Ed25519")),
    "a key that it brings along": _signed_by_its_own_key,
    "a key to be fetched": lambda t: signed(claims(t), jku="https://evil.test/keys"),
    "a kid that is a path": lambda t: signed(claims(t), kid="../../../dev/null"),
    "a kid that is SQL": lambda t: signed(claims(t), kid="' OR '1'='1"),
    "an empty kid": lambda t: signed(claims(t), kid=""),
    "a certificate to be fetched": lambda t: signed(claims(t), x5u="https://evil.test/x"),
    "a critical extension": lambda t: _crafted(
        t, b'{"alg":"HS256","typ":"at+jwt","crit":["exp"],"exp":1}'
    ),
    "an unencoded payload": lambda t: _crafted(t, b'{"alg":"HS256","typ":"at+jwt","b64":false}'),
    "alg twice": lambda t: _crafted(t, b'{"alg":"HS256","typ":"at+jwt","alg":"none"}'),
    "alg as a list": lambda t: _crafted(t, b'{"alg":["HS256"],"typ":"at+jwt"}'),
    "a header that is a list": lambda t: _crafted(t, b'["HS256"]'),
    "a header that is deep": lambda t: _crafted(t, b"[" * 100_000),
    "another type": lambda t: signed(claims(t), typ="JWT"),
    "a refresh token": lambda t: signed(claims(t), typ="rt+jwt"),
    "no type": lambda t: _crafted(t, b'{"alg":"HS256"}'),
    "encrypted": _encrypted,
    "another's signature": _spliced,
    "a signature cut short": lambda t: signed(claims(t))[:-1],
    "a fourth part": lambda t: f"{signed(claims(t))}.x",
    "two in one": lambda t: f"{signed(claims(t))} {signed(claims(t))}",
    "expired": lambda t: _dated(t, iat=-600, exp=-300),
    "not yet valid": lambda t: _dated(t, nbf=120),
    "issued in the future": lambda t: _dated(t, iat=120, exp=300),
    "good for years": lambda t: _dated(t, exp=10**8),
    "good for ever": lambda t: signed(claims(t, exp=None)),
    "of unknown age": lambda t: signed(claims(t, iat=None)),
    "an end that is text": lambda t: signed(claims(t, exp="2999-01-01")),
    "an end that is no number": lambda t: signed(claims(t, exp=float("nan"))),
    "another audience": lambda t: signed(claims(t, aud="apps.example.com")),
    "no audience": lambda t: signed(claims(t, aud=None)),
    "another issuer": lambda t: signed(claims(t, iss="https://evil.test")),
    "a list of issuers": lambda t: signed(claims(t, iss=["controlplane", "evil"])),
    "no issuer": lambda t: signed(claims(t, iss=None)),
    "no tenant": lambda t: signed(claims(t, tid=None)),
    "a tenant that is no id": lambda t: signed(claims(t, tid="acme")),
    "nobody": lambda t: signed(claims(t, sub=None)),
    "a subject that is SQL": lambda t: signed(claims(t, sub="' OR '1'='1")),
    "no roles": lambda t: signed(claims(t, roles=None)),
    "roles that are text": lambda t: signed(claims(t, roles="tenant_admin")),
    "an unknown kind": lambda t: signed(claims(t, kind="operator")),
    "claims that are a list": lambda _: jws.serialize_compact(
        _HEADER, b"[]", OctKey.import_key(KEY), ["HS256"]
    ),
}
