"""The process's pools of connections, for Prometheus."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controlplane.routing import PoolFigures

_GAUGES: dict[str, tuple[str, Callable[[PoolFigures], float]]] = {
    "controlplane_pool_connections_limit": ("Connections that a pool may open.", lambda f: f.limit),
    "controlplane_pool_connections": ("Connections that a pool holds.", lambda f: f.size),
    "controlplane_pool_connections_used": ("Connections that are lent.", lambda f: f.used),
    "controlplane_pool_waiting": ("Those who wait for a connection now.", lambda f: f.waiting),
}
_COUNTERS: dict[str, tuple[str, Callable[[PoolFigures], float]]] = {
    "controlplane_pool_requests": ("How often a connection was asked for.", lambda f: f.asked),
    "controlplane_pool_wait_seconds": ("How long that took together.", lambda f: f.waited_s),
    "controlplane_pool_failures": (
        "How often somebody went away without a connection: time-outs, mostly.",
        lambda f: f.given_up,
    ),
}


class Pools(Collector):
    """Tells of each pool, by the name of its login."""

    def __init__(self, pools: Mapping[str, Callable[[], PoolFigures]]) -> None:
        self._pools = pools

    def collect(self) -> Iterable[Metric]:
        figures = {name: pool() for name, pool in self._pools.items()}
        for metric, (told, number) in _GAUGES.items():
            gauge = GaugeMetricFamily(metric, told, labels=["pool"])
            for name, of in figures.items():
                gauge.add_metric([name], number(of))
            yield gauge
        for metric, (told, number) in _COUNTERS.items():
            counter = CounterMetricFamily(metric, told, labels=["pool"])
            for name, of in figures.items():
                counter.add_metric([name], number(of))
            yield counter
