"""What holds for every test of this suite.

* ``async def`` tests run on an event loop of their own, never in asyncio's debug mode, and end
  after 50 s of real time (``@pytest.mark.time_limit(seconds)`` for another limit). Property tests
  of Hypothesis may be coroutines too: every example gets a fresh loop.
* A test fails that leaves a task on its loop, an error nobody retrieved, an actor, a thread or an
  open socket. Threads get a few seconds to end by themselves.
* Warnings are errors (pyproject.toml); with pytest's own hooks that includes exceptions in
  finalizers and in threads.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis.database import DirectoryBasedExampleDatabase

from puckstream.testing.leaks import live_actors

TIME_LIMIT = 50.0  # below faulthandler_timeout, so that a hung coroutine is reported as itself
THREAD_GRACE = 5.0  # seconds in which threads may end after their test
LOOP_TURNS = 25  # turns of the loop in which tasks may end after their test

# test_conftest.py runs a copy of this file alone.
pytest_plugins = ["tests.otp_lines"] if Path(__file__).with_name("otp_lines.py").is_file() else []

Context = dict[str, Any]

hypothesis.settings.register_profile(
    "puckstream",
    database=DirectoryBasedExampleDatabase(".cache/hypothesis"),
    deadline=None,  # a busy machine is not a failure
    print_blob=True,
)
hypothesis.settings.load_profile("puckstream")


# ------------------------------------------------------------------------------ coroutine tests


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run coroutine tests; leave all others to pytest."""
    function = pyfuncitem.obj
    marker = pyfuncitem.get_closest_marker("time_limit")
    limit = TIME_LIMIT if marker is None else float(marker.args[0])
    prop = getattr(function, "hypothesis", None)
    if prop is not None:
        if inspect.iscoroutinefunction(prop.inner_test):
            prop.inner_test = on_a_loop_of_its_own(prop.inner_test, limit)
        return None
    if not inspect.iscoroutinefunction(function):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    on_a_loop_of_its_own(function, limit)(**arguments)
    return True


def on_a_loop_of_its_own(
    function: Callable[..., Coroutine[Any, Any, None]], limit: float
) -> Callable[..., None]:
    """Turn a coroutine test into a plain one that fails on what it leaves on its loop."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        unhandled: list[Context] = []
        try:
            with asyncio.Runner(debug=False) as runner:
                loop = runner.get_loop()
                loop.set_exception_handler(lambda _loop, context: unhandled.append(context))
                runner.run(within(limit, function(*args, **kwargs)))
                left = runner.run(tasks_left())
        except BaseException as error:
            for context in unhandled:
                error.add_note(f"also, unhandled on the loop: {describe(context)}")
            raise
        gc.collect()  # errors that nobody retrieved are reported when their task is collected
        if left:
            pytest.fail("tasks left on the loop:\n" + "\n".join(left), pytrace=False)
        if unhandled:
            cause = next((c["exception"] for c in unhandled if "exception" in c), None)
            msg = "unhandled on the loop:\n" + "\n".join(map(describe, unhandled))
            raise AssertionError(msg) from cause

    return run


async def within(limit: float, coroutine: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(limit):
        await coroutine


async def tasks_left() -> list[str]:
    """Let what is about to end do so, then name the tasks that are still there."""
    current = asyncio.current_task()
    for _ in range(LOOP_TURNS):
        if asyncio.all_tasks() == {current}:
            return []
        await asyncio.sleep(0)
    return [repr(task) for task in asyncio.all_tasks() if task is not current]


def describe(context: Context) -> str:
    exception = context.get("exception")
    return context["message"] if exception is None else f"{context['message']}: {exception!r}"


# ---------------------------------------------------------------------------------------- leaks


class Collector:
    """The garbage collector, run thrice a test and so made to look at what the test made only.

    What outlives a test is hidden from it. What becomes garbage only then it finds when plenty is
    hidden, and at the end of the run.
    """

    PLENTY = 200_000  # objects, which it goes through in a tenth of a second

    def __init__(self) -> None:
        self._hidden = 0

    def hide(self) -> None:
        """Hide all there is."""
        self._hidden += len(gc.get_objects())
        if self._hidden > self.PLENTY:
            self._hidden = 0
            gc.unfreeze()
            gc.collect()
        gc.freeze()


COLLECTOR = pytest.StashKey[Collector]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Hide what exists before the first test."""
    gc.collect()
    session.config.stash[COLLECTOR] = collector = Collector()
    collector.hide()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Hide what outlives a test, when pytest has let go of what it kept: records with errors."""
    result = yield
    gc.collect()
    if not live_actors():  # on the engine of a wider fixture, which the next test has to find
        item.config.stash[COLLECTOR].hide()
    return result


def pytest_sessionfinish() -> None:
    """Let pytest's last look for errors that nobody retrieved find what was hidden."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _leaves_nothing_behind() -> Iterator[None]:
    """Fail the test that leaves a thread, an actor or a socket.

    First of the function's fixtures, so the last to be torn down: what the others hold is gone.
    """
    threads, sockets, actors = set(threading.enumerate()), open_sockets(), list(live_actors())
    yield
    deadline = time.monotonic() + THREAD_GRACE
    left = [thread for thread in threading.enumerate() if thread not in threads]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    gc.collect()
    leaks = {
        "thread": [repr(thread) for thread in left if thread.is_alive()],
        "actor": [repr(actor) for actor in live_actors() if actor not in actors],
        "socket": sorted(open_sockets() - sockets),
    }
    found = [f"{kind} left behind: {what}" for kind, all_ in leaks.items() for what in all_]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def open_sockets() -> set[str]:
    """Name the sockets this process has open, or none where the system does not list them."""
    folder = Path("/proc/self/fd")
    found: set[str] = set()
    if folder.is_dir():
        for entry in folder.iterdir():
            try:
                target = str(entry.readlink())
            except OSError:  # the descriptor that lists this folder
                continue
            if target.startswith("socket:"):
                found.add(target)
    return found
