"""The settings of mail; a part of controlplane.settings."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, Field, SecretStr

from controlplane_emails.smtp_server import Security


class MailKind(StrEnum):
    FILE = "file"
    SES = "ses"
    SMTP = "smtp"
    MEMORY = "memory"


class MailSettings(BaseModel):
    """See docs/reference/settings.md, which a test compares with these fields."""

    mail: MailKind = MailKind.FILE
    mail_from: str
    mail_folder: Path | None = None
    # Files of it go before ours of the same name.
    mail_templates: Path | None = None
    mail_smtp_host: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.:-]{1,253}$")
    # 0 is the usual one of the security: 587, 465 or 25.
    mail_smtp_port: int = Field(default=0, ge=0, le=65535)
    mail_smtp_security: Security = Security.STARTTLS
    mail_smtp_user: str | None = Field(default=None, min_length=1)
    mail_smtp_password: SecretStr | None = Field(default=None, min_length=1)
    # Instead of the system's CAs.
    mail_smtp_ca_file: Path | None = None
    # Unencrypted to another machine, on a network that nobody else is on.
    mail_smtp_plain_allowed: bool = False
    # Without one, the region that boto3 is configured for.
    mail_ses_region: str | None = Field(default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    mail_ses_configuration_set: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    # The topic of Amazon SNS by which SES tells what became of mails.
    mail_events_topic: str | None = Field(
        default=None, pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$"
    )
