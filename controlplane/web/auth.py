"""Who may call the admin API: bearers of a global admin's token, by role and scope."""

from collections.abc import Iterable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from controlplane.errors import AuthenticationRequired, PermissionDenied
from controlplane.store.admin_tables import AdminRole
from controlplane.store.admins import Principal, Scope, principal_of
from controlplane.wiring import Parts

_READING = frozenset({"GET", "HEAD"})


async def admins_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard. Raises AuthenticationRequired or PermissionDenied; sets the connection's user."""
    token = bearer(connection)
    parts: Parts = connection.app.state.parts
    async with parts.control.begin() as conn:
        principal = await principal_of(conn, token)
    if principal is None:
        raise AuthenticationRequired("Send 'Authorization: Bearer <token>' with a valid token.")
    needed = Scope.READ if connection.scope.get("method") in _READING else Scope.WRITE
    if needed not in allowed_scopes(principal):
        raise PermissionDenied(f"This needs a token that may {needed}, of a role that may, too.")
    connection.scope["user"] = principal


def super_admins_only(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard for what cannot be undone; comes after `admins_only`. Raises PermissionDenied."""
    if connection.user.role is not AdminRole.SUPER_ADMIN:
        raise PermissionDenied("This needs a token of an admin whose role is super_admin.")


def allowed_scopes(principal: Principal) -> frozenset[Scope]:
    """What the token allows and the role does not forbid."""
    role = {Scope.READ} if principal.role is AdminRole.SUPPORT else set(Scope)
    return principal.scopes & role


def bearer(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The token; empty where there is none, or more than one header."""
    return bearer_of(connection.scope["headers"])


def bearer_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The token in the headers of a request; empty where there is none, or more than one header."""
    given = [value for name, value in headers if name.lower() == b"authorization"]
    scheme, _, token = (
        given[0].decode("latin-1").partition(" ") if len(given) == 1 else ("", "", "")
    )
    return token.strip() if scheme.lower() == "bearer" else ""
