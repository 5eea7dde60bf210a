"""What a zone file promises beyond the port: other people's lines, the file itself, its serial."""

from pathlib import Path

import dns.zone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Subdomain
from controlplane.errors import DnsConflict, ProviderUnavailable, SettingsInvalid
from controlplane_dns import zoneplan, zonetext
from controlplane_dns.zonefile import ZoneFile
from tests.contract.zone_texts import ACME, BUMPED, FOREIGN, HEAD

pytestmark = pytest.mark.anyio

RECORD = Record(Subdomain("acme"), RecordType.A, "192.0.2.10")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "example.com.zone"


@pytest.fixture
def zone(path: Path) -> ZoneFile:
    return ZoneFile(path, zone="example.com")


def put(path: Path, text: str) -> None:
    path.write_bytes(text.encode("latin-1"))


def content(path: Path) -> str:
    return path.read_bytes().decode("latin-1")


async def test_a_missing_file_is_made_with_all_that_a_server_needs(
    zone: ZoneFile, path: Path
) -> None:
    await zone.ensure(RECORD, ACME)
    loaded = dns.zone.from_file(str(path), origin="example.com.")
    assert loaded.find_rdataset("@", "NS")[0].to_text(relativize=False) == "ns1"
    assert loaded.find_rdataset("ns1", "A")[0].to_text() == "127.0.0.1"
    assert loaded.find_rdataset("acme", "A")[0].to_text() == "192.0.2.10"


async def test_a_name_server_outside_the_zone_needs_no_glue(path: Path) -> None:
    zone = ZoneFile(path, zone="example.com", nameserver="ns.example.net")
    await zone.ensure(RECORD, ACME)
    assert "@ 300 IN NS ns.example.net.\nacme 300 IN A" in content(path)


async def test_a_record_is_one_line_with_the_mark_as_its_comment(
    zone: ZoneFile, path: Path
) -> None:
    put(path, HEAD)
    await zone.ensure(RECORD, ACME)
    assert content(path) == BUMPED + f"acme 300 IN A 192.0.2.10 ; {ACME}\n"


async def test_a_change_takes_the_lines_place_and_the_next_serial(
    zone: ZoneFile, path: Path
) -> None:
    put(path, f"{HEAD}acme 300 IN A 192.0.2.99 ; {ACME}\n; the end\n")
    reference = await zone.ensure(RECORD, ACME)
    assert content(path) == f"{BUMPED}acme 300 IN A 192.0.2.10 ; {ACME}\n; the end\n"
    assert reference == "2026010200"


async def test_a_record_that_an_editor_has_aligned_is_left_as_it_is(
    zone: ZoneFile, path: Path
) -> None:
    text = f"{HEAD}acme\t300\tIN\tA\t192.0.2.10   ; {ACME}\r\n"
    put(path, text)
    await zone.ensure(RECORD, ACME)
    assert content(path) == text


async def test_a_doubled_record_of_the_tenant_becomes_one(zone: ZoneFile, path: Path) -> None:
    line = f"acme 300 IN A 192.0.2.10 ; {ACME}\n"
    put(path, HEAD + line + line)
    await zone.ensure(RECORD, ACME)
    assert content(path) == BUMPED + line


@pytest.mark.parametrize(
    "foreign",
    [
        "acme IN A 192.0.2.10",
        "ACME IN A 192.0.2.10",
        "acme.example.com. IN CNAME elsewhere.example.net.",
        'Acme.Example.COM. 60 IN TXT "one; two ) three"',
        "\\097cme IN A 192.0.2.10",
        '"acme" IN A 192.0.2.10',
        "acme IN NS ns.example.net. ; delegated",
        "acme IN TXT (\n  one\n  two )",
        "other IN A 192.0.2.1\nacme IN A 192.0.2.10",
        "$ORIGIN com.\nacme.example IN A 192.0.2.10",
        "$ORIGIN .\nacme.example.com IN A 192.0.2.10",
        "$ORIGIN acme\n@ IN A 192.0.2.10",
        "$GENERATE 10-20 ${0,1,x}cme IN A 192.0.2.$",
        f"ACME 300 IN A 192.0.2.10 ; {ACME}",
        f"acme 300 IN A ( 192.0.2.10 ; {ACME}\n)",
        f"acme 300 IN TXT text ; {ACME}",
        f"acme 300 IN A 192.0.2.10 ; by hand, not {ACME}",
        f"acme 300 IN A 192.0.2.10 ; {ACME}\n     300 IN TXT text",
        f"acme 300 IN A 192.0.2.10 ; {ACME}\n; a comment\n     300 IN TXT text ; {ACME}",
    ],
)
async def test_a_foreign_line_in_any_spelling_holds_the_name(
    zone: ZoneFile, path: Path, foreign: str
) -> None:
    put(path, f"{HEAD}{foreign}\n")
    with pytest.raises(DnsConflict, match=r"Line \d+ of the zone example.com .*'acme'"):
        await zone.ensure(RECORD, ACME)
    assert content(path) == f"{HEAD}{foreign}\n"


async def test_a_conflict_names_the_line(zone: ZoneFile, path: Path) -> None:
    put(path, f"{HEAD}acme IN A 192.0.2.1\n")
    with pytest.raises(DnsConflict, match="Line 9 "):
        await zone.ensure(RECORD, ACME)


@pytest.mark.parametrize("foreign", FOREIGN)
async def test_other_peoples_lines_keep_every_byte(
    zone: ZoneFile, path: Path, foreign: str
) -> None:
    end = f"{foreign}\n; the end"
    put(path, HEAD + end)
    await zone.ensure(RECORD, ACME)
    assert content(path) == f"{BUMPED}{end}\nacme 300 IN A 192.0.2.10 ; {ACME}\n"
    await zone.absent(RECORD, ACME)
    assert content(path) == HEAD.replace("0199", "0201") + end + "\n"


async def test_a_record_after_a_foreign_origin_still_stands_in_the_zone(
    zone: ZoneFile, path: Path
) -> None:
    put(path, f"{HEAD}$ORIGIN sub.example.com.\nacme IN A 192.0.2.1\n")
    await zone.ensure(RECORD, ACME)
    assert await zone.find(RECORD, ACME)
    loaded = dns.zone.from_file(str(path), origin="example.com.")
    assert loaded.find_rdataset("acme", "A")[0].to_text() == "192.0.2.10"
    assert loaded.find_rdataset("acme.sub", "A")[0].to_text() == "192.0.2.1"


async def test_our_mark_under_another_origin_is_not_our_record(zone: ZoneFile, path: Path) -> None:
    text = f"{HEAD}$ORIGIN sub.example.com.\nacme 300 IN A 192.0.2.10 ; {ACME}\n"
    put(path, text)
    await zone.absent(RECORD, ACME)
    assert content(path) == text
    assert [one async for one in zone.owned(ACME.installation)] == []


async def test_a_foreign_record_that_borrowed_our_name_keeps_it(zone: ZoneFile, path: Path) -> None:
    ours = f"acme 300 IN A 192.0.2.10 ; {ACME}\n"
    put(path, f"{HEAD}web IN A 192.0.2.1\n{ours}; note\n    IN TXT kept\n")
    await zone.absent(RECORD, ACME)
    tail = "web IN A 192.0.2.1\n; note\nacme.example.com.    IN TXT kept\n"
    assert content(path) == BUMPED + tail


@pytest.mark.parametrize(("serial", "following"), [("4294967295", "1"), ("0", "1"), ("41", "42")])
async def test_the_serial_grows_and_is_never_zero(
    zone: ZoneFile, path: Path, serial: str, following: str
) -> None:
    put(path, HEAD.replace("2026010199", serial))
    assert await zone.ensure(RECORD, ACME) == following


async def test_a_serial_that_is_yet_to_come_is_not_in_sync(zone: ZoneFile) -> None:
    reference = int(await zone.ensure(RECORD, ACME))
    assert await zone.propagation(str(reference - 1)) == "insync"
    assert await zone.propagation(str(reference + 1)) == "failed"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("web IN A 192.0.2.1\n", "no SOA record of the zone example.com"),
        (HEAD.replace("example.com", "example.net"), "no SOA record of the zone example.com"),
        (f"{HEAD}web IN TXT ( open\n", "never closed"),
        (f"{HEAD}web IN TXT one )\n", "Line 9 closes a parenthesis"),
        (f'{HEAD}web IN TXT "open\n', "Line 9 has a quotation mark"),
    ],
)
async def test_a_file_that_no_server_would_load_is_left_alone(
    zone: ZoneFile, path: Path, text: str, complaint: str
) -> None:
    put(path, text)
    with pytest.raises(ProviderUnavailable, match=complaint):
        await zone.ensure(RECORD, ACME)
    assert content(path) == text


async def test_the_files_mode_and_its_symbolic_link_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.zone", tmp_path / "link.zone"
    real.write_text(HEAD)
    real.chmod(0o640)
    link.symlink_to(real)
    await ZoneFile(link, zone="example.com").ensure(RECORD, ACME)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert str(ACME) in real.read_text()


async def test_nothing_but_the_file_and_its_lock_stays_behind(zone: ZoneFile, path: Path) -> None:
    await zone.ensure(RECORD, ACME)
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name, f"{path.name}.lock"]


async def test_a_path_that_is_a_folder_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(ProviderUnavailable, match="cannot be used: Is a directory"):
        await ZoneFile(tmp_path, zone="example.com").ensure(RECORD, ACME)


@pytest.mark.parametrize("name", ["", "bad zone", "a..b", "evil\n$INCLUDE x"])
def test_a_zone_or_name_server_that_is_no_host_name_is_refused(path: Path, name: str) -> None:
    with pytest.raises(SettingsInvalid):
        ZoneFile(path, zone=name)
    with pytest.raises(SettingsInvalid):
        ZoneFile(path, zone="example.com", nameserver=name or "-")


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["ensure", "absent"]),
        st.sampled_from(["acme", "globex", "initech"]),
        st.sampled_from(["192.0.2.10", "192.0.2.11"]),
    ),
    max_size=8,
)
LOADABLE = st.lists(
    st.sampled_from([text for text in FOREIGN if "$INCLUDE" not in text and "\xe9" not in text]),
    max_size=5,
)


@given(foreign=LOADABLE, moves=MOVES)
@settings(max_examples=150, deadline=None)
def test_whatever_is_done_the_zone_holds_what_a_server_should_answer(
    foreign: list[str], moves: list[tuple[str, str, str]]
) -> None:
    text = HEAD + "".join(f"{line}\n" for line in foreign if "globex" not in line)
    lines = zonetext.read(text, zone="example.com")
    wanted: dict[str, str] = {}
    for move, name, value in moves:
        record = Record(Subdomain(name), RecordType.A, value)
        if move == "ensure":
            wanted[name] = value
            lines = zoneplan.with_record(lines, record=record, mark=ACME, zone="example.com")
        else:
            wanted.pop(name, None)
            lines = zoneplan.without_record(lines, record=record, mark=ACME, zone="example.com")
    after = "".join(line.text for line in lines)
    # The independent reader must agree with what was wanted, and with the rest as it was.
    assert zonetext.read(after, zone="example.com") == lines
    assert _answers(after) == _answers(text) | {
        f"{name}.example.com.": value for name, value in wanted.items()
    }
    assert [line for line in after.splitlines() if str(ACME) not in line or line[0] == ";"] == [
        *text.splitlines()
    ]


def _answers(text: str) -> dict[str, str]:
    zone = dns.zone.from_text(text, origin="example.com.", relativize=False)
    return {
        str(name): str(node.to_text(name)).rsplit(" ", 1)[-1]
        for name, node in zone.items()
        if str(name) in {f"{label}.example.com." for label in ("acme", "globex", "initech")}
    }


def test_a_zone_can_be_made_before_its_first_record_and_is_then_left_alone(tmp_path: Path) -> None:
    zone = ZoneFile(tmp_path / "zone", zone="apps.test", nameserver="ns.invalid")
    zone.create()
    before = (tmp_path / "zone").read_bytes()
    zone.create()

    assert (tmp_path / "zone").read_bytes() == before
    assert b"NS ns.invalid." in before
    assert b" A " not in before
