"""What a zone's lines become when a tenant's record comes or goes. Pure."""

from controlplane.domain.dns import OwnedRecord, Record
from controlplane.domain.naming import Mark
from controlplane.errors import DnsConflict, ProviderUnavailable
from controlplane_dns.zonetext import Line, owned_record, read, serial_span, spelled

_SERIALS = 2**32


def fresh(*, zone: str, nameserver: str, serial: int) -> list[Line]:
    """A zone without tenants that a name server on this machine can load at once."""
    text = (
        f"$ORIGIN {zone}.\n"
        "$TTL 300\n"
        f"@ 300 IN SOA {nameserver} hostmaster.{zone}. {serial} 3600 600 604800 60\n"
        f"@ 300 IN NS {nameserver}\n"
    )
    if nameserver.endswith(f".{zone}."):
        text += f"{nameserver} 300 IN A 127.0.0.1\n"
    return read(text, zone=zone)


def with_record(lines: list[Line], *, record: Record, mark: Mark, zone: str) -> list[Line]:
    """The lines with the record as the tenant's only one at its name.

    The same lines, if it is there already. Raises DnsConflict where any other line holds the name.
    """
    name = f"{record.name}.{zone}."
    held = [at for at, line in enumerate(lines) if line.holds(name)]
    foreign = [at for at in held if not _is_of(lines[at], mark, zone)]
    if foreign:
        number = _number(lines, foreign[0])
        raise DnsConflict(
            f"Line {number} of the zone {zone} holds the name '{record.name}' and is not "
            "this tenant's; remove it or choose another subdomain."
        )
    if not held:
        return [*_ended(lines, zone), _own(record, mark, zone)]
    first, *others = held
    if owned_record(lines[first], zone=zone) != OwnedRecord(record, mark):
        lines = [*lines[:first], _own(record, mark, zone), *lines[first + 1 :]]
    return _without(lines, others)


def without_record(lines: list[Line], *, record: Record, mark: Mark, zone: str) -> list[Line]:
    """The lines without this tenant's records at the record's name; all others stay."""
    name = f"{record.name}.{zone}."
    return _without(
        lines,
        [at for at, line in enumerate(lines) if line.owner == name and _is_of(line, mark, zone)],
    )


def serial(lines: list[Line], *, zone: str) -> int:
    """The zone's serial. Raises ProviderUnavailable for a file without the zone's SOA."""
    at, start, end = _soa(lines, zone)
    return int(lines[at].text[start:end])


def bumped(lines: list[Line], *, zone: str) -> list[Line]:
    """The lines with the next serial, written over the old one (RFC 1982; never 0)."""
    at, start, end = _soa(lines, zone)
    text = lines[at].text
    following = (int(text[start:end]) + 1) % _SERIALS or 1
    soa = lines[at]._replace(text=f"{text[:start]}{following}{text[end:]}")
    return [*lines[:at], soa, *lines[at + 1 :]]


def is_reached(present: int, *, asked: int) -> bool:
    """Whether a zone with the serial `present` holds the change that made the serial `asked`."""
    return (present - asked) % _SERIALS < _SERIALS // 2


def _is_of(line: Line, mark: Mark, zone: str) -> bool:
    owned = owned_record(line, zone=zone)
    return owned is not None and mark.same_tenant(owned.mark)


def _own(record: Record, mark: Mark, zone: str) -> Line:
    return Line(spelled(record, mark), f"{record.name}.{zone}.", f"{zone}.")


def _ended(lines: list[Line], zone: str) -> list[Line]:
    """The lines, ended such that a relative name may follow."""
    origin = f"{zone}."
    last = lines[-1]
    if not last.text.endswith("\n"):
        lines = [*lines[:-1], last._replace(text=f"{last.text}\n")]
    if last.origin != origin:
        lines = [*lines, Line(f"$ORIGIN {origin}\n", "", origin)]
    return lines


def _without(lines: list[Line], gone: list[int]) -> list[Line]:
    left = list(lines)
    for at in reversed(gone):
        owner = left.pop(at).owner
        heir = next((i for i in range(at, len(left)) if left[i].owner), None)
        # A foreign record that took its owner from the line that goes keeps it by name.
        if heir is not None and left[heir].continues:
            left[heir] = left[heir]._replace(text=f"{owner}{left[heir].text}")
    return left


def _number(lines: list[Line], at: int) -> int:
    return 1 + sum(line.text.count("\n") for line in lines[:at])


def _soa(lines: list[Line], zone: str) -> tuple[int, int, int]:
    for at, line in enumerate(lines):
        span = serial_span(line) if line.owner == f"{zone}." else None
        if span:
            return at, *span
    raise ProviderUnavailable(f"The file holds no SOA record of the zone {zone}.")
