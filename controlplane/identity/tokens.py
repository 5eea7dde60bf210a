"""Signed tokens of tenants' users and API clients: JWTs with HS256, one key for the installation."""

import time
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import timedelta
from typing import Literal
from uuid import UUID, uuid4

import msgspec
from joserfc import jwt
from joserfc.errors import ExpiredTokenError, JoseError
from joserfc.jwk import OctKey
from joserfc.jwt import JWTClaimsRegistry

from controlplane.domain.principals import Principal, PrincipalKind
from controlplane.errors import AuthenticationRequired

LONGEST = timedelta(days=1)
_ISSUER = "controlplane"
# Between the clock of whoever issued it and ours.
_LEEWAY_S = 5
_ALGORITHM: Literal["HS256"] = "HS256"
_TYPE: Literal["at+jwt"] = "at+jwt"


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    """All that a header may say. A key, a place to fetch one from, a name to look one up by or an
    extension that must be understood would let whoever presents a token say how it is verified."""

    alg: Literal["HS256"]
    typ: Literal["at+jwt"]


class _Claims(msgspec.Struct):
    sub: UUID
    tid: UUID
    roles: list[str]
    kind: PrincipalKind
    iat: float
    exp: float


class SignedTokens:
    """Verifies tokens, and issues them for trials and tests. `audience` is the base domain, so that
    a token of one installation is worth nothing at another one.

    `key` is at least 32 bytes long; `now` gives seconds since 1970.
    """

    def __init__(self, key: bytes, *, audience: str, now: Callable[[], float] = time.time) -> None:
        self._key = OctKey.import_key(key)
        self._audience = audience
        self._now = now
        self._registry = JWTClaimsRegistry(
            now=lambda: int(now()),
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": _ISSUER},
            aud={"essential": True, "value": audience},
            iat={"essential": True},
            exp={"essential": True},
        )

    def verify(self, token: str, /) -> Principal:
        """Who it speaks for. Raises AuthenticationRequired."""
        try:
            _check_header(token)
            decoded = jwt.decode(token, self._key, algorithms=[_ALGORITHM])
            self._registry.validate(decoded.claims)
            claims = msgspec.convert(decoded.claims, _Claims)
        except ExpiredTokenError as error:
            raise AuthenticationRequired("The token has expired; get a new one.") from error
        except (JoseError, msgspec.MsgspecError, ValueError) as error:
            raise _refused() from error
        if claims.exp - claims.iat > LONGEST.total_seconds():
            raise _refused()
        return Principal(claims.sub, claims.tid, frozenset(claims.roles), claims.kind)

    def issue(self, principal: Principal, *, lifetime: timedelta) -> str:
        """A token that is good for so long. Raises ValueError above LONGEST."""
        if not timedelta() < lifetime <= LONGEST:
            raise ValueError(f"A token lives for at most {LONGEST}.")
        now = int(self._now())
        claims = {
            "iss": _ISSUER,
            "aud": self._audience,
            "sub": str(principal.id),
            "tid": str(principal.tenant_id),
            "roles": sorted(principal.roles),
            "kind": principal.kind,
            "jti": uuid4().hex,
            "iat": now,
            "exp": now + int(lifetime.total_seconds()),
        }
        return jwt.encode({"alg": _ALGORITHM, "typ": _TYPE}, claims, self._key)


class NoTokens:
    """Verifies nothing: there is no key, and what cannot be verified is not believed."""

    def verify(self, _token: str, /) -> Principal:
        """Raises AuthenticationRequired."""
        raise AuthenticationRequired(
            "No token is accepted here: the operator has not set CONTROLPLANE_TENANT_TOKEN_KEY."
        )


def _check_header(token: str) -> None:
    """Raises ValueError or msgspec's errors. Before the library reads it: a header is the one part
    that is looked at before the signature is."""
    encoded = token.partition(".")[0].encode("ascii")
    header = urlsafe_b64decode(encoded + b"=" * (-len(encoded) % 4))
    msgspec.json.decode(header, type=_Header)


def _refused() -> AuthenticationRequired:
    return AuthenticationRequired("This token is not accepted here; sign in at this host.")
