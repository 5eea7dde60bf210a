"""What the OpenAPI document promises, tried by a generator against a real server.

With SCHEMATHESIS_URL and SCHEMATHESIS_TOKEN the server at that address is tried instead, with
SCHEMATHESIS_EXAMPLES (100) examples for each operation.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controlplane.cli import serving
from tests.database import Server, fresh_database
from tests.web.calls import open_site

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1800)]

# The tenants' operation is answered on tenants' hosts alone.
_LEFT_OUT = "getTenantInfo"


@asynccontextmanager
async def target(server: Server) -> AsyncIterator[tuple[str, str, int]]:
    """Address, token and how many examples."""
    given: Any = os.environ  # noqa: TID251  the operator of the test run says what is tried
    if "SCHEMATHESIS_URL" in given:
        examples = int(given.get("SCHEMATHESIS_EXAMPLES", "100"))
        yield given["SCHEMATHESIS_URL"], given["SCHEMATHESIS_TOKEN"], examples
        return
    with fresh_database(server) as database:
        async with open_site(database) as site, site.working():
            bound = serving.listening("127.0.0.1", 0)
            stopping = asyncio.Event()
            serve = asyncio.create_task(serving.serve(site.app, bound, stopping))
            try:
                yield f"http://127.0.0.1:{bound.getsockname()[1]}", site.tokens["admin"], 5
            finally:
                stopping.set()
                await serve


# What a schema cannot say: a key that was used for another request, a reserved subdomain.
_SETTINGS = """
[[operations]]
include-operation-id = ["createTenant", "provisionTenant"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422"]
"""


async def test_a_generator_finds_nothing_undocumented(server: Server, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(_SETTINGS)
    async with target(server) as (url, token, examples):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/api/openapi.json"),
            *("-H", f"Authorization: Bearer {token}", "--max-examples", str(examples)),
            *("--exclude-operation-id", _LEFT_OUT, "--generation-database", "none"),
            *("--continue-on-failure", "--request-timeout", "60", "--no-color"),
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode().replace(token, "…")
