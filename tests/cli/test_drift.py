"""`controlplane drift`: what it tells, in what words, and that its plan mends what it told."""

import asyncio
import json

import psycopg
import pytest

from controlplane.cli.root import run
from controlplane.domain.naming import schema_name
from tests.engine.lab import environment, open_lab

pytestmark = pytest.mark.anyio


@pytest.fixture
async def call(database, tmp_path, monkeypatch, capsys):
    for name, value in environment(database, tmp_path).items():
        monkeypatch.setenv(name, value)

    async def called(*arguments):
        capsys.readouterr()
        code = await asyncio.to_thread(run, ["drift", *arguments])
        return code, capsys.readouterr()

    return called


async def test_a_tenant_that_somebody_changed_is_told_and_its_plan_mends_it(
    database, tmp_path, call
):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        acme, globex = [await lab.active(name) for name in ("acme", "globex")]
    code, told = await call()
    assert (code, told.out) == (0, "")
    assert told.err.startswith("2 compared with revision ")
    assert told.err.endswith(": all alike.\n")

    with psycopg.connect(database.owner_url) as conn:
        conn.execute(f"ALTER TABLE {schema_name(acme)}.users ALTER state SET DEFAULT 'gone'")
        conn.execute(f"CREATE TABLE {schema_name(acme)}.scratch (id int)")
    code, told = await call()
    assert code == 1
    assert told.out.splitlines() == [
        f"acme (active, {acme})",
        "  + table scratch: plain",
        "  ~ default state of users: is 'gone'::text; should be 'active'::text",
    ]
    assert (await call("globex"))[0] == 0
    assert (await call(str(globex)))[0] == 0

    code, told = await call("acme", "--output", "json")
    (one,) = json.loads(told.out)["drifted"]
    assert (one["tenant_id"], len(one["differences"])) == (str(acme), 2)

    kept = (await call("--repair-plan"))[1].out
    assert f"-- not done: DROP TABLE {schema_name(acme)}.scratch\n" in kept
    plan = (await call("--repair-plan", "--removals"))[1].out
    with psycopg.connect(database.owner_url, autocommit=True) as conn:
        conn.execute(plan)
    assert (await call())[0] == 0


async def test_a_tenant_at_another_revision_is_counted_and_not_compared(database, tmp_path, call):
    async with open_lab(database, tmp_path, real_files=True) as lab:
        await lab.active("acme")
        await lab.sql("UPDATE public.tenants SET revision = 'an earlier one'")
    code, told = await call()
    assert code == 0
    assert told.err.startswith("0 compared with revision ")
    assert told.err.endswith(". 1 at other revisions were not compared: they are for a rollout.\n")
    code, told = await call("acme")
    assert (code, told.out) == (1, "")
    assert "'acme' is not at revision " in told.err
    code, told = await call("acme", "--output", "json")
    assert (code, json.loads(told.out)["compared"]) == (1, 0)


async def test_who_is_nobody_and_removals_without_a_plan_are_refused(call):
    code, told = await call("nobody")
    assert (code, told.out) == (3, "")
    assert "no tenant with the subdomain 'nobody'" in told.err
    assert "--repair-plan" in (await call("--removals"))[1].err
