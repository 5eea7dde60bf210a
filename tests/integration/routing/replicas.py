"""Two processes that serve the same tenants, and how soon both know what has happened to one.

python -m tests.integration.routing.replicas     # prints the measured seconds
"""

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import httpx
import psycopg

from controlplane.testing.ground import BASE_DOMAIN, Installation, installation, neighbours
from tests.database import running_server
from tests.redis import running_redis

_ROOT = Path(__file__).parents[3]
_PATIENCE_S = 60.0
_ROUNDS = 7
_NOTES = """
CREATE TABLE notes (id int PRIMARY KEY, body text NOT NULL);
INSERT INTO notes VALUES (1, 'ours')
"""


@dataclass(frozen=True)
class Replica:
    port: int
    client: httpx.AsyncClient

    async def ask(self, subdomain: str) -> httpx.Response:
        headers = {"host": f"{subdomain}.{BASE_DOMAIN}"}
        return await self.client.get(f"http://127.0.0.1:{self.port}/", headers=headers)

    async def seconds_until(self, status: int, subdomain: str) -> float:
        """How long it takes until it answers with that status."""
        begun = monotonic()
        async with asyncio.timeout(_PATIENCE_S):
            while (await self.ask(subdomain)).status_code != status:  # noqa: ASYNC110  a process's
                await asyncio.sleep(0.02)
        return monotonic() - begun


@contextlib.asynccontextmanager
async def two_replicas(app_url, redis_url, *, hears):
    """What the first and the second hear: `notify`, `redis`, `both` or `nothing`."""
    async with httpx.AsyncClient(timeout=_PATIENCE_S) as client:
        with contextlib.ExitStack() as stack:
            ports = [stack.enter_context(_process(app_url, redis_url, each)) for each in hears]
            yield [Replica(port, client) for port in ports]


@contextlib.contextmanager
def _process(app_url: str, redis_url: str, hears: str) -> Iterator[int]:
    """Serves on the port that is given. Whoever asks before it is up waits for it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as bound,
        subprocess.Popen(  # noqa: S603  our own interpreter and program
            [sys.executable, "-m", "tests.integration.routing.replica", str(bound.fileno()), hears],
            env={**os.environ, "DATABASE_URL": app_url, "REDIS_URL": redis_url},  # noqa: TID251  handed on
            cwd=_ROOT,
            pass_fds=[bound.fileno()],
        ) as process,
    ):
        try:
            yield bound.getsockname()[1]
        finally:
            process.terminate()


async def suspended(replicas: list[Replica], superuser_url: str) -> list[float]:
    """Acme is served by both and then suspended: the seconds until each one says so."""
    await _set("active", superuser_url)
    await asyncio.gather(*(replica.seconds_until(200, "acme") for replica in replicas))
    await _set("suspended", superuser_url)
    return await asyncio.gather(*(replica.seconds_until(403, "acme") for replica in replicas))


async def _set(state: str, superuser_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as conn:
        await conn.execute("UPDATE public.tenants SET state = %s WHERE subdomain = 'acme'", [state])


async def _measure(place: Installation) -> None:
    print("seconds from the suspension to the first 403, median and longest of", _ROUNDS)  # noqa: T201  what it is for
    with running_redis() as redis:
        for hears, disturb, name in (
            (("both", "both"), None, "NOTIFY and Redis reach both"),
            (("both", "redis"), None, "NOTIFY reaches the first, Redis the second"),
            (("both", "redis"), redis.freeze, "NOTIFY reaches the first, Redis hangs"),
            (("both", "redis"), redis.stop, "NOTIFY reaches the first, Redis is gone"),
            (("nothing", "nothing"), None, "neither hears anything"),
        ):
            async with two_replicas(place.app_url, redis.url, hears=hears) as replicas:
                await suspended(replicas, place.superuser_url)
                if disturb is not None:
                    disturb()
                rounds = [await suspended(replicas, place.superuser_url) for _ in range(_ROUNDS)]
            first, second = zip(*rounds, strict=True)
            print(f"  {name:46} replica 1 {_told(first)}   replica 2 {_told(second)}")  # noqa: T201  what it is for
            redis.stop()
            redis.start()


def _told(seconds: tuple[float, ...]) -> str:
    return f"{statistics.median(seconds):5.2f} {max(seconds):5.2f}"


def main() -> None:
    with (
        running_server("18") as server,
        installation(server.superuser_url) as place,
        neighbours(place, _NOTES),
    ):
        asyncio.run(_measure(place))


if __name__ == "__main__":
    main()
