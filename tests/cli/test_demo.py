"""`controlplane demo`: what it leaves, and that it really looks."""

from pathlib import Path

import psycopg

from controlplane import embedded
from controlplane.cli.ground.database import at_database
from tests.cli.processes import run


def test_demo_leaves_exactly_two_tenants_and_nothing_of_the_third(folder: Path) -> None:
    done = run("demo", "--keep", folder)
    assert done.returncode == 0, done.stderr
    assert "All as it must be" in done.stdout
    assert "contract.pdf, offer.pdf" in done.stdout
    server = embedded.start(folder / "postgres")
    try:
        with psycopg.connect(at_database(server.superuser_url, "controlplane_dev")) as conn:
            schemas = conn.execute(
                "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%'"
            ).fetchall()
            roles = conn.execute(
                "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenant%'"
            ).fetchall()
            states = conn.execute(
                "SELECT subdomain, state FROM public.tenants ORDER BY 1"
            ).fetchall()
    finally:
        embedded.stop(server)
    assert len(schemas) == 2
    assert sorted(schemas) == sorted(roles)
    assert states == [("acme", "active"), ("globex", "active"), ("initech", "failed")]
    zone = (folder / "zone" / "localhost.zone").read_text()
    assert zone.count("; controlplane/") == 2
    assert "initech" not in zone
    mails = [mail.read_text() for mail in (folder / "outbox").glob("*.eml")]
    assert len(mails) == 2
    assert not any("initech" in mail for mail in mails)


def test_demo_does_not_touch_a_folder_that_is_in_use(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine").write_text("keep this")
    refused = run("demo", "--keep", folder)
    assert refused.returncode == 2
    assert "is not empty" in refused.stderr
    assert [path.name for path in folder.iterdir()] == ["mine"]
