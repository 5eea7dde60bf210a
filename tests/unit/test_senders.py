"""Which sender the settings choose, and what is missing where they do not suffice."""

import pytest

from controlplane.errors import SettingsInvalid
from controlplane.senders import open_sender
from controlplane.settings import load
from controlplane_emails.file import FileSender
from controlplane_emails.memory import MemorySender
from controlplane_emails.ses import SesSender
from controlplane_emails.smtp import SmtpSender, on_the_wire
from controlplane_emails.smtp_server import Security, SmtpServer
from tests.unit.test_settings import HIDDEN, WHOLE

CHOICES = {
    "file": (FileSender, {"CONTROLPLANE_MAIL_FOLDER": "/var/lib/outbox"}),
    "memory": (MemorySender, {}),
    "ses": (SesSender, {}),
    "smtp": (SmtpSender, {"CONTROLPLANE_MAIL_SMTP_HOST": "mail.example.com"}),
}
SMTP = {**WHOLE, "CONTROLPLANE_MAIL": "smtp", "CONTROLPLANE_MAIL_SMTP_HOST": "mail.example.com"}


@pytest.mark.parametrize("kind", CHOICES)
def test_the_setting_chooses_the_sender(kind: str) -> None:
    wanted, more = CHOICES[kind]
    assert isinstance(open_sender(load({**WHOLE, "CONTROLPLANE_MAIL": kind, **more})), wanted)


def test_a_folder_that_is_missing_is_named() -> None:
    with pytest.raises(SettingsInvalid, match=r"CONTROLPLANE_MAIL_FOLDER must be set .* 'file'"):
        open_sender(load({**WHOLE, "CONTROLPLANE_MAIL": "file"}))


@pytest.mark.parametrize("kind", ["file", "ses", "smtp"])
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


def test_a_mail_server_that_is_missing_is_named() -> None:
    with pytest.raises(SettingsInvalid, match=r"CONTROLPLANE_MAIL_SMTP_HOST must be set .* 'smtp'"):
        open_sender(load({**WHOLE, "CONTROLPLANE_MAIL": "smtp"}))


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ({"CONTROLPLANE_MAIL_SMTP_USER": "apps"}, "go together"),
        ({"CONTROLPLANE_MAIL_SMTP_PASSWORD": HIDDEN}, "go together"),
        ({"CONTROLPLANE_MAIL_SMTP_SECURITY": "none"}, "CONTROLPLANE_MAIL_SMTP_PLAIN_ALLOWED"),
        ({"CONTROLPLANE_MAIL_SMTP_SECURITY": "ssl"}, "CONTROLPLANE_MAIL_SMTP_SECURITY"),
        ({"CONTROLPLANE_MAIL_SMTP_HOST": "mail\r\nhost"}, "CONTROLPLANE_MAIL_SMTP_HOST"),
        ({"CONTROLPLANE_MAIL_SMTP_CA_FILE": "/nowhere.pem"}, "CONTROLPLANE_MAIL_SMTP_CA_FILE"),
    ],
)
def test_a_mail_server_that_cannot_be_used_like_this_is_refused(
    more: dict[str, str], complaint: str
) -> None:
    with pytest.raises(SettingsInvalid, match=complaint) as caught:
        open_sender(load({**SMTP, **more}))
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_on_the_machine_itself_mail_may_go_unencrypted(host: str) -> None:
    assert SmtpServer(host=host, security=Security.NONE).context() is None


def test_elsewhere_it_may_where_the_settings_say_so() -> None:
    plain = {"CONTROLPLANE_MAIL_SMTP_SECURITY": "none"}
    allowed = {"CONTROLPLANE_MAIL_SMTP_PLAIN_ALLOWED": "true"}
    assert isinstance(open_sender(load({**SMTP, **plain, **allowed})), SmtpSender)


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("none", 25)])
def test_the_usual_port_is_the_one_of_the_security(security: str, port: int) -> None:
    assert SmtpServer(host="localhost", security=Security(security)).reached_at == port


def test_a_mail_servers_password_is_not_told() -> None:
    assert HIDDEN not in repr(SmtpServer(host="localhost", user="apps", password=HIDDEN))


@pytest.mark.parametrize(
    ("mail", "wire"),
    [
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b".\r\na\r\n", b"..\r\na\r\n.\r\n"),
        (b"a\n.\nb\r.\rc\r\n", b"a\r\n..\r\nb\r\n..\r\nc\r\n.\r\n"),
        (b"a\r\n.\r\n", b"a\r\n..\r\n.\r\n"),
    ],
)
def test_only_its_last_line_ends_a_mail(mail: bytes, wire: bytes) -> None:
    assert on_the_wire(mail) == wire
