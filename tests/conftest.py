"""Options, markers and fixtures of the whole suite."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.database import VERSIONS, Database, Server, fresh_database, running_server
from tests.redis import RedisServer, running_redis

pytest_plugins = ["tests.engine.report"]

_held = pytest.StashKey[contextlib.ExitStack]()
_server = pytest.StashKey[Server]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        choices=list(VERSIONS),
        default="18",
        help="major version of the PostgreSQL under test (15 is Debian's)",
    )
    parser.addoption(
        "--deep",
        type=int,
        default=0,
        metavar="N",
        help="let the engine's state machine explore N new and long examples",
    )
    parser.addoption(
        "--leaks",
        type=int,
        default=1_000,
        metavar="N",
        help="make N requests each way in search of a leak between tenants",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_held] = contextlib.ExitStack()
    _let_examples_take_their_time()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_held].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Before a worker starts: all workers of a run share the controller's server."""
    if not _missing(_programs(node.config)):
        node.workerinput["server"] = _run_server(node.config).packed()


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("requires"):
        _require(mark.args)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    """The run's PostgreSQL: one process for all workers."""
    _require(_programs(request.config))
    workerinput: dict[str, Any] | None = getattr(request.config, "workerinput", None)
    if workerinput is not None:
        return Server.unpacked(workerinput["server"])
    return _run_server(request.config)


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    """A migrated database that this test has for itself."""
    with fresh_database(server) as made:
        yield made


@pytest.fixture
def other_database(server: Server) -> Iterator[Database]:
    """A second installation on the same PostgreSQL."""
    with fresh_database(server) as made:
        yield made


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    """A Redis that the tests of one module have for themselves; whoever stops it starts it again."""
    _require(("redis-server",))
    with running_redis() as server:
        yield server


def _let_examples_take_their_time() -> None:
    """Hypothesis fails what takes a fifth of a second, as anything may on a busy machine."""
    usual = settings()
    hurried = [*usual.suppress_health_check, HealthCheck.too_slow]
    settings.register_profile("patient", usual, deadline=None, suppress_health_check=hurried)
    settings.load_profile("patient")


def _run_server(config: pytest.Config) -> Server:
    if _server not in config.stash:
        version = config.getoption("--postgres")
        config.stash[_server] = config.stash[_held].enter_context(running_server(version))
    return config.stash[_server]


def _programs(config: pytest.Config) -> tuple[str, ...]:
    binaries = VERSIONS[config.getoption("--postgres")]
    return () if binaries is None else (str(binaries / "postgres"),)


def _missing(programs: tuple[str, ...]) -> list[str]:
    return [name for name in programs if not (shutil.which(name) or _which_of_root(name))]


def _which_of_root(name: str) -> str | None:
    """Debian keeps servers where an ordinary user's PATH does not look."""
    return shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")


def _require(programs: tuple[str, ...]) -> None:
    """Skips, or fails where CONTROLPLANE_TEST_REQUIRE=all promises that all of them are there."""
    missing = _missing(programs)
    if not missing:
        return
    reason = f"needs {', '.join(missing)}; see scripts/install-test-peers"
    everything = os.environ.get("CONTROLPLANE_TEST_REQUIRE") == "all"  # noqa: TID251  no settings
    if everything:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
