"""A zone file under several processes, a kill at the worst moment and a full disk."""

import subprocess
import sys
from pathlib import Path

import dns.zone

CHILD = Path(__file__).with_name("zone_child.py")


def start(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(CHILD), *map(str, args)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603  this file's sibling


def finished(child: subprocess.Popen[str]) -> tuple[int, str]:
    _, complaint = child.communicate()
    return child.returncode, complaint


def tenants(path: Path) -> set[str]:
    """The names that a server would find in the file."""
    zone = dns.zone.from_file(str(path), origin="example.com.")
    return {str(name) for name in zone} - {"@", "ns1"}


def serial(path: Path) -> int:
    zone = dns.zone.from_file(str(path), origin="example.com.")
    return int(zone.get_soa().serial)


def test_two_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "zone"
    assert finished(start(path, "first", 1)) == (0, "")
    before = serial(path)
    children = [start(path, "left", 25), start(path, "right", 25)]
    assert [finished(child) for child in children] == [(0, ""), (0, "")]
    expected = {f"{side}-{number:02}" for side in ("left", "right") for number in range(25)}
    assert tenants(path) == {"first-00"} | expected
    assert serial(path) == before + 50


def test_a_kill_before_the_rename_leaves_the_zone_as_it_was_and_open_to_the_next(
    tmp_path: Path,
) -> None:
    path = tmp_path / "zone"
    finished(start(path, "first", 1))
    before = path.read_bytes()
    assert finished(start(path, "killed", 1, "die-before-rename")) == (-9, "")
    assert path.read_bytes() == before
    assert "killed-00" in (tmp_path / ".zone.tmp").read_text()
    assert finished(start(path, "next", 1)) == (0, "")
    assert tenants(path) == {"first-00", "next-00"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["zone", "zone.lock"]


def test_a_full_disk_is_told_in_words_and_the_zone_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "zone"
    code, complaint = finished(start(path, "tenant", 20, "disk-full"))
    assert code == 1
    assert complaint == (
        f"The zone file {path} cannot be used: File too large. "
        "Check its folder's owner, mode and free space.\n"
    )
    written = tenants(path)
    assert 0 < len(written) < 20
    assert sorted(file.name for file in tmp_path.iterdir()) == ["zone", "zone.lock"]
    assert finished(start(path, "tenant", 20)) == (0, "")
    assert len(tenants(path)) == 20
