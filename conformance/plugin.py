"""The fixture that puts our actor classes under pykka's suite, and the table of exceptions.

pykka's suite is written against one fixture, ``runtime``: which actor class, which future class,
which event and sleep functions. Here it has two values, ``Actor`` and ``ThreadActor``, in the
flavour that keeps pykka's rule for errors: what a handler raises while it answers an ``ask`` goes
to the asker, and the actor lives on.
"""

from __future__ import annotations

import importlib
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import puckstream
from puckstream.actors.reply import Reply

EXCEPTIONS = Path(__file__).with_name("exceptions.toml")


class PykkaActor(puckstream.Actor):
    """``Actor`` with pykka's rule for errors."""

    ask_errors = "reply"


class PykkaThreadActor(puckstream.ThreadActor):
    """``ThreadActor`` with pykka's rule for errors."""

    ask_errors = "reply"


def a_runtime(name: str, actor_class: type[Any]) -> Any:
    """Return the parameter of the fixture ``runtime`` for one actor class."""
    suite_types = importlib.import_module("tests.types")  # pykka's, in the suite's folder
    value: object = suite_types.Runtime(
        name=name,
        actor_class=actor_class,
        event_class=threading.Event,
        future_class=Reply,
        sleep_func=time.sleep,
    )
    return pytest.param(value, id=name)


RUNTIMES = [
    a_runtime("puckstream.Actor", PykkaActor),
    a_runtime("puckstream.ThreadActor", PykkaThreadActor),
]


@pytest.fixture(scope="session", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Any:
    """Take the place of the fixture of the same name in the suite's ``conftest.py``."""
    return request.param


@pytest.fixture(scope="session", autouse=True)
def _node() -> Iterator[None]:
    """Hold a node in this context, on a loop in a thread: ``Actor.start()`` uses it."""
    with puckstream.Node():
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Expect the tests of the table to fail, and every one of the table to exist."""
    table = tomllib.loads(EXCEPTIONS.read_text("utf-8"))
    reasons = {str(entry["test"]): str(entry["reason"]) for entry in table.get("exception", [])}
    whole_suite = config.args == ["tests"]
    if whole_suite and (unknown := reasons.keys() - {item.nodeid for item in items}):
        msg = f"stale exceptions, the suite has no such tests: {', '.join(sorted(unknown))}"
        raise pytest.UsageError(msg)
    for item in items:
        if item.nodeid in reasons:
            reason = f"{reasons[item.nodeid]} (a pass is a stale exception: take it off the table)"
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
