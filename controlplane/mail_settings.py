"""The settings of mail; a part of controlplane.settings."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, Field


class MailKind(StrEnum):
    FILE = "file"
    SES = "ses"
    MEMORY = "memory"


class MailSettings(BaseModel):
    """See docs/reference/settings.md, which a test compares with these fields."""

    mail: MailKind = MailKind.FILE
    mail_from: str
    mail_folder: Path | None = None
    # Files of it go before ours of the same name.
    mail_templates: Path | None = None
    # Without one, the region that boto3 is configured for.
    mail_ses_region: str | None = Field(default=None, pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")
    mail_ses_configuration_set: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    # The topic of Amazon SNS by which SES tells what became of mails.
    mail_events_topic: str | None = Field(
        default=None, pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:\d{12}:[A-Za-z0-9_-]{1,256}$"
    )
