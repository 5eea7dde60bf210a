"""/api/tenant/settings"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, JSONBody
from msgspec import Meta, Struct

from controlplane.domain import tenant_settings
from controlplane.domain.principals import TenantRole
from controlplane.domain.tenant_settings import Change, Stored
from controlplane.errors import InvalidState
from controlplane.tenancy import kept_settings
from controlplane.tenancy.kept_settings import Author
from controlplane.web.api.headers import check_version
from controlplane.web.openapi import ETAG, TENANT_BEARER, problems
from controlplane.web.tenant.context import TenantContext, TenantRequest, members_only
from controlplane.wiring import Parts

Values = Annotated[
    dict[str, Any],
    Meta(
        description="Settings by key. null is the default; of a secret, that there is none.",
        examples=[{"branding.display_name": "Acme & Sons", "locale": "en-GB"}],
    ),
]
IfMatch = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="The ETag of the settings that the change is made from; `*` whatever they are."
        " Without it the answer is 428.",
    ),
]


class SettingsBody(Struct):
    """Every setting with its value; of each secret, whether it is set."""

    values: dict[str, Any]
    secrets: dict[str, bool]


class NewSettingsBody(Struct, forbid_unknown_fields=True):
    """What is to change; settings that are not named stay as they are."""

    values: Values


@get(
    "/settings",
    operation_id="getTenantSettings",
    summary="Show the tenant's settings",
    guards=[members_only(TenantRole.ADMIN)],
    security=TENANT_BEARER,
    response_headers=[ETAG],
    responses=problems(401, 403, 404, 429),
)
async def get_settings(
    request: TenantRequest, context: NamedDependency[TenantContext]
) -> Response[SettingsBody]:
    """Every setting with its value, secrets only by whether they are set."""
    async with request.tenancy.transaction(context.tenant) as conn:
        return _answer(await kept_settings.read(conn))


@put(
    "/settings",
    operation_id="changeTenantSettings",
    summary="Change the tenant's settings",
    guards=[members_only(TenantRole.ADMIN)],
    security=TENANT_BEARER,
    response_headers=[ETAG],
    responses=problems(401, 403, 404, 409, 412, 413, 415, 422, 428, 429),
)
async def change_settings(
    request: TenantRequest,
    context: NamedDependency[TenantContext],
    data: JSONBody[NewSettingsBody],
    if_match: IfMatch = None,
) -> Response[SettingsBody]:
    """Give the named settings their values, all or none of them. Whoever may read no secret cannot
    send it again, so settings that are not named stay as they are."""
    parts, author = request.parts, Author(context.member, context.ip, context.request_id)
    async with request.tenancy.transaction(context.tenant) as conn:
        stored = await kept_settings.read_to_change(conn)
        check_version(if_match, tenant_settings.version(stored))
        changes = tenant_settings.changes(stored, data.values)
        sealed = _sealed(parts, context, changes)
        await kept_settings.write(conn, changes, author=author, sealed=sealed)
        return _answer(await kept_settings.read(conn))


def _answer(stored: Mapping[str, Stored]) -> Response[SettingsBody]:
    body = SettingsBody(tenant_settings.plain(stored), tenant_settings.secrets(stored))
    return Response(body, headers={"etag": f'"{tenant_settings.version(stored)}"'})


def _sealed(parts: Parts, context: TenantContext, changes: Iterable[Change]) -> dict[str, bytes]:
    """By key, what is stored of the secrets that are set. Raises InvalidState without a key."""
    new = {c.setting.key: c.after for c in changes if c.setting.secret and c.after is not None}
    if new and parts.sealing is None:
        raise InvalidState(
            "No secret can be kept here: the operator has not set CONTROLPLANE_SECRETS_KEY."
        )
    return {
        key: parts.sealing.seal(text, tenant_id=context.tenant.id, name=key)
        for key, text in new.items()
        if parts.sealing is not None
    }
