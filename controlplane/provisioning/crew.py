"""What every drive of one worker shares."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from controlplane.provisioning.leases import Timing
from controlplane.provisioning.step import LocalStep, RemoteStep

Failpoint = Callable[[str], Awaitable[None]]


async def nowhere(_place: str) -> None:
    """The failpoint of a worker that is not under test."""


@dataclass(frozen=True)
class Crew:
    """`failpoint` is told of every place that a drive comes by; tests fail or die there."""

    database: AsyncEngine
    installation: UUID
    steps: Mapping[str, LocalStep | RemoteStep]
    timing: Timing
    failpoint: Failpoint = nowhere
