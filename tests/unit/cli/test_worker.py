"""The worker's command hears of the end of who started it, once."""

import asyncio
import os

import pytest

from controlplane.cli.worker import on_end_of

pytestmark = pytest.mark.anyio


async def test_an_end_is_told_once_and_not_watched_any_more() -> None:
    ours, theirs = os.pipe()
    try:
        ended = asyncio.Event()
        on_end_of(ours, ended.set)
        os.close(theirs)
        await asyncio.wait_for(ended.wait(), 60)
        assert not asyncio.get_running_loop().remove_reader(ours)
    finally:
        os.close(ours)
