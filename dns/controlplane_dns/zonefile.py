"""A zone in a master file on disk, for a name server on the same machine."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar
from uuid import UUID

from controlplane.domain.dns import OwnedRecord, Propagation, Record
from controlplane.domain.naming import Mark
from controlplane.errors import ProviderUnavailable, SettingsInvalid
from controlplane_dns import zonedisk, zoneplan, zonetext
from controlplane_dns.values import canonical, host
from controlplane_dns.zonetext import Line

_ENCODING = "latin-1"  # any byte has a letter, so foreign lines come back as they were


class ZoneFile:
    """One line per tenant, with the mark as its comment; every other line belongs to others.

    A missing file is made, with `nameserver` (by default `ns1.<zone>`) in SOA and NS; from then
    on these lines are the operator's, but for the serial, which grows with every change.
    """

    per_tenant: ClassVar[bool] = True

    def __init__(self, path: Path, *, zone: str, nameserver: str | None = None) -> None:
        """Raises SettingsInvalid for a zone or name server that is no host name."""
        self._path = path
        self._zone = _host(zone).removesuffix(".")
        self._nameserver = _host(nameserver or f"ns1.{zone}")
        # One thread at a time may wait for the file's lock, whatever is asked of this object.
        self._turn = asyncio.Lock()

    def create(self) -> None:
        """Make the file unless it is there; blocks. Without this the first record makes it."""
        with zonedisk.explained(self._path):
            path = self._path.resolve()
            with zonedisk.locked(path):
                if not (zonedisk.content(path) or b"").strip():
                    zonedisk.replace(path, _text(self._read()).encode(_ENCODING))

    async def ensure(self, record: Record, mark: Mark) -> str:
        """The reference is the zone's serial."""
        change = partial(zoneplan.with_record, record=canonical(record), mark=mark, zone=self._zone)
        return str(await self._change(change))

    async def absent(self, record: Record, mark: Mark) -> None:
        await self._change(
            partial(zoneplan.without_record, record=record, mark=mark, zone=self._zone)
        )

    async def find(self, record: Record, mark: Mark) -> bool:
        wanted, name = canonical(record), f"{record.name}.{self._zone}."
        at_name = [line for line in await asyncio.to_thread(self._read) if line.holds(name)]
        return any(
            owned.record == wanted and mark.same_tenant(owned.mark) for owned in self._ours(at_name)
        )

    async def propagation(self, reference: str) -> Propagation:
        """In sync means that the change is in the file; the name server's reload is its own."""
        present = zoneplan.serial(await asyncio.to_thread(self._read), zone=self._zone)
        is_reached = reference.isdecimal() and zoneplan.is_reached(present, asked=int(reference))
        return Propagation.INSYNC if is_reached else Propagation.FAILED

    async def owned(self, installation: UUID) -> AsyncIterator[OwnedRecord]:
        for owned in await asyncio.to_thread(lambda: list(self._ours(self._read()))):
            if owned.mark.installation == installation:
                yield owned

    def _ours(self, lines: Iterable[Line]) -> Iterator[OwnedRecord]:
        found = (zonetext.owned_record(line, zone=self._zone) for line in lines)
        return (owned for owned in found if owned)

    async def _change(self, change: Callable[[list[Line]], list[Line]]) -> int:
        async with self._turn:
            return await asyncio.to_thread(self._apply, change)

    def _apply(self, change: Callable[[list[Line]], list[Line]]) -> int:
        with zonedisk.explained(self._path):
            path = self._path.resolve()
            with zonedisk.locked(path):
                before = self._read()
                after = change(before)
                if after != before:
                    after = zoneplan.bumped(after, zone=self._zone)
                    zonedisk.replace(path, _text(after).encode(_ENCODING))
        return zoneplan.serial(after, zone=self._zone)

    def _read(self) -> list[Line]:
        with zonedisk.explained(self._path):
            content = zonedisk.content(self._path)
        if not (content or b"").strip():
            # Later than any serial of a file that stood here before.
            now = int(time.time())
            return zoneplan.fresh(zone=self._zone, nameserver=self._nameserver, serial=now)
        try:
            return zonetext.read((content or b"").decode(_ENCODING), zone=self._zone)
        except ProviderUnavailable as exc:
            raise ProviderUnavailable(f"The zone file {self._path} is damaged: {exc}") from exc


def _text(lines: list[Line]) -> str:
    return "".join(line.text for line in lines)


def _host(name: str) -> str:
    host_name = host(name)
    if not host_name:
        raise SettingsInvalid(f"{name!r} is not a host name.")
    return host_name
