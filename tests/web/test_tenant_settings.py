"""A tenant's settings at its host: read, changed one after the other, secret ones never told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg.errors import LockNotAvailable

from controlplane.errors import SecretUnsealable
from controlplane.tenancy import kept_settings
from controlplane.web.app import create_app
from tests.database import Server
from tests.web.members import ADMIN, MANAGER, USER, Members, open_members

pytestmark = pytest.mark.anyio

SETTINGS, INFO = "/api/tenant/settings", "/api/tenant/info"
SECRET = "webhook.signing_secret"  # noqa: S105  its name
HIDDEN = "hunter2-hunter2-hunter2"


@pytest.fixture(scope="module")
async def members(server: Server) -> AsyncIterator[Members]:
    async with open_members(server) as opened:
        yield opened


async def change(
    client: httpx.AsyncClient, values: Any, *, if_match: str | None = "*"
) -> httpx.Response:
    headers = {} if if_match is None else {"if-match": if_match}
    return await client.put(SETTINGS, json={"values": values}, headers=headers)


async def test_a_tenant_begins_with_the_seeds_settings_and_defaults(members: Members) -> None:
    async with members.at(members.globex, ADMIN) as client:
        answer = await client.get(SETTINGS)
    body = answer.json()
    assert answer.headers["etag"].startswith('"')
    assert body["values"]["timezone"] == "UTC"
    assert body["values"]["branding.logo_url"] == ""
    assert body["values"]["documents.max_megabytes"] == 25
    assert body["secrets"] == {SECRET: False}


async def test_a_change_is_there_afterwards_and_in_no_other_tenant(members: Members) -> None:
    async with members.at(members.globex, ADMIN) as client:
        before = await client.get(SETTINGS)
    async with members.at(members.acme, ADMIN) as client:
        read = await client.get(SETTINGS)
        values = {"locale": "de-AT", "branding.accent_color": "#0a0a0a", "signup.enabled": True}
        changed = await change(client, values, if_match=read.headers["etag"])
        again = await client.get(SETTINGS)
    assert changed.status_code == 200
    assert changed.json() == again.json()
    assert changed.json()["values"] == {**read.json()["values"], **values}
    assert changed.headers["etag"] == again.headers["etag"] != read.headers["etag"]
    async with members.at(members.globex, ADMIN) as client:
        after = await client.get(SETTINGS)
    assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])


async def test_null_is_the_default_again(members: Members) -> None:
    async with members.at(members.acme, ADMIN) as client:
        await change(client, {"branding.primary_color": "#000000"})
        answer = await change(client, {"branding.primary_color": None})
    assert answer.json()["values"]["branding.primary_color"] == "#1f6feb"


async def test_whoever_has_not_seen_the_last_change_makes_none(members: Members) -> None:
    async with members.at(members.acme, ADMIN) as client:
        stale = (await client.get(SETTINGS)).headers["etag"]
        assert (await change(client, {"locale": "fr"}, if_match=stale)).status_code == 200
        late = await change(client, {"locale": "es"}, if_match=stale)
        blind = await change(client, {"locale": "es"}, if_match=None)
        weak = await change(client, {"locale": "es"}, if_match=f"W/{stale}")
        now = await client.get(SETTINGS)
        known = await change(client, {}, if_match=f'"x", {now.headers["etag"]}')
    assert (late.status_code, late.json()["code"]) == (412, "version_conflict")
    assert (blind.status_code, blind.json()["code"]) == (428, "version_required")
    assert weak.status_code == 412
    assert now.json()["values"]["locale"] == "fr"
    assert (known.status_code, known.headers["etag"]) == (200, now.headers["etag"])


async def test_of_changes_at_once_from_one_version_one_is_made(members: Members) -> None:
    # Keys without a row: there is nothing to lock but the table.
    new = ["branding.support_email", "branding.logo_url"]
    members.execute(members.acme, "DELETE FROM settings WHERE key = ANY (%s)", new)
    async with members.at(members.acme, ADMIN) as client:
        seen = (await client.get(SETTINGS)).headers["etag"]
        answers = await asyncio.gather(
            change(client, {"branding.support_email": "a@acme.test"}, if_match=seen),
            change(client, {"branding.logo_url": "https://acme.test/l.png"}, if_match=seen),
        )
        found = (await client.get(SETTINGS)).json()["values"]
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    made = (found["branding.support_email"] != "", found["branding.logo_url"] != "")
    assert sorted(made) == [False, True]


async def test_a_table_that_somebody_else_holds_is_not_waited_for(members: Members) -> None:
    parts = members.site.parts
    routed = await parts.directory.lookup(members.acme["subdomain"])
    with members.holding(members.acme, "settings"), pytest.raises(LockNotAvailable):
        async with parts.tenancy.transaction(routed) as conn:
            await kept_settings.read_to_change(conn, patience_ms=20)
    async with parts.tenancy.transaction(routed) as conn:
        assert await kept_settings.read_to_change(conn, patience_ms=20)


async def test_an_unknown_setting_is_named_and_nothing_is_changed(members: Members) -> None:
    async with members.at(members.acme, ADMIN) as client:
        before = await client.get(SETTINGS)
        answer = await change(client, {"locale": "it", "no.such": 1, "timezone": "Mars"})
        wrong: list[Any] = [{}, {"values": 1}, [], None]
        bodies = [await client.put(SETTINGS, json=body) for body in wrong]
        after = await client.get(SETTINGS)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    faults = {(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]}
    assert faults == {("/values/no.such", "unknown_setting"), ("/values/timezone", "invalid")}
    assert {body.status_code for body in bodies} <= {400, 422}
    assert after.json() == before.json()


async def test_only_the_tenants_admins_see_and_change_settings(members: Members) -> None:
    for roles in ((USER,), (MANAGER, USER), ("TENANT_ADMIN",)):
        async with members.at(members.acme, *roles) as client:
            for answer in (await client.get(SETTINGS), await change(client, {"locale": "it"})):
                assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


async def test_a_secret_is_kept_sealed_and_told_to_nobody(members: Members) -> None:
    acme = members.acme
    async with members.at(acme, ADMIN) as client:
        answers = [await change(client, {SECRET: HIDDEN}), await client.get(SETTINGS)]
        wrong = await change(client, {SECRET: "short"})
        ((sealed, plain),) = members.execute(
            acme, "SELECT value_encrypted, value FROM settings WHERE key = %s", SECRET
        )
        removed = await change(client, {SECRET: None})
    for answer in answers:
        assert answer.json()["secrets"] == {SECRET: True}
        assert SECRET not in answer.json()["values"]
        assert HIDDEN not in answer.text
    assert wrong.status_code == 422
    assert "'short'" not in wrong.text
    assert removed.json()["secrets"] == {SECRET: False}
    assert plain is None
    assert HIDDEN.encode() not in sealed
    sealing, ours, other = members.site.parts.sealing, UUID(acme["id"]), members.globex["id"]
    assert sealing is not None
    assert sealing.open(sealed, tenant_id=ours, name=SECRET) == HIDDEN
    for tenant_id, name in ((UUID(other), SECRET), (ours, "webhook.other")):
        with pytest.raises(SecretUnsealable):
            sealing.open(sealed, tenant_id=tenant_id, name=name)
    trail = str(members.execute(acme, "SELECT audit_events::text FROM audit_events"))
    assert SECRET in trail
    assert HIDDEN not in trail


async def test_without_a_key_no_secret_is_taken_and_the_rest_goes_on(members: Members) -> None:
    app = create_app(replace(members.site.parts, sealing=None))
    async with members.at(members.acme, ADMIN, app=app) as client:
        refused = await change(client, {SECRET: HIDDEN, "locale": "nl"})
        taken = await change(client, {SECRET: None, "locale": "nl"})
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    assert "CONTROLPLANE_SECRETS_KEY" in refused.json()["detail"]
    assert taken.json()["values"]["locale"] == "nl"


async def test_every_change_is_in_the_tenants_audit_trail_and_none_in_anothers(
    members: Members,
) -> None:
    speaker = uuid4()
    async with members.at(members.acme, ADMIN, speaker=speaker, kind="client") as client:
        await change(client, {"locale": "sv"})
        made = await change(client, {"locale": "pl", "timezone": "UTC"})
        await change(client, {"locale": "pl"})
    query = (
        "SELECT actor_kind, action, target_kind, details, request_id, host(ip), outcome"
        " FROM audit_events WHERE actor_id = %s ORDER BY occurred_at DESC"
    )
    last, _first = members.execute(members.acme, query, speaker)
    details = {"locale": {"before": "sv", "after": "pl"}}
    address, request_id = "127.0.0.1", made.headers["x-request-id"]
    assert last[:4] == ("client", "settings.changed", "settings", details)
    assert last[4:] == (request_id, address, "ok")
    assert members.execute(members.globex, query, speaker) == []
    updated = "SELECT updated_by FROM settings WHERE key = 'locale'"
    assert members.execute(members.acme, updated) == [(None,)]


async def test_a_change_names_the_user_who_made_it(members: Members) -> None:
    async with members.at(members.acme, ADMIN) as client:
        await change(client, {"locale": "da"})
    query = "SELECT u.email, s.version > 1 FROM settings s JOIN users u ON u.id = s.updated_by"
    assert ("ada@acme.test", True) in members.execute(members.acme, query)


async def test_settings_and_trail_are_written_by_the_tenants_role_alone(members: Members) -> None:
    globex = members.globex
    for table in ("settings", "audit_events"):
        members.script(globex, f"ALTER TABLE {table} ADD writer text DEFAULT current_user")
    async with members.at(globex, ADMIN) as client:
        assert (await change(client, {"branding.accent_color": "#010203"})).status_code == 200
    rows = members.execute(
        globex,
        "SELECT writer FROM settings WHERE key = 'branding.accent_color'"
        " UNION ALL SELECT writer FROM audit_events",
    )
    assert rows == [(globex["schema_name"],)] * 2


async def test_anybody_sees_the_branding_and_members_see_more(members: Members) -> None:
    acme = members.acme
    values = {"branding.display_name": "Acme & Sons", "branding.support_email": "help@acme.test"}
    async with members.at(acme, ADMIN) as client:
        await change(client, {**values, "branding.accent_color": None, "branding.logo_url": None})
        told = (await client.get(INFO)).json()
    async with members.at(acme) as anybody:
        public = (await anybody.get(INFO)).json()
    branding = {
        "display_name": "Acme & Sons",
        "logo_url": None,
        "primary_color": "#1f6feb",
        "accent_color": None,
    }
    own = {key: acme[key] for key in ("id", "name", "subdomain", "state")}
    assert public == {**own, "branding": branding}
    member = {**branding, "support_email": "help@acme.test"}
    assert told == {**own, "tier": "professional", "branding": member}
    async with members.at(members.globex, USER) as client:
        other = (await client.get(INFO)).json()
    assert other["branding"]["display_name"] == "Globex"
