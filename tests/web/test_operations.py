"""Following, cancelling, resuming and abandoning operations."""

import asyncio
import json
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from tests.web.calls import OPERATIONS, TENANTS, Site, new_tenant

pytestmark = pytest.mark.anyio


def events_in(stream: str) -> list[dict[str, object]]:
    """The events of a stream, each checked against its own id and event lines."""
    found = []
    for frame in stream.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in frame.splitlines() if line[:1] != ":")
        if "data" in lines:
            event = json.loads(lines["data"])
            assert (lines["id"], lines["event"]) == (str(event["seq"]), event["type"])
            found.append(event)
    return found


async def park(site: Site, operation_id: str) -> None:
    """As a worker leaves an operation whose undo keeps failing."""
    for change in ("running", "unwinding", "parked"):
        async with site.parts.owner.begin() as conn:
            await conn.execute(
                text("UPDATE public.operations SET state = :state WHERE id = :id"),
                {"state": change, "id": operation_id},
            )


async def test_a_stream_holds_every_event_and_ends_with_the_operation(site: Site) -> None:
    async with site.client() as client:
        accepted = (await client.post(TENANTS, json=new_tenant())).json()
        watching = asyncio.create_task(client.get(accepted["links"]["events"]))
        async with site.working():
            answer = await watching
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    events = events_in(answer.text)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("accepted", "succeeded")


async def test_a_stream_resumed_anywhere_is_the_rest_of_it(site: Site) -> None:
    async with site.client() as client, site.working():
        headers = {"prefer": "wait=30"}
        address = (await client.post(TENANTS, json=new_tenant(), headers=headers)).json()["links"][
            "events"
        ]
        whole = events_in((await client.get(address)).text)
        for seq in range(len(whole) + 2):
            resumed = await client.get(address, headers={"last-event-id": str(seq)})
            assert events_in(resumed.text) == whole[seq:]
            later = await client.get(address, params={"after": seq})
            assert events_in(later.text) == whole[seq:]
        both = await client.get(address, params={"after": 1}, headers={"last-event-id": "3"})
        assert events_in(both.text) == whole[3:]


@pytest.mark.parametrize("seq", ["-1", "null", "x", "1.5", str(2**63)])
async def test_a_last_event_id_that_is_no_number_of_ours_is_refused(
    client: httpx.AsyncClient, seq: str
) -> None:
    address = f"{OPERATIONS}/{uuid4()}/events"
    answer = await client.get(address, headers={"last-event-id": seq})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/header/Last-Event-ID"


async def test_an_unknown_operations_stream_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{OPERATIONS}/{uuid4()}/events")
    assert (answer.status_code, answer.json()["code"]) == (404, "operation_not_found")


async def test_operations_are_found_by_tenant_and_state(client: httpx.AsyncClient) -> None:
    accepted = (await client.post(TENANTS, json=new_tenant())).json()
    await client.post(TENANTS, json=new_tenant())
    of_tenant = {"tenant_id": accepted["tenant_id"]}
    page = (await client.get(OPERATIONS, params=of_tenant)).json()
    assert [operation["id"] for operation in page["items"]] == [accepted["id"]]
    none = await client.get(OPERATIONS, params={**of_tenant, "state": "parked"})
    assert none.json() == {"items": [], "next_cursor": None}
    first = (await client.get(OPERATIONS, params={"limit": 1})).json()
    rest = await client.get(OPERATIONS, params={"limit": 100, "cursor": first["next_cursor"]})
    ids = [operation["id"] for operation in rest.json()["items"]]
    assert accepted["id"] in ids
    assert first["items"][0]["id"] not in ids


async def test_a_cancelled_operation_turns_round(site: Site) -> None:
    async with site.client() as client:
        accepted = (await client.post(TENANTS, json=new_tenant())).json()
        for _ in range(2):
            answer = await client.post(accepted["links"]["cancel"])
            assert answer.status_code == 202
            assert answer.json()["cancel_requested"] is True
        async with site.working():
            stream = (await client.get(accepted["links"]["events"])).text
        ended = (await client.get(accepted["links"]["self"])).json()
        again = await client.post(accepted["links"]["cancel"])
        tenant = (await client.get(accepted["links"]["tenant"])).json()
    assert events_in(stream)[-1]["type"] == "cancelled"
    assert (ended["state"], ended["error"]["code"]) == ("cancelled", "cancelled")
    assert "cancel" not in ended["links"]
    assert (again.status_code, again.json()["code"]) == (409, "invalid_state")
    assert tenant["state"] == "failed"


async def test_a_parked_operation_is_resumed(site: Site) -> None:
    async with site.client() as client:
        accepted = (await client.post(TENANTS, json=new_tenant())).json()
        refused = await client.post(f"{accepted['links']['self']}/resume")
        assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
        await park(site, accepted["id"])
        resumed = await client.post(f"{accepted['links']['self']}/resume")
        assert (resumed.status_code, resumed.json()["state"]) == (202, "unwinding")
        async with site.working():
            await client.get(accepted["links"]["events"])
        ended = (await client.get(accepted["links"]["self"])).json()
    assert ended["state"] == "failed"


async def test_a_parked_operation_is_abandoned_with_a_reason(site: Site) -> None:
    async with site.client() as client:
        accepted = (await client.post(TENANTS, json=new_tenant())).json()
        address = f"{accepted['links']['self']}/abandon"
        why = {"reason": "zone gone", "comment": "The zone\nwas moved."}
        refused = await client.post(address, json=why)
        assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
        await park(site, accepted["id"])
        answer = await client.post(address, json=why)
        assert (answer.status_code, answer.json()["state"]) == (202, "abandoned")
        events = events_in((await client.get(accepted["links"]["events"])).text)
    assert events[-1]["data"] == why
    query = text("SELECT abandoned_by FROM public.operations WHERE id = :id")
    async with site.parts.owner.connect() as conn:
        row = (await conn.execute(query, {"id": accepted["id"]})).one()
    assert row.abandoned_by == "admin@example.test"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"comment": "why"}, "/reason"),
        ({"reason": "", "comment": "why"}, "/reason"),
        ({"reason": "why", "comment": " \n"}, "/comment"),
        ({"reason": "why", "comment": "\0"}, "/comment"),
        ({"reason": "why", "comment": "x" * 2001}, "/comment"),
        ({"reason": "why", "comment": "why", "force": True}, "/force"),
    ],
)
async def test_nothing_is_abandoned_without_saying_why(
    client: httpx.AsyncClient, body: dict[str, object], pointer: str
) -> None:
    answer = await client.post(f"{OPERATIONS}/{uuid4()}/abandon", json=body)
    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("verb", ["cancel", "resume", "abandon"])
async def test_an_operation_that_is_not_there_is_not_found(
    client: httpx.AsyncClient, verb: str
) -> None:
    why = {"reason": "gone", "comment": "gone"}
    answer = await client.post(f"{OPERATIONS}/{uuid4()}/{verb}", json=why)
    assert (answer.status_code, answer.json()["code"]) == (404, "operation_not_found")
