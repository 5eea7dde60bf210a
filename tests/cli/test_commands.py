"""The commands that talk to the API, against one real control plane."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Cli, create
from tests.cli.processes import Dev

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def dev(shared_folder: Path) -> Iterator[Dev]:
    started = Dev(shared_folder)
    yield started
    assert started.stop() == 0


def test_a_tenant_is_created_shown_listed_and_deleted(cli: Cli) -> None:
    created = create(cli, "acme", "--output", "json")
    assert (created.code, created.json["state"]) == (0, "succeeded")
    assert "  activate    done" in created.err

    by_name, by_id = cli("tenant", "show", "acme", "-o", "json"), created.json["tenant_id"]
    # Its welcome mail goes out meanwhile.
    assert by_name.json["id"] == cli("tenant", "show", by_id, "-o", "json").json["id"] == by_id
    assert by_name.json["state"] == "active"
    assert any(t["id"] == by_id for t in cli("tenant", "list", "-o", "json").json)
    assert cli("tenant", "show", "acme").out.startswith(f"id           {by_id}\n")
    heading, *rows = cli("tenant", "list", "--search", "acme").out.splitlines()
    assert heading.split() == ["SUBDOMAIN", "NAME", "STATE", "AGE", "ID"]
    assert [row.split()[:3] for row in rows] == [["acme", "Acme", "active"]]

    assert cli("tenant", "delete", "acme").code == 2
    assert cli("tenant", "delete", "acme", "--confirm", "acne").code == 2
    assert cli("tenant", "delete", "acme", "--dry-run").code == 0
    assert cli("tenant", "show", "acme", "-o", "json").json["state"] == "active"
    deleted = cli("tenant", "delete", "acme", "--confirm", "acme")
    assert deleted.code == 0
    assert "State      deleted" in deleted.out
    again = cli("tenant", "delete", "acme", "--confirm", "acme")
    assert (again.code, "is deleted already" in again.err) == (0, True)


def state_of(cli: Cli, tenant: str) -> str:
    return str(cli("tenant", "show", tenant, "-o", "json").json["state"])


def test_a_tenant_goes_through_its_life_by_its_subdomain(cli: Cli) -> None:
    assert create(cli, "aviato").code == 0
    for verb, state in [
        ("suspend", "suspended"),
        ("repair", "suspended"),
        ("resume", "active"),
        ("welcome", "active"),
    ]:
        done = cli("tenant", verb, "aviato")
        assert (done.code, f"State      {state}" in done.out) == (0, True), verb
    assert cli("tenant", "delete", "aviato", "--confirm", "aviato").code == 0
    restored = cli("tenant", "restore", "aviato", "-o", "json")
    assert (restored.code, restored.json["kind"]) == (0, "restore")
    assert "Restoring 'aviato'" in restored.err
    assert cli("tenant", "delete", "aviato", "--confirm", "aviato").code == 0
    early = cli("tenant", "purge", "aviato", "--confirm", "aviato")
    assert (early.code, "[invalid_state]" in early.err) == (1, True)
    purged = cli("tenant", "purge", "aviato", "--confirm", "aviato", "--skip-grace")
    assert (purged.code, "State      purged" in purged.out) == (0, True)
    # The name is one that was held, so it still leads to the tombstone.
    again = cli("tenant", "purge", "aviato", "--confirm", "aviato", "--skip-grace")
    assert (again.code, "[invalid_state]" in again.err) == (1, True)


def test_a_tenant_is_renamed_and_its_old_name_kept_until_it_is_given_free(cli: Cli) -> None:
    tenant_id = create(cli, "bighead", "-o", "json").json["tenant_id"]
    dry = cli("tenant", "rename", "bighead", "nip-alert", "--dry-run")
    assert (dry.code, dry.out) == (0, "")
    assert dry.err == f"Would rename 'bighead' ({tenant_id}), now active, to 'nip-alert'.\n"
    renamed = cli("tenant", "rename", "bighead", "Nip-Alert", "-o", "json")
    assert (renamed.code, renamed.json["kind"]) == (0, "rename")
    assert "Renaming 'bighead' to 'nip-alert'" in renamed.err
    assert cli("tenant", "show", "nip-alert", "-o", "json").json["id"] == tenant_id
    same = cli("tenant", "rename", "nip-alert", "nip-alert")
    assert (same.code, "[validation_failed, /subdomain]" in same.err) == (1, True)
    assert cli("tenant", "rename", "nip-alert", "bighead", "--dry-run").code == 0

    for options in ([], ["--dry-run"]):
        refused = create(cli, "bighead", *options)
        assert (refused.code, "[subdomain_quarantined]" in refused.err) == (1, True)
    assert create(cli, "nip-alert", "--dry-run").code == 1
    release = ("tenant", "release-name", "bighead")
    assert cli(*release).code == 2
    assert cli(*release, "--confirm", "nip-alert").code == 2
    shown = cli(*release, "--dry-run", "-o", "json")
    assert [(hold["why"], hold["tenant_id"]) for hold in shown.json] == [("released", tenant_id)]
    assert f"Would give free 'bighead', held (released) for {tenant_id}" in shown.err
    assert "Gave free 'bighead'" in cli(*release, "--confirm", "bighead").err
    again = cli(*release, "--confirm", "bighead")
    assert (again.code, again.err) == (0, "Nobody holds 'bighead'.\n")
    assert create(cli, "bighead", "--dry-run").code == 0


def test_a_purge_must_be_meant(cli: Cli) -> None:
    tenant_id = create(cli, "endframe", "-o", "json").json["tenant_id"]
    assert cli("tenant", "delete", "endframe", "--confirm", "endframe").code == 0
    for reference in ("endframe", tenant_id):
        purge = ("tenant", "purge", reference, "--skip-grace")
        for confirm in ([], ["--confirm", "endframes"], ["--confirm", tenant_id]):
            refused = cli(*purge, *confirm)
            assert (refused.code, refused.out) == (2, ""), confirm
    assert state_of(cli, "endframe") == "deleted"
    by_id = cli("tenant", "purge", tenant_id, "--confirm", "endframe", "--skip-grace", "--no-wait")
    assert (by_id.code, "operation watch" in by_id.err) == (0, True)


@pytest.mark.parametrize("verb", ["suspend", "resume", "restore", "repair", "welcome", "purge"])
def test_a_dry_run_of_a_change_changes_nothing(cli: Cli, verb: str) -> None:
    subdomain = f"dry-{verb}"
    created = create(cli, subdomain, "-o", "json").json
    dry = cli("tenant", verb, subdomain, "--dry-run")
    assert (dry.code, dry.out) == (0, "")
    assert dry.err == f"Would {verb} '{subdomain}' ({created['tenant_id']}), now active.\n"
    listed = cli("operation", "list", "--tenant", subdomain, "-o", "json").json
    assert [operation["id"] for operation in listed] == [created["id"]]
    assert cli("tenant", verb, "nosuch", "--dry-run").code == 3


def test_an_operation_is_listed_shown_and_watched(cli: Cli) -> None:
    accepted = create(cli, "hooli", "--no-wait", "-o", "json")
    operation_id = accepted.json["id"]
    assert f"controlplane operation watch {operation_id}" in accepted.err
    assert cli("operation", "watch", operation_id).code == 0
    assert cli("operation", "show", operation_id, "-o", "json").json["state"] == "succeeded"
    listed = cli("operation", "list", "--tenant", "hooli", "-o", "json").json
    assert [operation["id"] for operation in listed] == [operation_id]
    assert "activate  done" in cli("operation", "show", operation_id).out
    refused = cli("operation", "cancel", operation_id)
    assert (refused.code, "[invalid_state]" in refused.err) == (1, True)
    assert cli("operation", "resume", operation_id).code == 1
    abandon = ("operation", "abandon", operation_id, "--reason", "no", "--comment", "no")
    assert cli(*abandon).code == 1


def test_a_dry_run_creates_nothing(cli: Cli) -> None:
    assert create(cli, "globex", "--dry-run").code == 0
    assert cli("tenant", "show", "globex").code == 3
    assert create(cli, "globex", "--no-wait").code == 0
    assert create(cli, "globex", "--dry-run").code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["tenant", "show", "nosuch"], 3, "no tenant with the subdomain 'nosuch'"),
        (["tenant", "show", NOBODY], 3, "[tenant_not_found]"),
        (["operation", "show", NOBODY], 3, "[operation_not_found]"),
        (["operation", "show", "acme"], 2, "not a valid UUID"),
        (["tenant", "list", "--state", "odd"], 2, "'odd' is not one of"),
        (["tenant", "list", "--bogus"], 2, "No such option"),
    ],
)
def test_what_cannot_be_is_told_in_a_line_and_by_the_exit_code(
    cli: Cli, arguments: list[str], code: int, told: str
) -> None:
    failed = cli(*arguments)
    assert (failed.code, failed.out) == (code, "")
    assert told in failed.err
    assert "Traceback" not in failed.err


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"--subdomain": "www"}, "[subdomain_reserved]"),
        ({"--admin-email": "nobody"}, "/admin_email"),
        ({"--admin-name": "Ada\nBcc: x"}, "/admin_name"),
    ],
)
def test_a_field_that_does_not_fit_is_named(cli: Cli, changed: dict[str, str], told: str) -> None:
    options = {"--subdomain": "initech", "--admin-email": "a@b.test", **changed}
    failed = cli("tenant", "create", "Initech", *(x for pair in options.items() for x in pair))
    assert failed.code == 1
    assert told in failed.err
    assert len(failed.err.splitlines()) == 1


def test_who_has_no_valid_token_is_told_so(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROLPLANE_TOKEN", "cp_wrong")
    assert cli("tenant", "list").code == 4
    monkeypatch.delenv("CONTROLPLANE_TOKEN")
    missing = cli("tenant", "list")
    assert (missing.code, "CONTROLPLANE_TOKEN_FILE" in missing.err) == (4, True)


def test_an_api_that_is_away_is_told_in_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROLPLANE_URL", "http://127.0.0.1:1")
    failed = cli("tenant", "list")
    assert failed.code == 1
    assert failed.err.startswith("Error: The API at http://127.0.0.1:1 does not answer")


@pytest.mark.usefixtures("owner")
def test_a_new_admin_gets_a_token_that_may_do_what_it_says(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = ("admin", "create", "--email", "Eve@acme.test", "--role", "support")
    assert cli(*admin, "--dry-run").code == 0
    assert cli(*admin, "-o", "json").json["email"] == "eve@acme.test"
    assert cli(*admin).code == 1
    token = ("token", "create", "--email", "eve@acme.test", "--name", "t", "--scope", "read")
    made = cli(*token, "--expires-days", "1")
    assert made.out.startswith("cp_")
    assert len(made.out.split()) == 1
    monkeypatch.setenv("CONTROLPLANE_TOKEN", made.out.strip())
    assert cli("tenant", "list").code == 0
    assert create(cli, "vehement").code == 4
    unknown = ("token", "create", "--email", "nobody@acme.test", "--name", "t")
    assert cli(*unknown).code == 3

    revoke = ("token", "revoke", "--email", "eve@acme.test", "--name", "t")
    assert cli(*revoke).err == "Revoked 1 token 't' of 'eve@acme.test'.\n"
    assert cli("tenant", "list").code == 4
    again = cli(*revoke)
    assert (again.code, again.err) == (0, "Revoked 0 tokens 't' of 'eve@acme.test'.\n")
    assert cli("token", "revoke", "--email", "nobody@acme.test", "--name", "t").code == 3


@pytest.mark.usefixtures("owner")
def test_a_schema_is_shown_with_its_protection(cli: Cli) -> None:
    assert create(cli, "raviga").code == 0
    shown = cli("schema", "show", "raviga", "-o", "json").json
    assert {"users", "sessions", "audit_events"} <= {table["name"] for table in shown}
    assert all(table["protected"] for table in shown)
    assert "users" in cli("schema", "show", "raviga").out
    assert "uuid" in cli("schema", "show", "raviga", "--columns").out
    assert cli("schema", "show", "nosuch").code == 3


@pytest.mark.usefixtures("owner")
def test_migrating_again_changes_nothing(cli: Cli) -> None:
    assert cli("migrate", "--dry-run").code == 0
    assert cli("migrate").code == 0


def test_a_domain_is_added_looked_at_and_removed(cli: Cli) -> None:
    assert create(cli, "coleman").code == 0
    domain = ("tenant", "domain")
    assert cli(*domain, "add", "coleman", "www.coleman.example", "--dry-run").code == 0
    assert cli(*domain, "list", "coleman", "-o", "json").json == []
    added = cli(*domain, "add", "coleman", "WWW.Bücher.example")
    assert (added.code, added.err) == (0, "")
    host = "www.xn--bcher-kva.example"
    for told in (f"host         {host}\n", "pending", f"_controlplane-challenge.{host}"):
        assert told in added.out
    assert [line.split()[0] for line in added.out.splitlines()[-3:]] == ["TXT", "CNAME", "A"]
    seen = cli(*domain, "check", "coleman", host, "-o", "json")
    # Nobody listens where the tests have names asked about.
    assert (seen.code, seen.json["problem"]["code"]) == (0, "dns_unavailable")
    assert "[dns_unavailable]" in cli(*domain, "show", "coleman", host).out
    assert cli(*domain, "primary", "coleman", host, "-o", "json").json["is_primary"] is True
    heading, row = cli(*domain, "list", "coleman").out.splitlines()
    assert heading.split()[:3] == ["HOST", "STATE", "PRIMARY"]
    assert row.split()[:3] == [host, "pending", "yes"]
    assert host in cli("tenant", "show", "coleman").out

    assert cli(*domain, "remove", "coleman", host).code == 2
    removed = cli(*domain, "remove", "coleman", host, "--confirm", host)
    assert (removed.code, f"Removed '{host}'" in removed.err) == (0, True)
    assert cli(*domain, "show", "coleman", host).code == 3
    wrong = cli(*domain, "add", "coleman", "127.0.0.1")
    assert (wrong.code, "no address" in wrong.err) == (1, True)


def test_a_rollout_is_planned_begun_and_shown(cli: Cli) -> None:
    assert cli("rollout", "status").code == 3
    planned = cli("rollout", "plan", "--ring", "ours=list:acme", "--max-parallel", "3")
    assert (planned.code, "connections  3 at once" in planned.out) == (0, True), planned.err
    assert cli("rollout", "plan", "--ring", "nonsense").err.endswith("[validation_failed]\n")
    refused = cli("rollout", "plan", "--failure-budget", "two")
    assert refused.code == 2
    assert "'--failure-budget': The failure budget is a number" in refused.err
    begun = cli("rollout", "start", "-o", "json")
    assert (begun.code, begun.json["state"]) == (0, "succeeded"), begun.err
    assert cli("rollout", "status").out.startswith(f"{begun.json['id']}  succeeded  to app_")
    assert (cli("rollout", "watch").code, cli("rollout", "pause").code) == (0, 1)
    assert "No way leads back" in cli("rollout", "plan", "--to", "app_0000").err
    released = cli("rollout", "start", "--release", "-o", "json")
    assert (released.code, released.json["state"]) == (0, "succeeded"), released.err
    assert cli("rollout", "start", "--release", "--to", "app_0001").code == 2
