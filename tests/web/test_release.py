"""A release's own rollout, begun by its job while replicas of the release before still answer."""

import re
from contextlib import asynccontextmanager
from pathlib import Path

import click
import httpx2
import pytest

from controlplane.cli import rollout_release
from controlplane.cli.client import Api, ApiRefused, ApiUnreachable, api_at
from controlplane.cli.exits import CommandFailed
from controlplane.cli.rollout_release import begin
from controlplane.cli.root import root
from tests.http_server import Fault, HttpServer
from tests.integration.fleet.ground import AFTER, BEFORE, open_fleet
from tests.web.calls import open_site
from tests.web.test_rollouts import ROLLOUTS, with_template

pytestmark = pytest.mark.anyio

JOBS = Path(__file__).parents[2] / "examples" / "kubernetes"
# Its second ring never comes: it goes on for as long as the test does.
SLOW = {"rings": ["canary=list:hooli"], "soak_s": 3600}


class _InTurn(Api):
    """One address, and behind it one replica after the other; the last one stays."""

    def __init__(self, *replicas):
        super().__init__(replicas[-1])
        self.left = [Api(replica) for replica in replicas]

    async def post(self, path, body=None):
        return await (self.left.pop(0) if len(self.left) > 1 else self.left[0]).post(path, body)


class _Older(Api):
    """Of a release that does not know yet what the body says of its template."""

    async def post(self, path, body=None):
        return await super().post(path, {**(body or {}), "template_digest": "?"})


class _EndsMeanwhile(Api):
    """What is under way ends before anybody asks which it was."""

    async def items(self, path, limit, **params):
        (newest,) = await super().items(path, limit, **params)
        await self.post(f"{path}/{newest['id']}/cancel")
        return await super().items(path, limit, **params)


@pytest.fixture(scope="module")
async def opened(server, tmp_path_factory):
    async with open_fleet(server, tmp_path_factory.mktemp("fleet")) as fleet:
        folder = str(fleet.new.application)
        async with open_site(fleet.database, CONTROLPLANE_TENANT_TEMPLATE=folder) as site:
            yield fleet, site


@pytest.fixture
async def fleet(opened, monkeypatch):
    monkeypatch.setattr(rollout_release, "_POLL_S", 0.01)
    await opened[0].anew()
    return opened[0]


@asynccontextmanager
async def away():
    """Nobody listens there."""
    async with httpx2.AsyncClient(base_url="http://127.0.0.1:9") as client:
        yield client


@pytest.fixture
async def replicas(opened, fleet):
    """One that does not answer, one of the release before, one of this release."""
    site = opened[1]
    async with (
        away() as gone,
        with_template(site, fleet.old) as before,
        site.client("super_admin") as this,
    ):
        yield gone, before, this


async def test_it_waits_for_an_api_of_its_own_release(fleet, replicas, capsys):
    digest = fleet.new.digest
    begun = await begin(_InTurn(*replicas), SLOW, template_digest=digest, patience_s=60)
    assert (begun["state"], begun["template_digest"]) == ("running", digest)
    assert capsys.readouterr().err.count("Waiting for the release's API.") == 1


async def test_it_waits_for_one_that_can_tell_whose_template_it_has(fleet, replicas):
    _, _, this = replicas
    both = _InTurn(this, this)
    both.left[0] = _Older(this)
    begun = await begin(both, SLOW, template_digest=fleet.new.digest, patience_s=60)
    assert begun["template_digest"] == fleet.new.digest


async def test_no_rollout_is_begun_by_an_api_of_another_release(fleet, replicas):
    _, before, _ = replicas
    with pytest.raises(ApiRefused, match="other_release"):
        await begin(Api(before), SLOW, template_digest=fleet.new.digest, patience_s=0)
    assert (await before.get(ROLLOUTS)).json()["items"] == []


async def test_it_waits_for_an_api_that_does_not_answer_no_longer_than_told(fleet, replicas):
    gone, _, _ = replicas
    with pytest.raises(ApiUnreachable):
        await begin(Api(gone), SLOW, template_digest=fleet.new.digest, patience_s=0.05)


async def test_a_proxy_whose_api_is_away_is_waited_for_and_another_site_is_not(fleet):
    told = {"template_digest": fleet.new.digest, "patience_s": 0}
    async with HttpServer() as proxy, api_at(proxy.url, "token", through_proxy=False) as api:
        # As often as one answer is asked for.
        proxy.faults.append(Fault(502, body=b"<html>", times=3))
        with pytest.raises(ApiUnreachable, match="502 without JSON"):
            await begin(api, SLOW, **told)
        unavailable = Fault(503, body=b'{"status":503,"code":"database_unavailable"}')
        proxy.faults[:] = [unavailable, Fault(200, body=b"<html>")]
        with pytest.raises(CommandFailed, match="is not the API: it answered 200"):
            await begin(api, SLOW, **{**told, "patience_s": 60})


async def test_what_has_begun_is_followed_by_the_job_that_comes_after(fleet, replicas, capsys):
    _, before, this = replicas
    told = {"template_digest": fleet.new.digest, "patience_s": 0}
    first = await begin(Api(this), SLOW, **told)
    assert (await begin(Api(this), SLOW, **told))["id"] == first["id"]
    assert "begun already" in capsys.readouterr().err
    assert [each["other_release"] for each in await Api(this).items(ROLLOUTS, 1)] == [False]
    assert [each["other_release"] for each in await Api(before).items(ROLLOUTS, 1)] == [True]
    # Of another release it is none to follow.
    with pytest.raises(ApiRefused, match="rollout_in_progress"):
        await begin(Api(before), SLOW, template_digest=fleet.old.digest, patience_s=0)


async def test_a_rollout_to_an_older_revision_is_not_taken_for_the_releases(fleet, replicas):
    _, _, this = replicas
    await fleet.sql("UPDATE public.tenants SET revision = :at", at=AFTER)
    await fleet.begin(to=BEFORE, back=True)
    with pytest.raises(ApiRefused, match="rollout_in_progress"):
        await begin(Api(this), SLOW, template_digest=fleet.new.digest, patience_s=0)


async def test_after_one_that_has_just_ended_another_is_begun(fleet, replicas):
    _, _, this = replicas
    told = {"template_digest": fleet.new.digest, "patience_s": 0}
    first = await begin(Api(this), SLOW, **told)
    assert (await begin(_EndsMeanwhile(this), SLOW, **told))["id"] != first["id"]


async def test_what_is_refused_for_good_is_not_waited_for(replicas, fleet):
    _, _, this = replicas
    with pytest.raises(ApiRefused, match="validation_failed"):
        await begin(Api(this), {"rings": ["?"]}, template_digest=fleet.new.digest, patience_s=60)


@pytest.mark.parametrize("name", ["migrate", "rollout"])
def test_the_jobs_of_the_examples_run_commands_that_there_are(name):
    job = (JOBS / f"{name}-job.yaml").read_text(encoding="utf-8")
    ((program, *arguments),) = (line.split(", ") for line in re.findall(r"command: \[(.*)\]", job))
    assert program == "controlplane"
    found: click.Command = root
    while isinstance(found, click.Group):
        inner = found.get_command(click.Context(found), arguments.pop(0))
        assert inner is not None
        found = inner
    found.make_context(name, arguments)
    # A hook holds the release up; a rollout must not.
    assert ("helm.sh/hook:" in job) == (name == "migrate")
