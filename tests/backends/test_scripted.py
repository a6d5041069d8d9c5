"""The scripted model as a process of the node's own."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from puckstream.backends import scripted
from puckstream.backends.base import Chunk, Request, Resources
from puckstream.backends.openai import OpenAI
from puckstream.backends.scripted import Scripted, model_process
from puckstream.errors import StreamError

ASK = Request(({"role": "user", "content": "say this"},))


async def answer(model: str, resources: Resources) -> list[Chunk]:
    async with Scripted(model).open(ASK, resources) as chunks:
        return [chunk async for chunk in chunks]


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_first_stream_starts_the_server_and_the_node_s_end_stops_it() -> None:
    resources = Resources()
    chunks = await answer("echo", resources)
    assert "".join(chunk.content for chunk in chunks) == "say this"
    assert chunks[-1].type == "finish"
    process = await model_process(resources)
    assert runs(process.pid)
    await answer("fast", resources)
    assert await model_process(resources) is process
    await resources.aclose()
    assert not runs(process.pid)


async def test_the_server_s_log_says_that_a_cancel_closed_the_upstream() -> None:
    resources = Resources()
    first = asyncio.Event()

    async def read() -> None:
        async with Scripted("stall").open(ASK, resources) as chunks:
            async for _ in chunks:
                first.set()

    task = asyncio.ensure_future(read())
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    process = await model_process(resources)
    log = await process.log()
    while log[0]["ended"] is None:  # the other process may not have looked yet
        log = await process.log()
    assert (log[0]["ended"], log[0]["script"], log[0]["closed"]) == ("client_closed", "stall", True)
    assert 1 <= log[0]["tokens_sent"] <= 20
    await resources.aclose()


async def test_without_a_name_it_tells_a_story_and_an_unknown_name_is_refused() -> None:
    resources = Resources()
    async with Scripted().open(ASK, resources) as chunks:
        assert (await anext(chunks)).content == "The "
    with pytest.raises(StreamError, match=r"no such script; there are: echo, story") as caught:
        await answer("nonsense", resources)
    assert caught.value.kind == "invalid_request"
    assert caught.value.provider == "scripted"
    await resources.aclose()


async def test_no_key_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://nowhere.invalid/v1")
    sent: list[dict[str, Any]] = []

    def spy(**options: Any) -> Any:
        backend = OpenAI(**options)
        sent.append({"key": backend.api_key, "url": backend.base_url})
        return backend

    monkeypatch.setattr(scripted, "OpenAI", spy)
    resources = Resources()
    await answer("echo", resources)
    assert sent[0]["key"] == ""
    assert sent[0]["url"].startswith("http://127.0.0.1:")
    await resources.aclose()


async def test_a_server_that_does_not_start_is_an_error_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scripted, "_COMMAND", ("-c", "raise SystemExit('no lamp oil')"))
    resources = Resources()
    with pytest.raises(StreamError, match="did not start: no lamp oil") as caught:
        await answer("echo", resources)
    assert caught.value.kind == "connection"
    await resources.aclose()


async def test_a_server_that_ignores_every_request_to_stop_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = (
        "import signal, json, sys, threading\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(json.dumps({'url': 'http://127.0.0.1:1/v1'}), flush=True)\n"
        "threading.Event().wait()\n"
    )
    monkeypatch.setattr(scripted, "_COMMAND", ("-c", program))
    monkeypatch.setattr(scripted, "_STOP_TIMEOUT", 0.0)
    resources = Resources()
    process = await model_process(resources)
    await resources.aclose()
    assert not runs(process.pid)


async def test_a_node_that_ends_while_the_server_starts_leaves_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pids: list[int] = []
    genuine = asyncio.create_subprocess_exec

    async def spy(*args: Any, **options: Any) -> Any:
        process = await genuine(*args, **options)
        pids.append(process.pid)
        started.set()
        return process

    started = asyncio.Event()
    monkeypatch.setattr(asyncio, "create_subprocess_exec", spy)
    monkeypatch.setattr(scripted, "_COMMAND", ("-c", "import threading; threading.Event().wait()"))
    resources = Resources()
    task = asyncio.ensure_future(answer("echo", resources))
    await started.wait()
    await resources.aclose()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not runs(pids[0])
