"""What ``conftest.py`` promises, shown by a suite of its own that breaks each promise once."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

SUITE = """
import asyncio, socket, threading, warnings
import pytest
from hypothesis import given, settings, strategies
import puckstream

KEPT = []

@pytest.fixture(scope="session")
def node():
    with puckstream.Node() as node:
        yield node

def test_good_on_a_wide_node(node):
    node.spawn(puckstream.Actor).get().stop()

async def test_good():
    async with asyncio.timeout(5):
        await asyncio.to_thread(lambda: None)
    task = asyncio.create_task(asyncio.sleep(0))  # ends by itself, a turn later

async def test_good_with_fixture(tmp_path):
    assert tmp_path.is_dir()

@settings(max_examples=5)
@given(strategies.integers())
async def test_good_property(number):
    assert asyncio.get_running_loop().get_debug() is False

async def test_bad_assertion():
    await asyncio.sleep(0)
    assert False

async def test_bad_task():
    KEPT.append(asyncio.create_task(asyncio.Event().wait()))

async def test_bad_callback():
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)

async def test_bad_task_error():
    async def fail():
        raise ValueError("nobody looks")
    asyncio.create_task(fail())
    await asyncio.sleep(0)

@pytest.mark.time_limit(0.05)
async def test_bad_hang():
    await asyncio.Event().wait()

def test_bad_warning():
    warnings.warn("old")

async def test_bad_coroutine_never_awaited():
    asyncio.sleep(0)

def test_bad_thread_error():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()

def test_bad_thread():
    KEPT.append(threading.Event())
    threading.Thread(target=KEPT[-1].wait, daemon=True).start()

def test_bad_socket():
    KEPT.append(socket.socket())

def test_bad_actor(node):
    node.spawn(puckstream.Actor).get()
"""


def outcomes(folder: Path) -> tuple[dict[str, set[str]], str]:
    shutil.copy(HERE / "conftest.py", folder)
    faster = (folder / "conftest.py").read_text("utf-8").replace("GRACE = 5.0", "GRACE = 0.05")
    (folder / "conftest.py").write_text(faster, "utf-8")
    (folder / "test_suite.py").write_text(SUITE, "utf-8")
    (folder / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nmarkers = time_limit\n", "utf-8"
    )
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found: dict[str, set[str]] = {}
    for outcome, name in re.findall(
        r"^(PASSED|FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE
    ):
        found.setdefault(name, set()).add(outcome)
    return found, done.stdout


def test_every_broken_promise_fails_its_own_test_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    found, output = outcomes(tmp_path)
    assert len(found) == SUITE.count("def test_"), output
    passed = {name for name, outcome in found.items() if outcome == {"PASSED"}}
    assert passed == {name for name in found if name.startswith("test_good")}, output
    for reason in (
        "tasks left on the loop",
        "ZeroDivisionError",
        "nobody looks",
        "TimeoutError",
        "was never awaited",
        "thread left behind",
        "socket left behind",
        "actor left behind",
    ):
        assert reason in output
