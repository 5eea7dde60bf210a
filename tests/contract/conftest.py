import os
import shutil

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips, naming them, what needs programs that this machine lacks; with
    CONTROLPLANE_TEST_REQUIRE=all a missing program is a failure."""
    wanted = [program for marker in item.iter_markers("requires") for program in marker.args]
    missing = [program for program in wanted if shutil.which(program) is None]
    if not missing:
        return
    reason = f"needs {', '.join(missing)} (scripts/install-test-peers installs them)"
    # The tests' own switch, no setting of the product.
    if os.environ.get("CONTROLPLANE_TEST_REQUIRE") == "all":  # noqa: TID251  see above
        pytest.fail(reason)
    pytest.skip(reason)
