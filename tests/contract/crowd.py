"""Many tenants who want their records of a throttling Route 53 at once, at a time of their own.

Workers, as far as it matters here: whoever is due is let at the provider of one of two replicas; a
refusal and a wait are dated as the engine dates them, and its randomness is included.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any, Protocol, cast
from uuid import UUID

from controlplane.domain.dns import Record, RecordType
from controlplane.domain.moves import wait_s
from controlplane.domain.naming import Mark, Subdomain
from controlplane.domain.tenants import Tenant
from controlplane.errors import ProviderUnavailable
from controlplane.ports import DnsProvider
from controlplane.provisioning.step import Later, Target
from controlplane.provisioning.steps.dns import spread
from tests.contract.route53_peer import Front
from tests.http_proxy import Request

_INSTALLATION = UUID(int=0xA)
_LIMIT = 5


class Clock(Protocol):
    """A provider's time, in seconds."""

    now: float


def pausing(clock: Clock) -> Callable[[float], Awaitable[None]]:
    """Lets time pass there instead of here."""

    async def pause(seconds: float) -> None:
        clock.now += seconds

    return pause


class ThrottlingFront(Front):
    """Takes five requests in any second. `now` is set by the crowd. Somebody else asks as well: of
    `of_others` requests, one is throttled for that."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.now = 1_000_000.0
        self.times: list[float] = []
        self.asked = 0
        self.throttled = 0
        self.of_others = 0

    def admits(self, request: Request) -> bool:
        self.asked += 1
        if self.of_others and self.asked % self.of_others == 0:
            self.throttled += 1
            return False
        self.times.append(self.now)
        if sum(at > self.now - 1 for at in self.times) <= _LIMIT:
            return super().admits(request)
        self.times.pop()
        self.throttled += 1
        return False

    def most_in_a_second(self) -> int:
        return max(sum(at - 1 < other <= at for other in self.times) for at in self.times)


@dataclass(order=True)
class Comer:
    """A tenant's operation."""

    due: float
    number: int
    attempt: int = field(default=0, compare=False)
    output: Any = field(default=None, compare=False)

    @property
    def mark(self) -> Mark:
        return Mark(_INSTALLATION, UUID(int=self.number + 1), UUID(int=self.number + 1))

    @property
    def record(self) -> Record:
        name = Subdomain(f"tenant-{self.number:03}")
        return Record(name, RecordType.CNAME, "ingress.example.net.")


@dataclass(frozen=True)
class Done:
    """`tries` is how often a worker had to look after it."""

    number: int
    after_s: float
    tries: int


async def served(
    front: Clock, replicas: Sequence[DnsProvider], *, tenants: int, seed: int
) -> list[Done]:
    """Who was served when, in that order. Raises whatever is no reason to come back."""
    chance, begun = Random(seed), front.now  # noqa: S311  no secret
    queue = [Comer(front.now + number / 1_000, number) for number in range(tenants)]
    done: list[Done] = []
    tries = [0] * tenants
    while queue:
        comer = heappop(queue)
        front.now = max(front.now, comer.due)
        tries[comer.number] += 1
        later = await _try(comer, chance.choice(replicas))
        if later is None:
            done.append(Done(comer.number, front.now - begun, tries[comer.number]))
            continue
        spread = 0 if later.queued else chance.random() / 4
        comer.due = front.now + later.after_s * (1 + spread)
        heappush(queue, comer)
    return done


async def _try(comer: Comer, dns: DnsProvider) -> Later | None:
    """When to try again; None when it is done."""
    target = Target(cast("Tenant", None), comer.mark, {}, comer.output)
    comer.attempt += 1
    try:
        output = await spread(dns, comer.record, target)
    except ProviderUnavailable as error:
        return Later(wait_s(comer.attempt, error.retry_after_s))
    if not isinstance(output, Later):
        return None
    comer.attempt, comer.output = 0, output.output
    return output
