"""Requests counted in Redis, where replicas share one; needs the extra `redis`."""

import asyncio
from collections.abc import Callable, Sequence

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from controlplane.domain.ratelimit import Quota, Standing, Verdict
from controlplane.errors import ProviderUnavailable

_PREFIX = "controlplane:rate:"
# So many at once; the client refuses the hundred and first instead of having it wait.
_CONNECTIONS = 16
# As controlplane.domain.ratelimit counts. A hash by slice; its newest slice is the last hit's.
_ADMIT = """
local now = tonumber(ARGV[1])
if not now then
  local told = redis.call('TIME')
  now = tonumber(told[1]) + tonumber(told[2]) / 1000000
end
local admitted, answer, slices, lives = 1, {}, {}, {}
for i, key in ipairs(KEYS) do
  local most, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local slice, found, newest = math.floor(now * 60 / window), redis.call('HGETALL', key), 0
  for n = 1, #found, 2 do newest = math.max(newest, tonumber(found[n])) end
  if newest > slice + 61 then
    redis.call('DEL', key)
    found = {}
  else
    slice = math.max(slice, newest)
  end
  local used, oldest = 0, slice
  for n = 1, #found, 2 do
    local at = tonumber(found[n])
    if at < slice - 60 then
      redis.call('HDEL', key, found[n])
    else
      used, oldest = used + tonumber(found[n + 1]), math.min(oldest, at)
    end
  end
  if used >= most then admitted = 0 end
  slices[i], lives[i] = slice, (slice + 61) * window / 60 - now
  answer[2 * i - 1] = math.max(most - used, 0)
  answer[2 * i] = tostring((oldest + 61) * window / 60 - now)
end
if admitted == 1 then
  for i, key in ipairs(KEYS) do
    redis.call('HINCRBY', key, string.format('%.0f', slices[i]), 1)
    redis.call('EXPIRE', key, math.ceil(lives[i]))
    answer[2 * i - 1] = answer[2 * i - 1] - 1
  end
end
table.insert(answer, 1, admitted)
return answer
"""


def open_redis(url: str, *, patience_s: float) -> Redis:
    """A client that tells at once of what does not work, instead of trying again by itself."""
    return Redis.from_url(
        url,
        socket_timeout=patience_s,
        socket_connect_timeout=patience_s,
        retry=Retry(NoBackoff(), 0),
    )


class RedisRateLimits:
    """By Redis's clock; a hit is one script, and nothing comes in between.

    One Redis, or one that fails over: the counters of a hit lie in several slots of a cluster.
    `clock` is for tests: seconds, instead of Redis's.
    """

    def __init__(self, client: Redis, *, clock: Callable[[], float] | None = None) -> None:
        self._admit = client.register_script(_ADMIT)
        self._clock = clock
        self._slots = asyncio.Semaphore(_CONNECTIONS)

    async def hit(self, quotas: Sequence[Quota]) -> Verdict:
        now = "" if self._clock is None else f"{self._clock():.17g}"
        keys = [f"{_PREFIX}{quota.counter}" for quota in quotas]
        terms = [term for quota in quotas for term in (quota.limit, quota.window_s)]
        try:
            async with self._slots:
                admitted, *found = await self._admit(keys=keys, args=[now, *terms])
        except (RedisError, OSError) as error:
            raise ProviderUnavailable(f"Redis: {type(error).__name__}") from error
        standings = zip(found[::2], found[1::2], strict=True)
        return Verdict(
            admitted == 1,
            tuple(Standing(remaining, float(reset)) for remaining, reset in standings),
        )
