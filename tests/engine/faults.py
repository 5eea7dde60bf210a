"""Steps that repeat themselves or fail on purpose, wrapped around the real ones."""

from dataclasses import dataclass, field
from typing import Any

from controlplane.errors import Permanent


class Wrapped:
    """Passes everything on to the step."""

    def __init__(self, step: Any) -> None:
        self.step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self.step, name)

    async def ensure(self, *args: Any) -> Any:
        return await self.call("ensure", *args)

    async def absent(self, *args: Any) -> Any:
        return await self.call("absent", *args)

    async def call(self, method: str, *args: Any) -> Any:
        return await getattr(self.step, method)(*args)


class Repeated(Wrapped):
    """Does everything twice."""

    async def call(self, method: str, *args: Any) -> Any:
        await super().call(method, *args)
        return await super().call(method, *args)


class ThereAndBack(Wrapped):
    """Undoes before it does, and does, undoes and does again: any order must end the same."""

    async def call(self, method: str, *args: Any) -> Any:
        other = "absent" if method == "ensure" else "ensure"
        for each in (other, method, other, method):
            result = await super().call(each, *args)
        return result


@dataclass
class Failure:
    """Makes one step's method raise, the first `times` times, before or after its effect."""

    step: str
    method: str
    error: Exception = field(default_factory=lambda: Permanent("broken on purpose"))
    after_effect: bool = False
    times: int = 1_000_000
    raised: int = 0

    def wrap(self, steps: dict[str, Any]) -> dict[str, Any]:
        return {**steps, self.step: _Failing(steps[self.step], self)}


class _Failing(Wrapped):
    def __init__(self, step: Any, failure: Failure) -> None:
        super().__init__(step)
        self.failure = failure

    async def call(self, method: str, *args: Any) -> Any:
        if method != self.failure.method or self.failure.raised >= self.failure.times:
            return await super().call(method, *args)
        self.failure.raised += 1
        if self.failure.after_effect:
            await super().call(method, *args)
        raise self.failure.error
