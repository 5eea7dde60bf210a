"""What a worker says as it starts."""

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from controlplane import worker
from tests.integration.tenancy.templates import application

pytestmark = [pytest.mark.anyio, pytest.mark.database_near]


async def test_a_worker_warns_of_its_templates_findings_and_works(empty_lab, tmp_path):
    parts = replace(empty_lab.parts, template=application(tmp_path, downgrade="pass"))
    stopping = asyncio.Event()
    stopping.set()
    with capture_logs() as lines:
        await worker.run_worker(parts, stopping)
    found = [line for line in lines if line["event"] == "template_finding"]
    assert [(line["log_level"], line["rule"]) for line in found] == [("warning", "downgrade")]
