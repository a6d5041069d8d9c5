"""A model without key or network: ``scripted:`` runs ``puckstream model`` as its own process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from puckstream.backends.base import Chunk, Request, Resources
from puckstream.backends.cancellation import to_the_end
from puckstream.backends.http import fetch
from puckstream.backends.openai import OpenAI
from puckstream.errors import StreamError

__all__ = ["ModelProcess", "Scripted", "model_process"]

_PROVIDER = "scripted"
_COMMAND = ("-m", "puckstream.cli.model", "--json", "--quiet", "--until-stdin-closes")
_START_TIMEOUT = 20.0
_STOP_TIMEOUT = 3.0
_TAIL = 2000
"""Bytes of the server's last words that go into an error."""


@dataclass(frozen=True)
class Scripted:
    """A scripted model; the first stream on a node starts its server, which ends with the node.

    Args:
        model: the script's name, e.g. ``story``, ``slow``, ``thinking``, ``tool``, ``stall``;
            ``""`` is ``story``.
        max_connections: how many streams may run at once; more wait their turn.
    """

    model: str = ""
    max_connections: int = 100
    provider: str = _PROVIDER

    @asynccontextmanager
    async def open(
        self, request: Request, resources: Resources
    ) -> AsyncGenerator[AsyncIterator[Chunk]]:
        """Send ``request``; the context's value iterates the answer, ``finish`` last.

        Guarantees and errors are those of `OpenAI.open`. A name that is no script is refused
        with the names that are.

        Raises (on entering and while iterating):
            StreamError: also of kind ``connection`` if the server does not start.
        """
        process = await model_process(resources)
        script = self.model or "story"
        backend = OpenAI(
            model=script,
            base_url=process.url,
            api_key="",
            headers={"x-puckstream-script": script},
            max_connections=self.max_connections,
            provider=self.provider,
        )
        async with backend.open(request, resources) as chunks:
            yield chunks


class ModelProcess:
    """The scripted model server of a node, a process of its own.

    Args:
        url: the ``base_url`` at which it speaks the OpenAI chat dialect.
        pid: the process's id.
    """

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid

    async def log(self) -> list[dict[str, Any]]:
        """Return what the server knows of every request, oldest first.

        Each has ``id``, ``model``, ``tokens_sent``, ``tokens_total``, ``ended`` (``complete``,
        ``client_closed``, ``fault``, or ``None`` while it runs), ``closed`` and more.

        Raises:
            StreamError: if the server does not answer.
        """
        body = await fetch(f"{self.url}/log", provider=_PROVIDER)
        return cast("list[dict[str, Any]]", json.loads(body))


async def model_process(resources: Resources) -> ModelProcess:
    """Return the node's scripted model server, started on first use.

    Raises:
        StreamError: of kind ``connection``, with the server's last words, if it does not start.
    """
    return await resources.get((_PROVIDER, "process"), _started)


@asynccontextmanager
async def _started() -> AsyncGenerator[ModelProcess]:
    with tempfile.TemporaryFile() as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", *_COMMAND),
            stdin=PIPE,
            stdout=PIPE,
            stderr=stderr,
            env=_environment(),
            # Ctrl-C in a terminal goes to the whole group; this process ends with its node instead.
            start_new_session=True,
        )
        try:
            yield ModelProcess(await _url(process, stderr), process.pid)
        finally:
            await to_the_end(_stop(process))


def _environment() -> dict[str, str]:
    """Let the child import this package from where this process did."""
    home = str(Path(__file__).resolve().parents[2])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


async def _url(process: Process, stderr: IO[bytes]) -> str:
    """Wait for the server's first line, which says where it listens."""
    assert process.stdout is not None
    line = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_TIMEOUT):
            line = await process.stdout.readline()
    try:
        return str(json.loads(line)["url"])
    except (ValueError, KeyError, TypeError):
        stderr.seek(0)
        said = stderr.read()[-_TAIL:].decode("utf-8", "replace").strip()
        msg = f"the scripted model server did not start: {said or 'it said nothing'}"
        raise StreamError("connection", msg, provider=_PROVIDER) from None


async def _stop(process: Process) -> None:
    """End the process: by the end of its stdin and SIGTERM, after a while by SIGKILL."""
    assert process.stdin is not None
    process.stdin.close()
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    ended = asyncio.ensure_future(process.wait())
    await asyncio.wait({ended}, timeout=_STOP_TIMEOUT)
    if not ended.done():
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await ended
