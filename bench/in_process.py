"""What the way to a transaction costs inside the process, in microseconds."""

import statistics
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from controlplane.routing import RoutedTenant, TenantDirectory, TenantMiddleware


async def lookup_us(directory: TenantDirectory, tenant: RoutedTenant) -> float:
    """Microseconds of a look-up that has been answered before."""
    return await _median_us(lambda: directory.lookup(tenant.subdomain))


async def middleware_us(directory: TenantDirectory, tenant: RoutedTenant) -> float:
    """Microseconds that the middleware adds to an empty app."""

    async def app(*_called: Any) -> Any:
        pass

    routed = TenantMiddleware(app, directory=directory, base_domain="example.com")
    host = f"{tenant.subdomain}.example.com".encode()
    headers = [(b"host", host), (b"accept", b"*/*"), (b"user-agent", b"bench")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers}
    with_it = await _median_us(lambda: routed(dict(scope), app, app))
    return with_it - await _median_us(lambda: app(dict(scope), app, app))


async def _median_us(ask: Callable[[], Awaitable[Any]], *, batches: int = 300) -> float:
    """Of batches of 50: a clock's own cost is a microsecond's part."""
    taken = []
    for _ in range(batches):
        began = perf_counter()
        for _ in range(50):
            await ask()
        taken.append((perf_counter() - began) / 50 * 1e6)
    return statistics.median(taken)
