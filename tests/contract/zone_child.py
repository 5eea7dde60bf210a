"""A process that writes tenants into a zone file: `zone_child.py ZONE_FILE PREFIX COUNT [FAULT]`.

FAULT is `die-before-rename` (killed with the new text written, but not in its place) or
`disk-full` (files may not grow beyond one kilobyte).
"""

import asyncio
import os
import resource
import signal
import sys
from pathlib import Path
from uuid import UUID, uuid5

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.naming import Mark, Subdomain
from controlplane.errors import ProviderUnavailable
from controlplane_dns.zonefile import ZoneFile

INSTALLATION = UUID(int=0xA)


def main(path: str, prefix: str, count: str, fault: str = "") -> None:
    if fault == "die-before-rename":
        sys.addaudithook(_die_at_rename)
    if fault == "disk-full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
    try:
        asyncio.run(_write(Path(path), prefix, int(count)))
    except ProviderUnavailable as exc:
        sys.exit(str(exc))


def _die_at_rename(event: str, _: object) -> None:
    if event == "os.rename":
        os.kill(os.getpid(), signal.SIGKILL)


async def _write(path: Path, prefix: str, count: int) -> None:
    zone = ZoneFile(path, zone="example.com")
    for number in range(count):
        name = f"{prefix}-{number:02}"
        mark = Mark(INSTALLATION, uuid5(INSTALLATION, name), UUID(int=1))
        await zone.ensure(Record(Subdomain(name), RecordType.A, "192.0.2.10"), mark)


if __name__ == "__main__":
    main(*sys.argv[1:])
