"""What became of mails, told by Amazon SES through Amazon SNS. No token: SNS signs what it sends."""

from datetime import UTC, datetime

import structlog
from litestar import post

from controlplane.errors import BodyTooLarge, NotFound
from controlplane.store import mail_events
from controlplane.web.mail_figures import MailFigures
from controlplane.web.openapi import problems
from controlplane.web.request import ApiRequest
from controlplane_emails.ses_events import parse_event

log = structlog.get_logger()

# The largest message of SNS, and its envelope, in which every character may be escaped.
_LARGEST = 524_288


@post(
    "/api/webhooks/ses",
    operation_id="receiveMailEvents",
    summary="What became of mails",
    tags=["system"],
    status_code=204,
    responses=problems(403, 404, 413),
)
async def receive(request: ApiRequest) -> None:
    """A message of the topic of `CONTROLPLANE_MAIL_EVENTS_TOPIC`, signed by Amazon SNS: a bounce, a
    complaint, a delivery, or the confirmation of the subscription. 404 where no topic is set."""
    topic = request.parts.mail_events
    if topic is None:
        raise NotFound("There is nothing at this path.")
    body = await request.body()
    if len(body) > _LARGEST:
        raise BodyTooLarge(f"The body may have at most {_LARGEST} bytes.")
    text = await topic.receive(body, datetime.now(UTC))
    if text is not None:
        await _enter(request, text)


async def _enter(request: ApiRequest, text: str) -> None:
    event = parse_event(text)
    if event is None:
        log.info("mail_event_ignored")
        return
    async with request.parts.control.begin() as conn:
        mail = await mail_events.enter(conn, event)
    if mail is not None:
        figures: MailFigures = request.app.state.mails
        figures.told(event.fate)
    log.info("mail_event", mail=str(mail) if mail else None, fate=str(event.fate))
