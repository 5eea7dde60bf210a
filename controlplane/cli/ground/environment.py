"""The settings of a control plane on one machine, as the variables that its processes read."""

from collections.abc import Mapping

from controlplane.cli.ground.database import Urls
from controlplane.cli.ground.folder import Folder

BASE_DOMAIN = "localhost"
# What whoever starts it may choose otherwise.
_PRESET = {
    "CONTROLPLANE_MAIL_FROM": "Control plane <noreply@localhost>",
    "CONTROLPLANE_LOG_FORMAT": "console",
    "CONTROLPLANE_LOG_LEVEL": "info",
    # One machine: a worker that was killed is replaced in seconds, and so is its lease.
    "CONTROLPLANE_WORKER_LEASE_S": "10",
    "CONTROLPLANE_WORKER_BEAT_S": "3",
    "CONTROLPLANE_WORKER_CALL_S": "5",
    "CONTROLPLANE_DNS_TARGET": "127.0.0.1",
}


def variables(urls: Urls, folder: Folder, *, port: int, given: Mapping[str, str]) -> dict[str, str]:
    """Every setting: what this machine dictates, then what was given, then our own choice."""
    return {
        **_PRESET,
        **given,
        "DATABASE_URL": urls.control,
        "DATABASE_URL_DIRECT": urls.owner,
        "CONTROLPLANE_APP_DATABASE_URL": urls.app,
        "CONTROLPLANE_BASE_DOMAIN": BASE_DOMAIN,
        "CONTROLPLANE_TENANT_URL": f"http://{{host}}:{port}",
        "CONTROLPLANE_LISTEN_HOST": "127.0.0.1",
        "CONTROLPLANE_LISTEN_PORT": str(port),
        **_zone(folder, given),
        "CONTROLPLANE_MAIL": "file",
        "CONTROLPLANE_MAIL_FOLDER": str(folder.outbox),
    }


def without_dns(given: Mapping[str, str]) -> dict[str, str]:
    """What was given, but for the settings of the zone."""
    return {name: text for name, text in given.items() if not name.startswith("CONTROLPLANE_DNS")}


def _zone(folder: Folder, given: Mapping[str, str]) -> dict[str, str]:
    """A zone file in the folder, unless another provider was given."""
    if given.get("CONTROLPLANE_DNS", "zonefile") != "zonefile":
        return {}
    return {
        "CONTROLPLANE_DNS": "zonefile",
        "CONTROLPLANE_DNS_TARGET": "127.0.0.1",
        "CONTROLPLANE_DNS_ZONE_FILE": str(folder.zone),
        # Nobody delegates to it; so the zone holds the tenants' records and no others.
        "CONTROLPLANE_DNS_NAMESERVER": "ns.invalid",
    }
