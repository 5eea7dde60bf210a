"""Whose bearer token a request on a tenant's host carries: pure ASGI, inside the routing layer."""

from collections.abc import Callable
from uuid import UUID

from controlplane.domain.principals import Principal
from controlplane.errors import AuthenticationRequired
from controlplane.ports import PrincipalVerifier
from controlplane.routing import Asked
from controlplane.web.asgi import ASGIApp, Receive, Scope, Send
from controlplane.web.auth import bearer_of

PRINCIPAL = "principal"
REFUSAL = "refusal"


class Principals:
    """Calls `app` with the Principal, or None, in `scope["state"]["principal"]`.

    None is nobody: there is no bearer token, or it is not good. Then `scope["state"]["refusal"]` is
    the AuthenticationRequired to answer with, which is left to `app`, so that layers in between
    (the rate limit) see bad tokens too; it is None otherwise. A principal is one of the tenant in
    `scope["state"]["tenant"]`: TenantMiddleware has refused others by `spoken_for`.
    """

    def __init__(self, app: ASGIApp, *, verifier: PrincipalVerifier) -> None:
        self._app = app
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            principal, refusal = self._heard(scope)
            state = {**scope["state"], PRINCIPAL: principal, REFUSAL: refusal}
            scope = {**scope, "state": state}
        await self._app(scope, receive, send)

    def _heard(self, scope: Scope) -> tuple[Principal | None, AuthenticationRequired | None]:
        token = bearer_of(scope["headers"])
        if not token:
            return None, None
        try:
            principal = self._verifier.verify(token)
        except AuthenticationRequired as refusal:
            return None, refusal
        if principal.tenant_id != scope["state"]["tenant"].id:
            return None, AuthenticationRequired("This token is not accepted here.")
        return principal, None


def spoken_for(verifier: PrincipalVerifier) -> Callable[[Asked], UUID | None]:
    """For TokenClaim: the tenant of a good token. One that is not good claims nothing, or anybody
    could have a violation told of any tenant; `Principals` refuses it."""

    def claimed(asked: Asked) -> UUID | None:
        token = bearer_of(asked.headers)
        if not token:
            return None
        try:
            return verifier.verify(token).tenant_id
        except AuthenticationRequired:
            return None

    return claimed
