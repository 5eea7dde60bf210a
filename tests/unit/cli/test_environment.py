"""Which settings the processes of `dev` get: the machine's, then those given, then our own."""

from pathlib import Path

import pytest

from controlplane.cli.ground.database import Urls
from controlplane.cli.ground.environment import variables, without_dns
from controlplane.cli.ground.folder import Folder, kept_keys, write_settings
from controlplane.errors import SettingsInvalid
from controlplane.settings import child_environment, given, load, load_dev

URLS = Urls(*(f"postgresql://{name}:p@127.0.0.1:1/d" for name in ("root", "own", "con", "app")))


def test_what_the_machine_dictates_goes_before_what_was_given() -> None:
    asked = {"CONTROLPLANE_BASE_DOMAIN": "example.com", "DATABASE_URL": "postgresql://x/y"}
    made = load(variables(URLS, Folder(Path("/site")), port=8123, given=asked))
    assert made.base_domain == "localhost"
    assert made.database_url.get_secret_value() == URLS.control
    assert made.url_of("acme") == "http://acme.localhost:8123"


def test_what_was_given_goes_before_our_own_choice() -> None:
    asked = {"CONTROLPLANE_LOG_LEVEL": "debug", "CONTROLPLANE_WORKER_SLOTS": "5"}
    made = load(variables(URLS, Folder(Path("/site")), port=8123, given=asked))
    assert (made.log_level, made.worker_slots, made.log_format) == ("debug", 5, "console")


def test_dev_writes_its_own_zone_unless_it_is_given_another_provider() -> None:
    made = load(variables(URLS, Folder(Path("/site")), port=8123, given={}))
    assert (made.dns, made.dns_zone_file) == ("zonefile", Path("/site/zone/localhost.zone"))
    asked = {"CONTROLPLANE_DNS": "rfc2136", "CONTROLPLANE_DNS_SERVER": "127.0.0.1:5353"}
    made = load(variables(URLS, Folder(Path("/site")), port=8123, given=asked))
    assert (made.dns, made.dns_server, made.dns_target) == (
        "rfc2136",
        "127.0.0.1:5353",
        "127.0.0.1",
    )
    made = load(variables(URLS, Folder(Path("/site")), port=8123, given=without_dns(asked)))
    assert (made.dns, made.dns_server) == ("zonefile", None)


def test_given_settings_are_those_of_variables_and_files(tmp_path: Path) -> None:
    (tmp_path / "from").write_text("a@b.test\n")
    found = given({"CONTROLPLANE_MAIL_FROM_FILE": str(tmp_path / "from"), "PATH": "/bin"})
    assert found == {"CONTROLPLANE_MAIL_FROM": "a@b.test"}
    with pytest.raises(SettingsInvalid, match="CONTROLPLANE_MAIL_FROM_FILE"):
        given({"CONTROLPLANE_MAIL_FROM_FILE": str(tmp_path / "missing")})


def test_a_child_gets_our_environment_but_no_settings_except_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONTROLPLANE_DNS", "memory")
    monkeypatch.setenv("DATABASE_URL_FILE", "/secret")
    monkeypatch.setenv("CITY", "Paris")
    child = child_environment({"CONTROLPLANE_MAIL": "memory"})
    assert (child["CITY"], child["CONTROLPLANE_MAIL"]) == ("Paris", "memory")
    assert not {"CONTROLPLANE_DNS", "DATABASE_URL_FILE"} & set(child)


def test_dev_uses_a_server_only_where_one_is_named() -> None:
    assert load_dev({}).database_url is None
    assert load_dev({"DATABASE_URL": "postgresql://x/y"}).database_url is not None


def test_a_shell_reads_back_what_was_written(tmp_path: Path) -> None:
    write_settings(tmp_path / "settings.env", {"A": "it's {host} $HOME", "B": "1"})
    text = (tmp_path / "settings.env").read_text()
    assert text == "A='it'\"'\"'s {host} $HOME'\nB=1\n"


def test_the_keys_are_made_once_kept_and_their_owners_alone(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    keys = kept_keys(folder)
    assert kept_keys(folder) == keys
    assert folder.keys.stat().st_mode & 0o777 == 0o600
    assert len(set(keys.values())) == len(keys)
    made = load(variables(URLS, folder, port=8123, given=keys))
    assert made.tenant_token_key is not None
    assert made.secrets_key is not None
