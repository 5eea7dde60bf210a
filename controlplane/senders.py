"""Chooses the sender of mail, and who tells what became of mails."""

from typing import assert_never

from controlplane.errors import SettingsInvalid
from controlplane.mail_settings import MailKind
from controlplane.ports import MailSender
from controlplane.providers import needed
from controlplane.settings import Settings
from controlplane_emails.smtp_server import SmtpServer
from controlplane_emails.sns_topic import SnsTopic


def open_sender(settings: Settings) -> MailSender:
    """The mail sender that the settings name. Raises SettingsInvalid for what it lacks."""
    match settings.mail:
        case MailKind.FILE:
            from controlplane_emails.file import FileSender  # noqa: PLC0415  only the chosen one

            folder = needed(settings.mail_folder, "mail_folder", settings.mail)
            return FileSender(folder, sender=settings.mail_from)
        case MailKind.SES:
            return _ses(settings)
        case MailKind.SMTP:
            return _smtp(settings)
        case MailKind.MEMORY:
            from controlplane_emails.memory import MemorySender  # noqa: PLC0415  only the chosen

            return MemorySender()
        case _:
            assert_never(settings.mail)


def _ses(settings: Settings) -> MailSender:
    try:
        from controlplane_emails.ses import SesSender  # noqa: PLC0415  an extra
    except ImportError as error:
        raise SettingsInvalid("CONTROLPLANE_MAIL=ses needs the extra 'ses'.") from error
    return SesSender(
        sender=settings.mail_from,
        timeout_s=settings.worker_call_s,
        region=settings.mail_ses_region,
        configuration_set=settings.mail_ses_configuration_set,
    )


def _smtp(settings: Settings) -> MailSender:
    try:
        from controlplane_emails.smtp import SmtpSender  # noqa: PLC0415  an extra
    except ImportError as error:
        raise SettingsInvalid("CONTROLPLANE_MAIL=smtp needs the extra 'smtp'.") from error
    password = settings.mail_smtp_password
    server = SmtpServer(
        host=needed(settings.mail_smtp_host, "mail_smtp_host", settings.mail),
        port=settings.mail_smtp_port,
        security=settings.mail_smtp_security,
        user=settings.mail_smtp_user,
        password=password.get_secret_value() if password else None,
        ca_file=settings.mail_smtp_ca_file,
        plain_allowed=settings.mail_smtp_plain_allowed,
    )
    return SmtpSender(server, sender=settings.mail_from, timeout_s=settings.worker_call_s)


def open_mail_events(settings: Settings) -> SnsTopic | None:
    """The topic that tells what became of mails, if the settings name one."""
    arn = settings.mail_events_topic
    if arn is None:
        return None
    from controlplane_emails.sns_fetch import fetcher  # noqa: PLC0415  slow, and seldom needed

    return SnsTopic(arn, fetch=fetcher())
