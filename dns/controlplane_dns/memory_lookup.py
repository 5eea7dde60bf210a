"""The internet's names in memory, for tests and for trying things out."""

from controlplane.domain.dns_look import Way
from controlplane.errors import ProviderUnavailable

_LONGEST_CHAIN = 16


class MemoryLookup:
    """All its state may be changed: `records` (values by name and type TXT, A, AAAA or CNAME; `*` as
    the first label is a wildcard) and `silent`, names that nobody answers about."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.silent: set[str] = set()

    async def texts(self, name: str) -> frozenset[str]:
        return frozenset(self._at(self._chain(name), "TXT"))

    async def way(self, name: str) -> Way:
        chain = self._chain(name)
        addresses = [*self._at(chain, "A"), *self._at(chain, "AAAA")]
        return Way(tuple(chain[1:]), frozenset(addresses))

    def _chain(self, name: str) -> list[str]:
        """The name and its aliases, in order."""
        chain = [name.lower()]
        while len(chain) <= _LONGEST_CHAIN:
            alias = self._find(chain[-1], "CNAME")
            if not alias:
                break
            chain.append(alias[0].lower().removesuffix("."))
        return chain

    def _at(self, chain: list[str], kind: str) -> list[str]:
        return [] if len(chain) > _LONGEST_CHAIN else self._find(chain[-1], kind)

    def _find(self, name: str, kind: str) -> list[str]:
        if name in self.silent:
            raise ProviderUnavailable(f"No answer about '{name}' in time.")
        if any(held == name for held, _ in self.records):
            return self.records.get((name, kind), [])
        return self.records.get((f"*.{name.partition('.')[2]}", kind), [])
