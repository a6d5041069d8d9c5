"""Logs for tests, and ways to end them."""

from __future__ import annotations

import pytest

from puckstream.backends.base import Chunk
from puckstream.errors import StreamError
from puckstream.streams.context import Context
from puckstream.streams.events import StartInfo, StreamEvent
from puckstream.streams.log import Log

__all__ = ["CONTEXT", "ENDS", "FAILURE", "end", "running", "text"]

FAILURE = StreamError("server", "broken", status=500, retryable=True)
CONTEXT = Context().user("hello")


def text(delta: str) -> Chunk:
    return Chunk("content", delta)


def running(*deltas: str) -> Log:
    log = Log("s", 10.0)
    log.start(StartInfo("m", "p"), 10.0)
    for delta in deltas:
        log.add(text(delta), 11.0)
    return log


def end(log: Log, how: str) -> StreamEvent | None:
    if how == "done":
        return log.finish(CONTEXT, 12.0)
    if how == "error":
        return log.fail(FAILURE, 12.0)
    return log.cancel("user", 12.0)


ENDS = pytest.mark.parametrize("how", ["done", "error", "cancelled"])
