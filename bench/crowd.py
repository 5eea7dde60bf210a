"""Tenants created at once while Route 53 takes five requests a second.

`PYTHONPATH=. python bench/crowd.py [N]`, 300 unless told otherwise; takes some minutes. API and
workers are processes, the API of Route 53 is moto's behind a proxy that throttles what is too much in
any second and says PENDING of each change for its first 20 s.
"""

import argparse
import asyncio
import contextlib
import logging
from collections import Counter
from dataclasses import replace
from statistics import median
from time import monotonic

import ground
import psycopg

from controlplane.cli.ground import first_admin
from controlplane.settings import load
from controlplane.wiring import open_parts
from tests.contract.route53_peer import SECRET, Front, Route53Peer, Sets, measured, running_moto
from tests.http_proxy import Request

_LIMIT = 5
_SPREAD_S = 20
_WORKERS = 2
_STATES = """
SELECT o.state, o.error->>'code', row_number() OVER (ORDER BY o.created_at),
  rank() OVER (ORDER BY o.finished_at), o.epoch,
  extract(epoch FROM o.finished_at - min(o.created_at) OVER ())
FROM public.operations o WHERE o.kind = 'provision'
"""
_FAILURES = """
SELECT data->'error'->>'detail', count(*) FROM public.operation_events
WHERE type = 'step_failed' GROUP BY 1
"""


class Throttling(Front):
    """Counts, throttles, and lets time pass before a change is in sync."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.times: list[float] = []
        self.throttled = 0
        self.most = 0
        self._made: dict[bytes, float] = {}
        self._known: Sets = {}
        self.pending = 10**6

    def changed(self, sets: Sets) -> None:
        self._known = sets
        # The name that Front is about to give it.
        self._made[b"C%012d" % len(self._asked)] = monotonic()

    async def _sets(self, _request: Request) -> Sets:
        # Asking moto for all of them before each change would be most of what is measured.
        return dict(self._known)

    def admits(self, request: Request) -> bool:
        now = monotonic()
        recent = [at for at in self.times[-100:] if at > now - 1]
        self.most = max(self.most, len(recent) + 1)
        if len(recent) >= _LIMIT:
            self.throttled += 1
            return False
        self.times.append(now)
        return super().admits(request)

    async def _change(self, request: Request) -> bytes:
        answer = await super()._change(request)
        made = self._made[request.target.rpartition("/")[2].encode()]
        if monotonic() - made < _SPREAD_S:
            return answer
        return measured(answer.replace(b"PENDING", b"INSYNC"))


async def _run(tenants: int) -> None:
    with ground.site() as site, running_moto() as moto:
        async with open_parts(load(site.values)) as parts:
            token = await first_admin.fresh_token(parts.owner)
        async with Throttling(moto) as front, contextlib.AsyncExitStack() as stack:
            peer = Route53Peer(moto, front, "localhost")
            stack.callback(peer.close)
            told = {
                "CONTROLPLANE_DNS": "route53",
                "CONTROLPLANE_DNS_TARGET": "ingress.example.net",
                "CONTROLPLANE_DNS_ZONE_ID": peer.zone_id,
                "AWS_ENDPOINT_URL_ROUTE_53": front.url,
                "AWS_ACCESS_KEY_ID": "AKIAOWL",
                "AWS_SECRET_ACCESS_KEY": SECRET,
            }
            on = replace(site, values={**site.values, **told})
            client = await stack.enter_async_context(ground.api(on, token))
            await asyncio.gather(*(ground.post_tenant(client, wait=False) for _ in range(tenants)))
            for _ in range(_WORKERS):
                await stack.enter_async_context(ground.worker(on))
            print(await _ended(site.owner_url))
            print(f"requests {len(front.times)}, most in a second {front.most}, ", end="")
            print(f"throttled {front.throttled}")


async def _ended(url: str) -> str:
    """How the operations ended, once all have."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        rows = await (await conn.execute(_STATES)).fetchall()
        while any(seconds is None for *_, seconds in rows):
            await asyncio.sleep(1)
            rows = await (await conn.execute(_STATES)).fetchall()
        failures = await (await conn.execute(_FAILURES)).fetchall()
    states = Counter(f"{state} {code or ''}".strip() for state, code, *_ in rows)
    moved = sorted(abs(came - went) for _, _, came, went, *_ in rows)
    claims = sorted(row[-2] for row in rows)
    seconds = sorted(float(row[-1]) for row in rows)
    return (
        f"{dict(states)}; first after {seconds[0]:.0f} s, half after {median(seconds):.0f} s, last "
        f"after {seconds[-1]:.0f} s; places changed: half by {median(moved)}, most {moved[-3:]}; "
        f"claims each: half {median(claims)}, most {claims[-1]}; "
        f"passing failures: {dict(failures)}"
    )


def main() -> None:
    # moto tells of each request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("tenants", type=int, nargs="?", default=300)
    asyncio.run(_run(given.parse_args().tenants))


if __name__ == "__main__":
    main()
