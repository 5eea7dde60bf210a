"""Which sender the settings choose, and what is missing where they do not suffice."""

import pytest

from controlplane.errors import SettingsInvalid
from controlplane.senders import open_sender
from controlplane.settings import load
from controlplane_emails.file import FileSender
from controlplane_emails.memory import MemorySender
from controlplane_emails.ses import SesSender
from tests.unit.test_settings import WHOLE

CHOICES = {
    "file": (FileSender, {"CONTROLPLANE_MAIL_FOLDER": "/var/lib/outbox"}),
    "memory": (MemorySender, {}),
    "ses": (SesSender, {}),
}


@pytest.mark.parametrize("kind", CHOICES)
def test_the_setting_chooses_the_sender(kind: str) -> None:
    wanted, more = CHOICES[kind]
    assert isinstance(open_sender(load({**WHOLE, "CONTROLPLANE_MAIL": kind, **more})), wanted)


def test_a_folder_that_is_missing_is_named() -> None:
    with pytest.raises(SettingsInvalid, match=r"CONTROLPLANE_MAIL_FOLDER must be set .* 'file'"):
        open_sender(load({**WHOLE, "CONTROLPLANE_MAIL": "file"}))


@pytest.mark.parametrize("kind", ["file", "ses"])
def test_a_sender_that_is_no_address_is_refused(kind: str) -> None:
    more = {**CHOICES[kind][1], "CONTROLPLANE_MAIL_FROM": "Apps"}
    with pytest.raises(SettingsInvalid, match="is not an address"):
        open_sender(load({**WHOLE, "CONTROLPLANE_MAIL": kind, **more}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONTROLPLANE_MAIL_SES_REGION", "Ireland"),
        ("CONTROLPLANE_MAIL_SES_CONFIGURATION_SET", "a set"),
    ],
)
def test_what_ses_could_not_know_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        load({**WHOLE, name: value})
