"""Settings come whole or not at all, name every fault at once and tell no secret."""

from pathlib import Path

import pytest

from controlplane.dns_settings import DnsKind
from controlplane.errors import SettingsInvalid
from controlplane.mail_settings import MailKind
from controlplane.settings import (
    Settings,
    child_environment,
    given,
    load,
    load_client,
    variable,
)

HIDDEN = "s3cret-owl"
WHOLE = {
    "DATABASE_URL": f"postgresql://control:{HIDDEN}@db.test/app",
    "DATABASE_URL_DIRECT": f"postgres://owner:{HIDDEN}@db.test/app",
    "CONTROLPLANE_APP_DATABASE_URL": f"postgresql://app:{HIDDEN}@db.test/app",
    "CONTROLPLANE_BASE_DOMAIN": "apps.example.com",
    "CONTROLPLANE_DNS_TARGET": "192.0.2.1",
    "CONTROLPLANE_MAIL_FROM": "Apps <apps@example.com>",
}


def test_the_required_ones_suffice_and_the_rest_has_defaults() -> None:
    settings = load(WHOLE)
    assert settings.database_url_direct.get_secret_value() == WHOLE["DATABASE_URL_DIRECT"]
    assert (settings.dns, settings.mail) == (DnsKind.ZONEFILE, MailKind.FILE)
    assert settings.listen_host == "127.0.0.1"


@pytest.mark.parametrize("missing", sorted(WHOLE))
def test_each_required_one_is_missed_by_its_variable(missing: str) -> None:
    with pytest.raises(SettingsInvalid, match=rf"\b{missing}: Field required"):
        load({name: value for name, value in WHOLE.items() if name != missing})


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("DATABASE_URL", "mysql://root@db.test/app", "must begin with postgresql://"),
        ("DATABASE_URL", "sqlite:///app.db", "must begin with postgresql://"),
        ("DATABASE_URL", "", "must begin with postgresql://"),
        ("DATABASE_URL_DIRECT", "postgresql+psycopg://db.test/app", "must begin with postgresql:"),
        ("CONTROLPLANE_APP_DATABASE_URL", "db.test", "must begin with postgresql://"),
        ("CONTROLPLANE_BASE_DOMAIN", "", "must be a domain name"),
        ("CONTROLPLANE_BASE_DOMAIN", "apps..example.com", "must be a domain name"),
        ("CONTROLPLANE_BASE_DOMAIN", "example.com:8080", "must be a domain name"),
        ("CONTROLPLANE_BASE_DOMAIN", "https://example.com", "must be a domain name"),
        ("CONTROLPLANE_BASE_DOMAIN", "apps example.com", "must be a domain name"),
        ("CONTROLPLANE_BASE_DOMAIN", "-apps.example.com", "must be a domain name"),
        ("CONTROLPLANE_BASE_DOMAIN", "192.0.2.1", "must be a domain name"),
        ("CONTROLPLANE_BASE_DOMAIN", "2001:db8::1", "must be a domain name"),
        ("CONTROLPLANE_REDIS_URL", "http://cache.test", "must begin with redis://"),
        ("CONTROLPLANE_REDIS_URL", f"redis://:{HIDDEN}/x@cache.test:6379", "must be a URL"),
        ("CONTROLPLANE_REDIS_URL", f"rediss://:{HIDDEN}@[cache.test", "must be a URL"),
        ("CONTROLPLANE_RATE_LIMIT_TENANT", "-1", "greater than or equal to 0"),
        ("CONTROLPLANE_RATE_LIMIT_PRINCIPAL", "many", "valid integer"),
        ("CONTROLPLANE_RATE_LIMIT_TIERS", "professional", "must be tiers with numbers"),
        ("CONTROLPLANE_RATE_LIMIT_TIERS", "platinum=5", "must be tiers with numbers"),
        ("CONTROLPLANE_RATE_LIMIT_TIERS", "professional=-5", "must be tiers with numbers"),
        ("CONTROLPLANE_RATE_LIMIT_TIERS", "starter=99999999", "less than or equal to"),
        ("CONTROLPLANE_TRUSTED_PROXIES", "10.0.0.0/8 10.1.0.0/16", "must be networks such as"),
        ("CONTROLPLANE_TRUSTED_PROXIES", "10.0.0.1/8", "must be networks such as"),
        ("CONTROLPLANE_TRUSTED_PROXIES", "proxy.internal", "must be networks such as"),
        ("CONTROLPLANE_BASE_DOMAIN", "192.0.2.256", "must be a domain name"),
        ("CONTROLPLANE_BASE_DOMAIN", ".".join(["a" * 63] * 4), "must be a domain name"),
        ("CONTROLPLANE_DNS_TARGET", "", "must be an IP address or a host name"),
        ("CONTROLPLANE_DNS_TARGET", "192.0.2", "must be an IP address or a host name"),
        ("CONTROLPLANE_DNS_TARGET", "192.0.2.1:80", "must be an IP address or a host name"),
        ("CONTROLPLANE_DNS_TARGET", "fe80::1%eth0", "must be an IP address or a host name"),
        ("CONTROLPLANE_DNS_TARGET", "https://lb.example.com", "must be an IP address or a host"),
        ("CONTROLPLANE_DNS_TARGET", "lb example", "must be an IP address or a host name"),
        ("CONTROLPLANE_TENANT_URL", "https://example.com", "must hold {host}"),
        ("CONTROLPLANE_TENANT_URL", "{host}", "must begin with https:// or http://"),
        ("CONTROLPLANE_TENANT_URL", "javascript:{host}", "must begin with https:// or http://"),
        ("CONTROLPLANE_LISTEN_PORT", "65536", "less than or equal to 65535"),
        ("CONTROLPLANE_LISTEN_PORT", "http", "valid integer"),
        ("CONTROLPLANE_BODY_LIMIT_BYTES", "0", "greater than 0"),
        ("CONTROLPLANE_DNS", "route66", "'zonefile', 'rfc2136'"),
        ("CONTROLPLANE_DNS_ZONE_NAME", "example com", "must be a domain name"),
        (
            "CONTROLPLANE_DNS_ZONE_NAME",
            "example.org",
            "must be the base domain or a domain above it",
        ),
        (
            "CONTROLPLANE_DNS_ZONE_NAME",
            "ps.example.com",
            "must be the base domain or a domain above",
        ),
        ("CONTROLPLANE_DNS_KEY_ALGORITHM", "hmac-md5", "'hmac-sha256'"),
        ("CONTROLPLANE_DOMAINS_REFUSED", "api.example.com, -x", "must be host names such as"),
        ("CONTROLPLANE_DOMAIN_NAMESERVERS", "ns.example.com", "must be addresses such as"),
        ("CONTROLPLANE_DOMAIN_NAMESERVERS", "192.0.2.53:65536", "must be addresses such as"),
        ("CONTROLPLANE_DOMAINS_PER_TENANT", "-1", "greater than or equal to 0"),
        ("CONTROLPLANE_MAIL", "pigeon", "'file', 'ses', 'smtp' or 'memory'"),
        ("CONTROLPLANE_GRACE_DAYS", "-1", "greater than or equal to 0"),
        ("CONTROLPLANE_GRACE_DAYS", "36501", "less than or equal to 36500"),
        ("CONTROLPLANE_QUARANTINE_DAYS", "-1", "greater than or equal to 0"),
        ("CONTROLPLANE_WORKER_SLOTS", "0", "greater than or equal to 1"),
        ("CONTROLPLANE_WORKER_LEASE_S", "-1", "greater than 0"),
        ("CONTROLPLANE_WORKER_BEAT_S", "16", "at most half of CONTROLPLANE_WORKER_LEASE_S"),
        ("CONTROLPLANE_POOL_SIZE", "501", "less than or equal to 500"),
        ("CONTROLPLANE_LOG_LEVEL", "chatty", "must be one of debug, info, warning, error"),
        ("CONTROLPLANE_LOG_LEVEL", "", "must be one of debug, info, warning, error"),
        ("CONTROLPLANE_LOG_FORMAT", "xml", "match pattern"),
    ],
)
def test_a_value_that_does_not_fit_is_named(name: str, value: str, complaint: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load({**WHOLE, name: value})
    assert f"{name}: " in str(caught.value)
    assert complaint in str(caught.value)


def test_every_fault_stands_in_one_message(tmp_path: Path) -> None:
    broken = {
        **WHOLE,
        "DATABASE_URL": f"mysql://root:{HIDDEN}@db.test/app",
        "CONTROLPLANE_LISTEN_PORT": "http",
        "CONTROLPLANE_BASE_DOMAIN": "192.0.2.1",
        "CONTROLPLANE_TENANT_URL": "ftp://{host}",
        "CONTROLPLANE_LOG_LEVEL": "chatty",
        "CONTROLPLANE_MAIL_FROM_FILE": str(tmp_path / "absent"),
    }
    del broken["CONTROLPLANE_DNS_TARGET"]
    with pytest.raises(SettingsInvalid) as caught:
        load(broken)
    message = str(caught.value)
    for name in (
        "DATABASE_URL: ",
        "CONTROLPLANE_LISTEN_PORT: ",
        "CONTROLPLANE_BASE_DOMAIN: ",
        "CONTROLPLANE_TENANT_URL: ",
        "CONTROLPLANE_LOG_LEVEL: ",
        "CONTROLPLANE_DNS_TARGET: ",
        "CONTROLPLANE_MAIL_FROM_FILE: ",
    ):
        assert name in message
    assert "CONTROLPLANE_MAIL_FROM: " not in message
    assert "\n" not in message
    assert HIDDEN not in message


def test_a_secret_may_come_from_a_file_which_wins_over_the_variable(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("postgresql://control:from-file@db.test/app\n")
    settings = load({**WHOLE, "DATABASE_URL_FILE": str(path)})
    url = settings.database_url.get_secret_value()
    assert url == "postgresql://control:from-file@db.test/app"


def test_any_setting_may_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "slots"
    path.write_text("7\n")
    assert load({**WHOLE, "CONTROLPLANE_WORKER_SLOTS_FILE": str(path)}).worker_slots == 7


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "url"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsInvalid, match=r"DATABASE_URL_FILE: .*url cannot be read"):
        load({**WHOLE, "DATABASE_URL_FILE": str(path)})


def test_no_secret_shows_in_the_repr() -> None:
    settings = load(WHOLE)
    assert HIDDEN not in f"{settings!r} {settings}"
    assert HIDDEN not in f"{load({**WHOLE, 'CONTROLPLANE_DNS_KEY_SECRET': HIDDEN})!r}"
    client = load_client({"CONTROLPLANE_TOKEN": HIDDEN})
    assert HIDDEN not in f"{client!r} {client}"


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(WHOLE).listen_port = 1


def test_variables_of_others_are_left_alone() -> None:
    foreign = {"PATH": "/bin", "CONTROLPLANE_PORT_80_TCP": "tcp://10.0.0.1:80"}
    assert load({**WHOLE, **foreign}) == load(WHOLE)


def test_what_was_given_is_told_by_variable_with_files_read(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("postgresql://control@db.test/app\n")
    told = given({"DATABASE_URL_FILE": str(path), "CONTROLPLANE_POOL_SIZE": "3", "HOME": "/"})
    assert told == {
        "DATABASE_URL": "postgresql://control@db.test/app",
        "CONTROLPLANE_POOL_SIZE": "3",
    }


def test_what_was_given_by_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="DATABASE_URL_FILE: "):
        given({"DATABASE_URL_FILE": str(tmp_path / "absent")})


def test_a_child_gets_these_settings_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL_FILE", "elsewhere")
    monkeypatch.setenv("CONTROLPLANE_POOL_SIZE", "3")
    monkeypatch.setenv("LANGUAGE", "la")
    child = child_environment({"CONTROLPLANE_WORKER_SLOTS": "1"})
    assert child["LANGUAGE"] == "la"
    ours = {name: value for name, value in child.items() if name.startswith("CONTROLPLANE_WOR")}
    assert ours == {"CONTROLPLANE_WORKER_SLOTS": "1"}
    assert not {"DATABASE_URL_FILE", "CONTROLPLANE_POOL_SIZE"} & set(child)


def test_a_client_needs_nothing() -> None:
    assert load_client({}).url == "http://127.0.0.1:8080"
    assert load_client({}).token is None


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("database_url", "DATABASE_URL"),
        ("database_url_direct", "DATABASE_URL_DIRECT"),
        ("app_database_url", "CONTROLPLANE_APP_DATABASE_URL"),
        ("base_domain", "CONTROLPLANE_BASE_DOMAIN"),
    ],
)
def test_a_field_has_one_variable(field: str, name: str) -> None:
    assert field in Settings.model_fields
    assert variable(field) == name


@pytest.mark.parametrize(
    ("template", "address"),
    [
        ("https://{host}", "https://acme.apps.example.com"),
        ("http://{host}:8080/start", "http://acme.apps.example.com:8080/start"),
    ],
)
def test_a_tenants_address_is_made_from_its_subdomain(template: str, address: str) -> None:
    settings = load({**WHOLE, "CONTROLPLANE_TENANT_URL": template})
    assert settings.url_of("acme") == address


@pytest.mark.parametrize(
    "target", ["192.0.2.1", "2001:db8::1", "lb.example.com", "LB.example.com.", "localhost"]
)
def test_subdomains_may_lead_to_an_address_or_a_host(target: str) -> None:
    assert load({**WHOLE, "CONTROLPLANE_DNS_TARGET": target}).dns_target == target


def test_tiers_have_limits_by_name() -> None:
    tiers = {"CONTROLPLANE_RATE_LIMIT_TIERS": "professional=5000, enterprise = 0,"}
    assert load({**WHOLE, **tiers}).rate_limit_tiers == (("professional", 5000), ("enterprise", 0))


@pytest.mark.parametrize("zone", ["Example.com.", "apps.example.com", "com"])
def test_the_zone_is_the_base_domain_or_above_it(zone: str) -> None:
    assert load({**WHOLE, "CONTROLPLANE_DNS_ZONE_NAME": zone}).dns_zone_name == zone.lower().rstrip(
        "."
    )


def test_secondaries_stand_with_commas_between() -> None:
    several = {"CONTROLPLANE_DNS_SECONDARIES": "ns2.example.com, 192.0.2.54:5353,"}
    assert load({**WHOLE, **several}).dns_secondaries == ("ns2.example.com", "192.0.2.54:5353")


def test_a_log_level_may_be_written_in_capitals() -> None:
    assert load({**WHOLE, "CONTROLPLANE_LOG_LEVEL": "WARNING"}).log_level == "warning"


def test_the_base_domain_is_lower_case_without_a_trailing_dot() -> None:
    domain = {"CONTROLPLANE_BASE_DOMAIN": "Apps.Example.COM."}
    assert load({**WHOLE, **domain}).base_domain == "apps.example.com"


def test_trusted_proxies_are_networks_and_by_default_there_are_none() -> None:
    several = {"CONTROLPLANE_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8,192.0.2.7,"}
    assert load(WHOLE).trusted_proxies == ()
    assert [str(network) for network in load({**WHOLE, **several}).trusted_proxies] == [
        "10.0.0.0/8",
        "fd00::/8",
        "192.0.2.7/32",
    ]
