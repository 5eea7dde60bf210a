"""`controlplane dev`: from a POST to a refused host, through kills and restarts."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.cli.processes import Answer, Dev, eventually, run

READY = {
    "url",
    "base_domain",
    "database_url",
    "app_database_url",
    "admin_token",
    "outbox",
    "zone",
    "pid",
}


def info(dev: Dev, subdomain: str) -> Answer:
    port = dev.ready["url"].rpartition(":")[2]
    return dev.call("GET", "/api/tenant/info", host=f"{subdomain}.localhost:{port}")


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def dev(folder: Path) -> Iterator[Dev]:
    """Killed afterwards, whatever has become of it."""
    started = Dev(folder)
    yield started
    started.kill()


def test_a_tenant_lives_from_its_post_to_its_deletion_and_dev_ends_without_a_trace(
    dev: Dev,
) -> None:
    assert set(dev.ready) == READY
    assert dev.ready["pid"] == dev.process.pid
    for secret in ("logins.json", "settings.env"):
        assert (dev.folder / secret).stat().st_mode & 0o777 == 0o600
    accepted = dev.create("Acme")
    assert accepted.status == 202
    assert accepted.headers["Location"] == f"/api/admin/operations/{accepted.body['id']}"
    assert dev.ended(accepted.body)["state"] == "succeeded"

    schema = f"tenant_{accepted.body['tenant_id'].replace('-', '')}"
    assert dev.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%'") == [(schema,)]
    assert dev.query(f'SELECT email FROM "{schema}".users') == [("ada@acme.test",)]  # noqa: S608
    zone = Path(dev.ready["zone"])
    assert re.search(r"^acme \d+ IN A 127\.0\.0\.1 ; controlplane/", zone.read_text(), re.MULTILINE)
    outbox = Path(dev.ready["outbox"])
    eventually(lambda: len(list(outbox.glob("*.eml"))) == 1, "no mail")
    assert info(dev, "acme").body["name"] == "Acme"

    second = run("dev", "--port=0", "--data-dir", dev.folder)
    assert second.returncode == 1
    assert "Another process uses the folder" in second.stderr

    deleted = dev.call("DELETE", f"/api/admin/tenants/{accepted.body['tenant_id']}")
    assert dev.ended(deleted.body)["state"] == "succeeded"
    assert "acme" not in zone.read_text()
    eventually(lambda: info(dev, "acme").status == 404, "it is served still")

    worker = dev.worker
    assert dev.stop() == 0
    assert not runs(worker)
    assert not dev.is_announced
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dev.ready["database_url"])


def test_dev_that_was_killed_goes_on_where_it_was(dev: Dev) -> None:
    accepted = dev.create("Acme").body
    worker = dev.worker
    dev.kill()
    eventually(lambda: not runs(worker), "the worker outlives dev")
    again = Dev(dev.folder)
    try:
        assert again.ready["admin_token"] != dev.ready["admin_token"]
        tokens = "SELECT count(*) FILTER (WHERE revoked_at IS NULL), count(*) FROM api_tokens"
        assert again.query(tokens) == [(1, 2)]
        assert again.ended(accepted)["state"] == "succeeded"
        assert info(again, "acme").body["name"] == "Acme"
    finally:
        assert again.stop() == 0


def test_a_worker_that_is_killed_is_replaced_and_the_operation_ends(dev: Dev) -> None:
    first = dev.worker
    accepted = [dev.create(name).body for name in ("Acme", "Globex", "Initech")]
    os.kill(first, signal.SIGKILL)
    assert [dev.ended(operation)["state"] for operation in accepted] == ["succeeded"] * 3
    assert dev.worker != first
    assert len(dev.query("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%'")) == 3
