"""The command line, run as a user runs it: in a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable

import pytest

Start = Callable[..., Awaitable[Process]]


@pytest.fixture
def start() -> Start:
    """``process = await start("chat", "Hello", OPENAI_BASE_URL=…)``."""

    async def start_process(*arguments: str, **variables: str) -> Process:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANTHROPIC_", "OLLAMA_", "OPENAI_", "PUCKSTREAM_"))
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "puckstream", *arguments),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env={**inherited, **variables},
        )

    return start_process
