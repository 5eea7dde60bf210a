"""A whole worker and a real mail server: what arrives, what does not, and what the API tells of it."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.contract.sender_peers import received
from tests.database import Server, fresh_database
from tests.proxy import Proxy
from tests.smtp import PASSWORD, USER, Mailbox, running_smtp
from tests.web.calls import BASE, TENANTS, Site, new_tenant, open_site

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Post:
    """A site whose worker sends by STARTTLS and a login, over a way that can be closed."""

    site: Site
    client: httpx.AsyncClient
    way: Proxy
    mailbox: Mailbox

    async def tenant(self, **wanted: str) -> str:
        """Where a tenant is that has become active, whatever becomes of its mail."""
        accepted = await self.client.post(TENANTS, json=new_tenant(**wanted))
        assert await self.ended(accepted) == "succeeded"
        there: str = accepted.json()["links"]["tenant"]
        return there

    async def ended(self, accepted: httpx.Response) -> str:
        """How an operation ended."""
        assert accepted.status_code == 202, accepted.text
        # The stream ends with the operation.
        await self.client.get(accepted.json()["links"]["events"])
        state: str = (await self.client.get(accepted.headers["location"])).json()["state"]
        return state

    async def mail(self, tenant: str, holds: Callable[[Any], bool]) -> dict[str, Any]:
        """The tenant's only mail as the API shows it, once that holds."""
        async with asyncio.timeout(120):
            while True:
                (mail,) = (await self.client.get(tenant)).json()["mails"]
                if holds(mail):
                    return dict(mail)
                await asyncio.sleep(0.05)

    async def welcomed(self, tenant: str) -> tuple[bool, str]:
        conditions = (await self.client.get(tenant)).json()["conditions"]
        (one,) = (one for one in conditions if one["type"] == "WelcomeSent")
        return one["holds"], one["reason"]


@pytest.fixture(scope="module")
async def office(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Post]:
    with (
        running_smtp(tmp_path_factory.mktemp("smtp")) as smtp,
        fresh_database(server) as database,
    ):
        async with Proxy("127.0.0.1", smtp.port) as way:
            by_smtp = {
                "CONTROLPLANE_MAIL": "smtp",
                "CONTROLPLANE_MAIL_SMTP_HOST": "localhost",
                "CONTROLPLANE_MAIL_SMTP_PORT": str(way.port),
                "CONTROLPLANE_MAIL_SMTP_USER": USER,
                "CONTROLPLANE_MAIL_SMTP_PASSWORD": PASSWORD,
                "CONTROLPLANE_MAIL_SMTP_CA_FILE": str(smtp.ca_file),
                # The machine may be busy, and a mail that is late would be uncertain.
                "CONTROLPLANE_WORKER_CALL_S": "60",
                "CONTROLPLANE_WORKER_LEASE_S": "200",
            }
            async with open_site(database, **by_smtp) as site, site.client() as client:
                yield Post(site, client, way, smtp.mailbox)


@pytest.fixture
async def post(office: Post) -> AsyncIterator[Post]:
    """The mailbox is empty, the server answers, and a worker runs."""
    office.mailbox.reset()
    async with office.site.working():
        yield office


async def test_the_welcome_mail_arrives_through_the_outbox(post: Post) -> None:
    tenant = await post.tenant(name="Globex", subdomain="globex", admin_email="grace@globex.test")
    mail = await post.mail(tenant, lambda mail: mail["state"] == "sent")
    (wire,) = post.mailbox.wires()
    letter = received(wire)
    assert (letter.to, letter.subject) == (
        "grace@globex.test",
        "Globex is ready: choose your password",
    )
    links = set(re.findall(r"https://\S+#token=[\w-]{43}", letter.text))
    assert {link.partition("#")[0] for link in links} == {f"https://globex.{BASE}/setup"}
    assert post.mailbox.logins == [USER]
    assert mail["error"] is None
    assert await post.welcomed(tenant) == (True, "sent")


async def test_a_tenant_is_suspended_and_deleted_while_its_mail_cannot_be_sent(post: Post) -> None:
    await post.way.refuse()
    try:
        tenant = await post.tenant()
        waiting = await post.mail(tenant, lambda mail: mail["state"] == "queued" and mail["error"])
        assert waiting["error"]["code"] == "provider_unavailable"
        assert await post.ended(await post.client.post(f"{tenant}/suspend")) == "succeeded"
        assert await post.ended(await post.client.delete(tenant)) == "succeeded"
        withdrawn = await post.mail(tenant, lambda mail: mail["state"] == "failed")
        assert withdrawn["error"]["code"] == "tenant_deleted"
    finally:
        await post.way.accept()
    other = await post.tenant(admin_email="other@acme.test")
    await post.mail(other, lambda mail: mail["state"] == "sent")
    assert [mail.rcpt_tos for mail in post.mailbox.sent] == [["other@acme.test"]]


async def test_a_server_that_dies_with_a_mail_in_its_hands_gets_it_no_second_time(
    post: Post,
) -> None:
    loop, offered = asyncio.get_running_loop(), asyncio.Event()
    post.mailbox.silent = True
    post.mailbox.when_silent = lambda: loop.call_soon_threadsafe(offered.set)
    tenant = await post.tenant()
    async with asyncio.timeout(120):
        await offered.wait()
    await post.way.refuse()
    try:
        mail = await post.mail(tenant, lambda mail: mail["state"] not in ("queued", "sending"))
    finally:
        await post.way.accept()
    assert (mail["state"], mail["error"]["code"]) == ("uncertain", "send_uncertain")
    assert await post.welcomed(tenant) == (False, "uncertain")

    post.mailbox.silent = False
    other = await post.tenant(admin_email="other@acme.test")
    await post.mail(other, lambda mail: mail["state"] == "sent")
    assert [mail.rcpt_tos for mail in post.mailbox.sent] == [["other@acme.test"]]
    assert (await post.mail(tenant, lambda _: True))["state"] == "uncertain"
