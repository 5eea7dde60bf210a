"""The webhook that SES's events come to, and two tenants whose mails they tell of."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from sqlalchemy import text

from controlplane_emails.sns_topic import SnsTopic
from tests.sns import (
    Sns,
    notification,
    ses_event,
    signer,
)
from tests.web.calls import TENANTS, Site

PATH = "/api/webhooks/ses"


class CurrentTopic(SnsTopic):
    """The topic of the test that runs: an application takes longer to make."""

    current: SnsTopic

    async def receive(self, body: bytes, now: datetime) -> str | None:
        return await self.current.receive(body, now)


@dataclass
class Hook:
    """The webhook and two tenants, each with a welcome mail that was sent."""

    site: Site
    tenants: tuple[str, str]
    topic: "CurrentTopic"
    app: Any
    sns: Sns = field(default_factory=Sns)

    async def send(self, signed: dict[str, str], **changes: Any) -> httpx.Response:
        """Send the message as SNS does; a change to None leaves the field out."""
        body = {k: v for k, v in {**signed, **changes}.items() if v is not None}
        return await self.post(json.dumps(body).encode())

    async def post(self, body: bytes) -> httpx.Response:
        headers = {"content-type": "text/plain; charset=UTF-8"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1"
        ) as client:
            return await client.post(PATH, content=body, headers=headers)

    async def tell(self, kind: str, *, tag: str | None = None, **details: Any) -> None:
        """An event of the first tenant's mail, signed."""
        event = ses_event(kind, "ses-1", tag=tag, **details)
        answer = await self.send(signer().sign(notification(event)))
        assert (answer.status_code, answer.content) == (204, b"")

    async def sql(self, statement: str, **values: Any) -> Any:
        async with self.site.parts.owner.begin() as conn:
            result = await conn.execute(text(statement), values)
            return result.all() if result.returns_rows else None

    async def world(self) -> list[str]:
        """Every mail and every tenant."""
        rows = await self.sql(
            "SELECT to_jsonb(m)::text FROM public.email_deliveries m"
            " UNION ALL SELECT to_jsonb(t)::text FROM public.tenants t ORDER BY 1"
        )
        return [row[0] for row in rows]

    async def shown(self, tenant: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
        """A tenant's mail and its condition WelcomeSent, as the API shows them."""
        async with self.site.client() as client:
            body = (await client.get(f"{TENANTS}/{self.tenants[tenant]}")).json()
        (condition,) = (one for one in body["conditions"] if one["type"] == "WelcomeSent")
        return body["mails"][0], condition
