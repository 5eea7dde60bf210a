"""Suspend, resume, delete, restore, purge, repair and welcome, through the door that users take."""

from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.web.calls import OPERATIONS, TENANTS, Site
from tests.web.lives import Held, held, in_state, remember, remembered, traces

pytestmark = pytest.mark.anyio

# The last part of the path, and the plan that it starts.
VERBS = {
    "suspend": "suspend",
    "resume": "resume",
    "restore": "restore",
    "purge": "purge",
    "welcome-email": "welcome",
    "provision": "repair",
}
# In each state, what may be asked.
ALLOWED = {
    "active": {"suspend", "welcome-email", "provision"},
    "suspended": {"resume", "welcome-email", "provision"},
    "deleted": {"restore", "purge"},
    "purged": set[str](),
    "failed": {"provision"},
}
REFUSED = [(state, verb) for state, allowed in ALLOWED.items() for verb in VERBS.keys() - allowed]


async def test_a_tenants_whole_life_by_its_host_its_data_and_its_traces(site: Site) -> None:
    async with held(site) as tenant, held(site) as neighbour, site.working():
        for each in (tenant, neighbour):
            remember(each)
        own = f"{tenant.subdomain}.example"
        await tenant.client.post(f"{tenant.address}/domains", json={"host": own})
        before = await neighbour.shown()
        everything = ["schema", "role", "record"]
        life = [
            ("suspend", (403, "tenant_suspended"), everything),
            ("resume", (200, None), everything),
            ("suspend", (403, "tenant_suspended"), everything),
            ("delete", (404, "tenant_not_found"), ["schema", "role"]),
            ("restore", (200, None), everything),
            ("delete", (404, "tenant_not_found"), ["schema", "role"]),
            ("purge", (404, "tenant_not_found"), []),
        ]
        for verb, answer, left in life:
            await tenant.do(verb)
            assert (await tenant.served(answer), traces(tenant)) == (answer, left), verb
            domains = [domain["host"] for domain in (await tenant.shown())["domains"]]
            assert domains == ([own] if left else []), verb
            if left:
                assert remembered(tenant) == [(tenant.subdomain,)], verb
        again = await tenant.ask("purge")
        tombstone = await tenant.shown()
        assert (await neighbour.served((200, None)), traces(neighbour)) == ((200, None), everything)
        assert remembered(neighbour) == [(neighbour.subdomain,)]
        assert await neighbour.shown() == before
    assert (again.status_code, again.json()["code"]) == (409, "invalid_state")
    assert (tombstone["state"], tombstone["revision"]) == ("purged", None)
    assert tombstone["deleted_at"] is not None


@pytest.mark.parametrize(
    ("state", "verb"), [(state, verb) for state, verbs in ALLOWED.items() for verb in sorted(verbs)]
)
async def test_what_is_asked_is_accepted_with_its_operation_once_and_put_on_record(
    site: Site, state: str, verb: str
) -> None:
    async with in_state(site, state) as tenant:
        body = {"confirm": tenant.subdomain, "skip_grace": True} if verb == "purge" else None
        headers = {"idempotency-key": str(uuid4()), "x-request-id": uuid4().hex}
        address = f"{tenant.address}/{verb}"
        first = await tenant.client.post(address, json=body, headers=headers)
        counted = await site.counts()
        second = await tenant.client.post(address, json=body, headers=headers)
        anew = await tenant.client.post(address, json=body)
        assert await site.counts() == counted
        async with site.parts.owner.connect() as conn:
            query = text("SELECT action FROM public.audit_log WHERE request_id = :id")
            told = (await conn.execute(query, {"id": headers["x-request-id"]})).scalars().all()
        async with site.working():
            await tenant.client.get(first.json()["links"]["events"])
        ended = (await tenant.client.get(first.headers["location"])).json()
    kind = "provision" if state == "failed" else VERBS[verb]
    assert (first.status_code, first.json()["kind"]) == (202, kind)
    assert first.headers["location"] == f"{OPERATIONS}/{first.json()['id']}"
    assert (second.status_code, second.json()) == (202, first.json())
    assert (anew.status_code, anew.json()["code"]) == (409, "provisioning_in_progress")
    assert told == [f"tenant.{kind}"]
    assert ended["state"] == "succeeded"


@pytest.mark.parametrize("state", sorted(ALLOWED))
async def test_what_does_not_fit_a_tenants_state_changes_nothing(site: Site, state: str) -> None:
    async with in_state(site, state) as tenant:
        before, counted = await tenant.shown(), await site.counts()
        for verb in sorted(verb for refused, verb in REFUSED if refused == state):
            answer = await tenant.ask(verb)
            assert (answer.status_code, answer.json()["code"]) == (409, "invalid_state"), verb
            assert state in answer.json()["detail"]
        assert (await tenant.shown(), await site.counts()) == (before, counted)


async def test_what_is_asked_while_another_operation_goes_on_changes_nothing(site: Site) -> None:
    async with held(site) as tenant:
        assert (await tenant.ask("suspend")).status_code == 202
        counted = await site.counts()
        for verb in VERBS:
            answer = await tenant.ask(verb)
            code = answer.json()["code"]
            assert (answer.status_code, code) == (409, "provisioning_in_progress"), verb
        assert await site.counts() == counted


@pytest.mark.parametrize("verb", sorted(VERBS))
async def test_a_tenant_that_never_was_is_not_found(site: Site, verb: str) -> None:
    async with site.client("super_admin") as client:
        answer = await Held(site, client, f"{TENANTS}/{uuid4()}", "acme").ask(verb)
    assert (answer.status_code, answer.json()["code"]) == (404, "tenant_not_found")


@pytest.mark.parametrize("speaker", ["admin", "support", "reader"])
async def test_only_a_super_admin_purges(site: Site, speaker: str) -> None:
    async with in_state(site, "deleted") as tenant, site.client(speaker) as client:
        counted = await site.counts()
        body = {"confirm": tenant.subdomain, "skip_grace": True}
        answer = await client.post(f"{tenant.address}/purge", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert await site.counts() == counted


async def test_a_purge_that_is_not_confirmed_destroys_nothing(site: Site) -> None:
    async with in_state(site, "deleted") as tenant, held(site) as neighbour:
        counted = await site.counts()
        upper = tenant.subdomain.upper()
        for confirm in ("", upper, f"{tenant.subdomain} ", neighbour.subdomain, tenant.schema):
            answer = await tenant.ask("purge", confirm=confirm, skip_grace=True)
            assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
            faults = [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]]
            assert faults == [("/confirm", "mismatch")], confirm
        assert await site.counts() == counted
        assert (await tenant.shown())["state"] == "deleted"


async def test_a_number_is_no_leave_to_skip_the_grace_period(site: Site) -> None:
    async with in_state(site, "deleted") as tenant:
        for flag in (1, "true", "yes"):
            answer = await tenant.ask("purge", confirm=tenant.subdomain, skip_grace=flag)
            assert answer.status_code == 422, flag
            assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/skip_grace"]
        assert (await tenant.shown())["state"] == "deleted"


@pytest.mark.parametrize(
    ("days", "verb", "status"),
    [(29, "purge", 409), (29, "restore", 202), (31, "purge", 202), (31, "restore", 409)],
)
async def test_the_grace_period_says_whether_a_tenant_is_restored_or_purged(
    site: Site, days: int, verb: str, status: int
) -> None:
    async with in_state(site, "deleted") as tenant:
        async with site.parts.owner.begin() as conn:
            await conn.execute(
                text(
                    "UPDATE public.tenants SET deleted_at = now() - make_interval(days => :days)"
                    " WHERE subdomain = :subdomain"
                ),
                {"days": days, "subdomain": tenant.subdomain},
            )
        body = {"confirm": tenant.subdomain} if verb == "purge" else {}
        answer = await tenant.ask(verb, **body)
    assert answer.status_code == status
    assert answer.json().get("code") == ("invalid_state" if status == 409 else None)


async def test_a_repair_puts_the_record_back_and_leaves_data_and_state_alone(site: Site) -> None:
    async with in_state(site, "suspended") as tenant:
        remember(tenant)
        del site.parts.dns.records[tenant.subdomain]  # type: ignore[attr-defined]  # in memory
        async with site.working():
            repaired = await tenant.do("provision")
        assert repaired["kind"] == "repair"
        assert traces(tenant) == ["schema", "role", "record"]
        assert remembered(tenant) == [(tenant.subdomain,)]
        assert await tenant.served((403, "tenant_suspended")) == (403, "tenant_suspended")


async def test_the_welcome_mail_is_sent_once_more(site: Site) -> None:
    async with held(site) as tenant:
        assert [mail["template"] for mail in (await tenant.shown())["mails"]] == ["welcome"]
        async with site.working():
            await tenant.do("welcome-email")
        mails = (await tenant.shown())["mails"]
    assert [(mail["template"], mail["recipient"]) for mail in mails] == [
        ("welcome", "ada@acme.test"),
        ("welcome", "ada@acme.test"),
    ]
