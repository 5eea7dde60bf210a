"""What the outside must offer. Each port has an in-memory adapter and at least one real one, and
all pass the same contract suite (tests/contract)."""

from collections.abc import AsyncIterator, Sequence
from typing import ClassVar, Protocol
from uuid import UUID

from controlplane.domain.dns import OwnedRecord, Propagation, Record
from controlplane.domain.dns_look import Way
from controlplane.domain.mail import Message
from controlplane.domain.naming import Mark
from controlplane.domain.principals import Principal
from controlplane.domain.ratelimit import Quota, Verdict


class DnsProvider(Protocol):
    """The zone of the base domain.

    Every method may be called twice, by several processes at once, and may have taken effect
    although it raised. All raise ProviderUnavailable (try again; with `retry_after_s` where the
    provider said so), ProviderBusy (it was not even asked; wait for one's turn) or ProviderRefused
    (for good). None touches what lacks the mark's installation and tenant.
    """

    # Whether each tenant has a record of its own; where not, none can be missing.
    per_tenant: ClassVar[bool]

    async def ensure(self, record: Record, mark: Mark) -> str:
        """Make the record exist under the mark, and no other record of ours at its name.

        Returns an opaque reference for `propagation`. Raises DnsConflict where the name is held
        by a record that is not this tenant's; that record stays as it was.
        """
        ...

    async def absent(self, record: Record, mark: Mark) -> None:
        """Make sure that no record of this tenant is left at the record's name.

        An absent record is success; so is a foreign one, which stays as it was.
        """
        ...

    async def find(self, record: Record, mark: Mark) -> bool:
        """Whether exactly this record is there under this tenant's mark."""
        ...

    async def propagation(self, reference: str) -> Propagation:
        """How far the change of this reference has come; an unknown reference is FAILED."""
        ...

    def owned(self, installation: UUID) -> AsyncIterator[OwnedRecord]:
        """Every record in the zone that carries the installation's mark."""
        ...


class NameLookup(Protocol):
    """What the DNS of the whole internet says of a name.

    Nothing is remembered: each call asks anew. Both raise ProviderUnavailable where nobody can tell,
    within a bounded time: no answer, or an error of a name server's own.
    """

    async def texts(self, name: str) -> frozenset[str]:
        """The TXT records at a name, each of them as one string; none for a name that is not there."""
        ...

    async def way(self, name: str) -> Way:
        """Where a name leads, its aliases followed. A circle of them leads to no address, if anybody
        can tell."""
        ...


class MailSender(Protocol):
    """Delivers rendered mail."""

    async def send(self, message: Message) -> str | None:
        """Hand the message over; returns the provider's id for it, if it gives one.

        Not idempotent: sending twice delivers twice. Raises ProviderRefused (this message will
        never be taken), ProviderUnavailable (surely not taken, try again) or SendUncertain
        (perhaps taken: never to be repeated automatically).
        """
        ...


class PrincipalVerifier(Protocol):
    """Knows the bearer tokens of tenants' users and API clients."""

    def verify(self, token: str, /) -> Principal:
        """Who a token speaks for, worked out without I/O, each time anew.

        Raises AuthenticationRequired for a token that is not good. The tenant is the one that the
        token was issued for; whether it is the one that is spoken to, the caller looks at.
        """
        ...


class RateLimits(Protocol):
    """Counts requests, for all replicas together unless the verdict says otherwise."""

    async def hit(self, quotas: Sequence[Quota]) -> Verdict:
        """Admit one request if every quota has room for it, and count it in each; else in none.

        One round trip, and one step to everybody who counts at the same time. No two quotas have
        the same counter. Raises ProviderUnavailable where nothing answers: the request may have
        been counted then.
        """
        ...


class Turns(Protocol):
    """Who may ask a provider next that takes only so many requests: for all replicas together, and
    first come, first served."""

    async def take(self, holder: str, *, requests: int) -> float:
        """0 where the holder may make so many requests now. Else the seconds after which to ask
        again, when it is his turn: his place is kept meanwhile, and some minutes longer.

        Raises ProviderUnavailable where nobody can tell.
        """
        ...

    async def put_first(self, holder: str, *, requests: int) -> None:
        """The holder's turn was in vain: he gets the first place. Raises ProviderUnavailable."""
        ...
