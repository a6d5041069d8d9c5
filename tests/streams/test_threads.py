"""Threads for what blocks: reused, never waited for, and counted when they are left behind."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.actors.scheduler import Scheduler
from puckstream.streams.threads import Threads

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


def running(name: str = "puckstream-worker") -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith(name)}


async def test_a_call_runs_in_a_thread_with_the_context_of_its_caller() -> None:
    said: contextvars.ContextVar[str] = contextvars.ContextVar("said")
    system = Scheduler(asyncio.get_running_loop())
    threads = Threads(system)
    said.set("hello")
    result, error = await threads.run(lambda: (said.get(), threading.current_thread().daemon))
    assert (result, error) == (("hello", True), None)
    threads.close()
    await system.close()


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), StopIteration(), GeneratorExit()])
async def test_whatever_a_call_raises_is_handed_over(error: BaseException) -> None:
    def broken() -> None:
        raise error

    system = Scheduler(asyncio.get_running_loop())
    threads = Threads(system)
    assert await threads.run(broken) == (None, error)
    threads.close()
    await system.close()


async def test_a_thread_that_is_done_does_the_next_call_and_few_are_kept() -> None:
    system = Scheduler(asyncio.get_running_loop())
    threads = Threads(system)
    before = running()
    names = {(await threads.run(lambda: threading.current_thread().name))[0] for _ in range(20)}
    assert len(names) == 1
    together = threading.Barrier(30)
    await asyncio.gather(*(threads.run(together.wait, 10) for _ in range(30)))
    for thread in running() - before:
        if thread not in {worker.thread for worker in threads._idle}:
            await asyncio.to_thread(thread.join, 10)
    assert len(running() - before) == len(threads._idle) == 8
    threads.close()
    await system.close()


async def test_a_system_without_threads_is_an_error_of_the_stream(
    stage: AnyStage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    async with puck.Node(clock=clock) as node:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            stream = await node.start_stream(lambda emit: emit("a"))
            end = await stage.ended(stream)
        assert (end.kind, end.reason.kind) == ("error", "crashed")
        assert "no thread left" in str(end.reason)
        assert (await (await node.start_stream(lambda emit: emit("a"))).result()).content == "a"


@pytest.mark.parametrize("way", ["cancel", "kill", "timeout"])
async def test_a_function_that_blocks_for_ever_is_left_behind_and_counted(
    stage: AnyStage, clock: Clock, way: str
) -> None:
    begun, go_on, over = threading.Event(), threading.Event(), threading.Event()
    stopped: list[Any] = []

    def blocked(emit: Any) -> None:
        begun.set()
        go_on.wait(20)
        try:
            emit("too late")
        except BaseException as error:
            stopped.append(error)
            raise
        finally:
            over.set()

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(blocked, timeout=60.0)
        audience = stage.Audience(node, stream)
        await audience.gather()
        assert await asyncio.to_thread(begun.wait, 10)
        if way == "kill":
            stage.owner(node, stream).kill()
        elif way == "timeout":
            await clock.elapse(60.0)
        else:
            waiting = stream.cancel(wait=True)
            await clock.elapse(4.0)
            assert not waiting.done
        await audience.verdict()
        await clock.elapse(5.0)
        await stage.settle()
        assert not node.streaming(stream.id)
        assert stage.zombies(node) == 1
        go_on.set()
        assert await asyncio.to_thread(over.wait, 10)
        await stage.until(lambda: not stage.zombies(node))
    assert [type(error) for error in stopped] == [asyncio.CancelledError]


BLOCKED = """
import threading, puckstream as puck
begun = threading.Event()
def blocked(emit):
    begun.set()
    threading.Event().wait()
with puck.Node() as node:
    stream = node.start_stream(blocked).get()
    assert begun.wait(10)
    node.whereis(stream.topic).kill()
    print(stream.wait().get().reason.kind)
"""


def test_a_thread_that_blocks_for_ever_does_not_keep_the_program_from_ending() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, "killed\n"), done.stderr


async def test_a_shutdown_does_not_wait_for_a_thread_that_blocks(
    stage: AnyStage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def blocked(emit: Any) -> None:
        begun.set()
        go_on.wait(20)

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(blocked)
        audience = stage.Audience(node, stream)
        await audience.gather()
        assert await asyncio.to_thread(begun.wait, 10)
        ending = asyncio.ensure_future(node.shutdown())
        await clock.elapse(5.0)  # what a child has to stop
        async with asyncio.timeout(10):  # two seconds, in truth, for threads that are nearly done
            await ending
        end = await audience.verdict()
    assert (end.kind, end.reason) == ("cancelled", "shutdown")
    assert "still runs" in caplog.text
    go_on.set()
