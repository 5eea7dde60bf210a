"""The mail server that mails are handed to, and how. Checked before the first mail."""

import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from controlplane.errors import SettingsInvalid


class Security(StrEnum):
    STARTTLS = "starttls"  # demanded: where it is not offered, nothing is sent
    TLS = "tls"
    NONE = "none"


_PORTS = {Security.STARTTLS: 587, Security.TLS: 465, Security.NONE: 25}


@dataclass(frozen=True, kw_only=True)
class SmtpServer:
    """`port` is by default the one of the security; `ca_file` stands instead of the system's CAs.

    Raises SettingsInvalid for half a login, and for a conversation that others could read.
    """

    host: str
    port: int = 0
    security: Security = Security.STARTTLS
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    plain_allowed: bool = False

    def __post_init__(self) -> None:
        if (self.user is None) != (self.password is None):
            raise SettingsInvalid(
                "CONTROLPLANE_MAIL_SMTP_USER and CONTROLPLANE_MAIL_SMTP_PASSWORD go together."
            )
        if self.security is Security.NONE and not (self.plain_allowed or _is_here(self.host)):
            raise SettingsInvalid(
                f"Mails, and the one-time links in them, would go to {self.host} readable for "
                "everybody on the way: use CONTROLPLANE_MAIL_SMTP_SECURITY=starttls or tls, or "
                "allow it by CONTROLPLANE_MAIL_SMTP_PLAIN_ALLOWED=true."
            )

    @property
    def reached_at(self) -> int:
        """The port."""
        return self.port or _PORTS[self.security]

    def context(self) -> ssl.SSLContext | None:
        """Proves the server's name by its certificate. Raises SettingsInvalid for a CA file of no use."""
        if self.security is Security.NONE:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise SettingsInvalid(
                f"CONTROLPLANE_MAIL_SMTP_CA_FILE: {self.ca_file} holds no certificates that can be "
                "read."
            ) from error


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
