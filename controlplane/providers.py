"""Chooses the DNS provider; only the chosen one is imported."""

from contextlib import ExitStack
from typing import TypeVar, assert_never

from controlplane.dns_settings import DnsKind
from controlplane.errors import SettingsInvalid
from controlplane.ports import DnsProvider, Turns
from controlplane.settings import Settings, variable

T = TypeVar("T")

_NEEDS_EXTRA = (
    "The DNS provider '{0}' needs the extra '{0}': pip install 'controlplane[server,{0}]'."
)


def open_dns(settings: Settings, *, closing: ExitStack, turns: Turns | None = None) -> DnsProvider:
    """The DNS provider that the settings name. Raises SettingsInvalid for what it lacks.

    `closing` ends what it holds; `turns` is the queue before one that takes only so many requests.
    """
    match settings.dns:
        case DnsKind.ZONEFILE:
            return _zone_file(settings)
        case DnsKind.RFC2136:
            return _rfc2136(settings)
        case DnsKind.CLOUDFLARE:
            return _cloudflare(settings, turns)
        case DnsKind.ROUTE53:
            return _route53(settings, turns, closing)
        case DnsKind.WILDCARD:
            return _wildcard(settings)
        case DnsKind.MEMORY:
            from controlplane_dns.memory import MemoryDns  # noqa: PLC0415  only the chosen one

            return MemoryDns()
        case _:
            assert_never(settings.dns)


def needed(value: T | None, field: str, kind: str) -> T:
    """Raises SettingsInvalid that names the setting where a provider cannot do without it."""
    if value is None:
        raise SettingsInvalid(f"{variable(field)} must be set where the provider is '{kind}'.")
    return value


def _zone_file(settings: Settings) -> DnsProvider:
    from controlplane_dns.zonefile import ZoneFile  # noqa: PLC0415  only the chosen one

    path = needed(settings.dns_zone_file, "dns_zone_file", settings.dns)
    return ZoneFile(path, zone=settings.base_domain, nameserver=settings.dns_nameserver)


def _rfc2136(settings: Settings) -> DnsProvider:
    from controlplane_dns.rfc2136 import Rfc2136  # noqa: PLC0415  only the chosen one
    from controlplane_dns.talk import Key, Server, parse_address  # noqa: PLC0415

    secret = needed(settings.dns_key_secret, "dns_key_secret", settings.dns)
    key = Key(
        needed(settings.dns_key_name, "dns_key_name", settings.dns),
        secret.get_secret_value(),
        settings.dns_key_algorithm,
    )
    primary = parse_address(needed(settings.dns_server, "dns_server", settings.dns))
    timeout_s = settings.worker_call_s
    return Rfc2136(
        Server(primary, key=key, timeout_s=timeout_s),
        zone=settings.dns_zone_name or settings.base_domain,
        domain=settings.base_domain,
        # They need not know the key: whoever asks is answered.
        secondaries=[
            Server(parse_address(address), key=None, timeout_s=timeout_s)
            for address in settings.dns_secondaries
        ],
    )


def _cloudflare(settings: Settings, turns: Turns | None) -> DnsProvider:
    try:
        from controlplane_dns.cloudflare import Cloudflare  # noqa: PLC0415  only the chosen one
    except ImportError as error:
        raise SettingsInvalid(_NEEDS_EXTRA.format(settings.dns)) from error
    return Cloudflare(
        zone_id=needed(settings.dns_zone_id, "dns_zone_id", settings.dns),
        token=needed(settings.dns_token, "dns_token", settings.dns).get_secret_value(),
        domain=settings.base_domain,
        timeout_s=settings.worker_call_s,
        turns=turns,
    )


def _route53(settings: Settings, turns: Turns | None, closing: ExitStack) -> DnsProvider:
    try:
        from controlplane_dns.route53 import Route53  # noqa: PLC0415  only the chosen one
        from controlplane_dns.route53_talk import Talk, connector  # noqa: PLC0415
    except ImportError as error:
        raise SettingsInvalid(_NEEDS_EXTRA.format(settings.dns)) from error
    made = Route53(
        Talk(connector(timeout_s=settings.worker_call_s)),
        zone_id=needed(settings.dns_zone_id, "dns_zone_id", settings.dns),
        domain=settings.base_domain,
        turns=turns,
    )
    closing.callback(made.close)
    return made


def _wildcard(settings: Settings) -> DnsProvider:
    from controlplane_dns.talk import parse_address  # noqa: PLC0415  only the chosen one
    from controlplane_dns.wildcard import Wildcard  # noqa: PLC0415

    return Wildcard(
        domain=settings.base_domain,
        timeout_s=settings.worker_call_s,
        server=parse_address(settings.dns_server) if settings.dns_server else None,
    )
