"""Rollouts, planned, begun, followed and steered over HTTP."""

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import uuid4

import pytest

from controlplane.store import census
from controlplane.web.app import create_app
from tests.integration.fleet.ground import ADDS, AFTER, BEFORE, NAMES, open_fleet
from tests.web.calls import Site, open_site

pytestmark = pytest.mark.anyio

ROLLOUTS = "/api/admin/rollouts"
PLAN = f"{ROLLOUTS}/plan"
CANARY = {"rings": ["canary=list:hooli"], "soak_s": 3600}


@pytest.fixture(scope="module")
async def opened(server, tmp_path_factory):
    async with open_fleet(server, tmp_path_factory.mktemp("fleet")) as fleet:
        folder = str(fleet.new.application)
        async with open_site(fleet.database, CONTROLPLANE_TENANT_TEMPLATE=folder) as site:
            yield fleet, site


@pytest.fixture
async def fleet(opened):
    await opened[0].anew()
    return opened[0]


@pytest.fixture
async def client(opened, fleet):
    assert fleet.revisions() == dict.fromkeys(NAMES, BEFORE)
    async with opened[1].client("super_admin") as made:
        yield made


@asynccontextmanager
async def with_template(site, template):
    """A client of an API of another release."""
    app = create_app(replace(site.parts, template=template))
    async with Site(site.parts, app, site.database, site.tokens).client("super_admin") as made:
        yield made


async def test_a_plan_says_what_would_be_done_and_does_nothing(client, fleet):
    plan = (await client.post(PLAN, json={**CANARY, "max_parallel": 3})).json()
    assert (plan["revision"], plan["targets"], plan["at_revision"]) == (AFTER, 6, 0)
    assert plan["rings"] == [{"name": "canary", "targets": 1}, {"name": "rest", "targets": 5}]
    (path,) = plan["paths"]
    assert (path["revision"], path["targets"], path["online"]) == (BEFORE, 6, False)
    assert path["sql"][:2] == [
        "ALTER TABLE notes ADD COLUMN title TEXT",
        "CREATE INDEX ix_notes_title ON notes (title)",
    ]
    assert [warning["rule"] for warning in plan["warnings"]] == ["adds-column", "builds-index"]
    mistaken = (await client.post(PLAN, json={"rings": ["canary=list:holi"]})).json()
    assert [w["rule"] for w in mistaken["warnings"]] == [
        "adds-column",
        "builds-index",
        "empty-ring",
    ]
    assert plan["connections"] == 3
    assert 0 < plan["locks_per_target"] < plan["lock_room"]
    assert 3600 <= plan["estimated_s"] < 3700
    assert fleet.revisions() == dict.fromkeys(NAMES, BEFORE)
    assert (await client.get(ROLLOUTS)).json()["items"] == []
    left = await fleet.sql("SELECT count(*) AS n FROM pg_namespace WHERE nspname ~ '^tenant_'")
    assert left[0].n == len(NAMES)


async def test_a_rollout_is_begun_once_followed_to_its_end_and_shown(client, fleet, opened):
    key = {"idempotency-key": str(uuid4())}
    begun = await client.post(ROLLOUTS, json={"rings": []}, headers=key)
    assert begun.status_code == 202, begun.text
    address = begun.headers["location"]
    assert begun.json()["rings"][0] | {"name": "rest"} == {
        **dict.fromkeys(("waiting", "done", "failed", "skipped"), 0),
        "name": "rest",
        "pending": 6,
    }
    again = await client.post(ROLLOUTS, json={"rings": []}, headers=key)
    assert (again.status_code, again.headers["location"]) == (202, address)
    other = await client.post(ROLLOUTS, json={"attempts": 1}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    second = await client.post(ROLLOUTS, json={})
    assert (second.status_code, second.json()["code"]) == (409, "rollout_in_progress")
    async with opened[1].working():
        # The stream ends with the rollout.
        events = (await client.get(f"{address}/events")).text
    told = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ")]
    assert (told[-1]["state"], told[-1]["rings"][0]["done"]) == ("succeeded", 6)
    assert fleet.revisions() == dict.fromkeys(NAMES, AFTER)
    shown = (await client.get(address)).json()
    assert shown == told[-1]
    assert set(shown["links"]) == {"self", "events", "targets"}
    assert (await client.get(ROLLOUTS)).json()["items"] == [shown]
    first = (await client.get(f"{address}/targets?limit=4")).json()
    rest = (await client.get(f"{address}/targets?after={first['next_after']}&state=done")).json()
    found = [*first["items"], *rest["items"]]
    assert sorted(target["subdomain"] for target in found) == list(NAMES)
    assert {(t["state"], t["from_revision"], t["attempt"]) for t in found} == {("done", BEFORE, 1)}
    assert rest["next_after"] is None


async def test_a_rollout_is_paused_resumed_retried_and_cancelled(client, fleet):
    address = (await client.post(ROLLOUTS, json=CANARY)).headers["location"]
    states = []
    for verb in ("pause", "resume", "retry", "cancel", "cancel"):
        answer = await client.post(f"{address}/{verb}")
        states.append((answer.status_code, answer.json()["state"]))
    assert states == [
        (200, "paused"),
        (200, "running"),
        (200, "running"),
        (200, "cancelled"),
        (200, "cancelled"),
    ]
    refused = await client.post(f"{address}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
    unknown = await client.post(f"{ROLLOUTS}/{uuid4()}/pause")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "rollout_not_found")
    audited = await fleet.sql(
        "SELECT action FROM public.audit_log WHERE target = :id ORDER BY at",
        id=address.rpartition("/")[2],
    )
    verbs = [row.action.removeprefix("rollout.") for row in audited]
    assert verbs == ["start", "pause", "resume", "retry", "cancel"]


@pytest.mark.parametrize(
    ("name", "upgrade", "reason"),
    [
        ("sql", 'op.execute("ALTR TABLE notes ADD COLUMN title text")', "syntax error at or near"),
        ("table", 'op.add_column("nots", sa.Column("title", sa.Text()))', '"nots" does not exist'),
        ("lint", "op.execute(\"CREATE TYPE mood AS ENUM ('ok')\")", "own_0002: type."),
        ("python", "this is no python", "SyntaxError"),
        ("offline", "op.get_bind().execute(sa.text('SELECT 1')).one()", "own_0002"),
    ],
)
async def test_a_revision_that_cannot_be_rolled_out_is_refused_and_nothing_changes(
    fleet, opened, name, upgrade, reason
):
    bad = fleet.templates(name, upgrade)
    async with with_template(opened[1], bad) as client:
        for address in (PLAN, ROLLOUTS):
            answer = await client.post(address, json={})
            assert (answer.status_code, answer.json()["code"]) == (409, "rollout_refused")
            assert reason in answer.json()["detail"]
        assert (await client.get(ROLLOUTS)).json()["items"] == []
    assert fleet.revisions() == dict.fromkeys(NAMES, BEFORE)


async def test_a_release_that_does_not_know_where_tenants_are_is_refused(fleet, opened):
    other = fleet.templates("other", ADDS.replace("title", "heading"))
    await fleet.sql("UPDATE public.tenants SET revision = 'core_0003,own_0009'")
    async with with_template(opened[1], other) as client:
        answer = await client.post(PLAN, json={})
    assert answer.json()["code"] == "rollout_refused"
    assert "6 tenants are at core_0003,own_0009" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"rings": ["canary"]}, {"/rings"}),
        ({"failure_budget": "7%%"}, {"/failure_budget"}),
        ({"rings": ["canary=1%"] * 2}, {"/rings"}),
        ({"max_parallel": 0}, {"/max_parallel"}),
        ({"max_parallel": 65}, {"/max_parallel"}),
        ({"soak_s": -1}, {"/soak_s"}),
        ({"attempts": "many"}, {"/attempts"}),
        ({"colour": "red"}, {"/colour"}),
        ({"rings": [], "rest": False}, {"/rings"}),
        # The framework would take it for true.
        ({"rest": 1}, {"/rest"}),
        ({"rest": "yes"}, {"/rest"}),
        ({"to": "own 1"}, {"/to"}),
    ],
)
async def test_what_does_not_fit_is_named(client, body, pointers):
    for address in (PLAN, ROLLOUTS):
        answer = await client.post(address, json=body)
        assert answer.status_code == 422
        assert {fault["pointer"] for fault in answer.json()["errors"]} == pointers


async def test_a_tenant_is_frozen_shown_counted_and_let_go(client, fleet):
    address = f"/api/admin/tenants/{fleet.tenants['acme']}"
    for body in ({}, {"reason": ""}, {"reason": "a\nb"}):
        assert (await client.post(f"{address}/freeze", json=body)).status_code == 422
    frozen = await client.post(f"{address}/freeze", json={"reason": "audited"})
    assert (frozen.status_code, frozen.json()["revision"]) == (200, BEFORE)
    assert frozen.json()["newest_revision"] == AFTER
    (condition,) = frozen.json()["conditions"]
    assert (condition["type"], condition["holds"], condition["reason"]) == (
        "Frozen",
        True,
        "audited",
    )
    assert (await client.get(address)).json() == frozen.json()
    async with fleet.engine.connect() as conn:
        assert (await census.take(conn, AFTER)).behind == {"yes": 1, "no": 5}
        assert (await census.take(conn)).behind is None
    free = await client.post(f"{address}/unfreeze")
    assert (free.status_code, free.json()["conditions"][0]["holds"]) == (200, False)
    audited = await fleet.sql(
        "SELECT action FROM public.audit_log WHERE tenant_id = :id", id=frozen.json()["id"]
    )
    assert {row.action for row in audited} == {"tenant.freeze", "tenant.unfreeze"}


async def test_a_way_back_that_the_template_does_not_have_is_refused(client):
    answer = await client.post(PLAN, json={"to": "own_0001"})
    assert (answer.status_code, answer.json()["code"]) == (409, "rollout_refused")
    assert "own_0002 has no downgrade: rows cannot be told apart" in answer.json()["detail"]
    there = (await client.post(PLAN, json={"to": "own_0002"})).json()
    assert (there["back"], there["revision"], there["targets"]) == (False, AFTER, 6)
