"""Which provider the settings choose, and what is missing where they do not suffice."""

import sys
from contextlib import ExitStack

import pytest

from controlplane import providers
from controlplane.errors import SettingsInvalid
from controlplane.ports import DnsProvider
from controlplane.settings import load
from controlplane_dns.cloudflare import Cloudflare
from controlplane_dns.memory import MemoryDns
from controlplane_dns.rfc2136 import Rfc2136
from controlplane_dns.route53 import Route53
from controlplane_dns.wildcard import Wildcard
from controlplane_dns.zonefile import ZoneFile
from tests.unit.test_settings import WHOLE

CHOICES = {
    "zonefile": (ZoneFile, {"CONTROLPLANE_DNS_ZONE_FILE": "/var/lib/zone"}),
    "memory": (MemoryDns, {}),
    "wildcard": (Wildcard, {}),
    "route53": (Route53, {"CONTROLPLANE_DNS_ZONE_ID": "Z2FDTNDATAQYW2"}),
    "rfc2136": (
        Rfc2136,
        {
            "CONTROLPLANE_DNS_SERVER": "ns1.example.com",
            "CONTROLPLANE_DNS_KEY_NAME": "controlplane",
            "CONTROLPLANE_DNS_KEY_SECRET": "c2VjcmV0LW93bA==",
        },
    ),
    "cloudflare": (
        Cloudflare,
        {
            "CONTROLPLANE_DNS_ZONE_ID": "023e105f4ecef8ad9ca31a8372d0c353",
            "CONTROLPLANE_DNS_TOKEN": "s3cret-owl",
        },
    ),
}


def open_dns(variables: dict[str, str]) -> DnsProvider:
    with ExitStack() as closing:
        return providers.open_dns(load(variables), closing=closing)


@pytest.mark.parametrize("kind", CHOICES)
def test_the_setting_chooses_the_provider(kind: str) -> None:
    wanted, more = CHOICES[kind]
    assert isinstance(open_dns({**WHOLE, "CONTROLPLANE_DNS": kind, **more}), wanted)


@pytest.mark.anyio
async def test_what_a_provider_holds_ends_with_whoever_opened_it() -> None:
    variables = {**WHOLE, "CONTROLPLANE_DNS": "route53", **CHOICES["route53"][1]}
    with ExitStack() as closing:
        route53 = providers.open_dns(load(variables), closing=closing)
    with pytest.raises(RuntimeError, match="after shutdown"):
        await route53.propagation("C2682N5HXP0BZ4")


@pytest.mark.parametrize(("kind", "package"), [("cloudflare", "cloudflare"), ("route53", "boto3")])
def test_an_extra_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: str, package: str
) -> None:
    for name in list(sys.modules):
        if name.startswith(f"controlplane_dns.{kind}"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsInvalid, match=rf"controlplane\[server,{kind}\]"):
        open_dns({**WHOLE, "CONTROLPLANE_DNS": kind, **CHOICES[kind][1]})


@pytest.mark.parametrize(
    ("kind", "missing"), [(kind, name) for kind, (_, more) in CHOICES.items() for name in more]
)
def test_what_a_provider_lacks_is_named(kind: str, missing: str) -> None:
    more = {name: value for name, value in CHOICES[kind][1].items() if name != missing}
    with pytest.raises(SettingsInvalid, match=f"{missing} must be set .* '{kind}'"):
        open_dns({**WHOLE, "CONTROLPLANE_DNS": kind, **more})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("rfc2136", "CONTROLPLANE_DNS_SERVER", "ns1:dns"),
        ("rfc2136", "CONTROLPLANE_DNS_SECONDARIES", "ns2.example.com,ns3:dns"),
        ("rfc2136", "CONTROLPLANE_DNS_KEY_NAME", "a..b"),
        ("rfc2136", "CONTROLPLANE_DNS_KEY_SECRET", "s3cret-owl!"),
        ("cloudflare", "CONTROLPLANE_DNS_ZONE_ID", "example.com"),
        ("cloudflare", "CONTROLPLANE_DNS_TOKEN", "s3cret-owl\r\nX-Evil: 1"),
    ],
)
def test_what_does_not_fit_is_refused_without_telling_a_secret(
    kind: str, name: str, value: str
) -> None:
    more = {"CONTROLPLANE_DNS": kind, **CHOICES[kind][1], name: value}
    with pytest.raises(SettingsInvalid) as caught:
        open_dns({**WHOLE, **more})
    assert "s3cret-owl" not in str(caught.value)
