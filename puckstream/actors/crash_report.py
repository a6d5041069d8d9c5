"""Crash reports: one log record for every actor that a raised exception has ended.

A record says which actor, where in the tree, handling what, and how often it has been restarted;
as text for people and as fields for machines. A crash that repeats itself, as one does in a
restart loop, is a line without the traceback that is in the log already: formatting one takes
longer than the crash, its restart and the line together.
"""

from __future__ import annotations

import contextlib
import logging
import reprlib
import sys
import threading
from collections.abc import Generator
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from puckstream.actors.signals import text_of
from puckstream.actors.state import STARTING

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.clock import Clock

__all__ = ["AGAIN", "PLACES", "SHOWN", "CrashReports", "Place", "brief", "harmless", "path_of"]

logger = logging.getLogger("puckstream.actors")

AGAIN: Final = 60.0
"""Seconds after which a crash that goes on repeating itself is shown with its traceback again."""

PLACES: Final = 256
"""How many places of a crash are remembered; the one that crashed least recently is forgotten."""

SHOWN: Final = 100
"""How many characters of a message are shown."""

Place = tuple[type[Any], type[BaseException], type[Any], CodeType | None, int]
"""What two crashes have in common that are the same: actor class, error, its cause, code, line."""


@contextlib.contextmanager
def harmless(what: str) -> Generator[None]:
    """Keep what goes wrong with a report of ``what`` from those who only wanted to report it.

    A handler or filter of the application's may raise, and so may the text of an error. That is
    told on standard error, as ``logging`` does for its own handlers.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001  # whoever crashed has to end all the same
        with contextlib.suppress(Exception):
            sys.stderr.write(f"puckstream: {what} could not be logged: {text_of(error)}\n")


def brief(message: Any) -> str:
    """Return the ``repr`` of a message, shortened to at most 100 characters.

    A class that has a method ``in_log()``, returning text, is shown by that instead, also as a
    part of a message: so are the events of streams, which carry what people write.
    """
    text = _BRIEF.repr(message)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


class _Brief(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = SHOWN

    def repr1(self, x: Any, level: int) -> str:
        """Return ``x`` as its class wants it shown in logs, if it says so."""
        in_log = getattr(type(x), "in_log", None)
        return super().repr1(x, level) if in_log is None else str(in_log(x))


_BRIEF: Final = _Brief()

_TRACED: Final = "Unhandled exception in %s:"
_REPEATED: Final = "Unhandled exception in %s: %s: %s (%d× since its traceback was logged)"


@dataclass(slots=True)
class _Repeat:
    """How often a place has crashed since its traceback was logged."""

    shown_at: float
    count: int = 0


class CrashReports:
    """Reports the crashes of one node's actors; from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._repeats: dict[Place, _Repeat] = {}
        self._lock = threading.Lock()

    def report(self, ref: ActorRef[Any], error: BaseException, handling: Any = None) -> None:
        """Log that ``error`` ends ``ref``, at level ERROR; raises nothing, whatever fails.

        The record has ``actor`` (class and number), ``path`` (the ids of its supervisors and its
        own), ``reason``, ``restarts``, ``last_message`` (as the actor's ``format_message`` shows
        it), and ``repeats`` (how often the same has happened since its traceback was logged; 0
        with the traceback).

        Args:
            handling: the message that was being handled; None if there was none.
        """
        if not logger.isEnabledFor(logging.ERROR):
            return
        with harmless(f"the crash of {ref.actor_class.__name__}#{ref.id}"):
            self._report(ref, error, handling)

    def _report(self, ref: ActorRef[Any], error: BaseException, handling: Any) -> None:
        traceback, place = _trace(ref, error)
        repeats = self._count(place)
        actor = f"{ref.actor_class.__name__}#{ref.id}"
        path, restarts = _whereabouts(ref, actor)
        told = "" if handling is None else _shown(ref, handling)
        # An actor that nobody supervises has pykka's line.
        who = str(ref) if ref._parent is None else f"{path} ({actor})"
        if restarts:
            who += f", restarted {restarts}×"
        if told and ref._parent is not None:
            who += f", handling {told}"
        text = text_of(error)
        line_of_log = _TRACED
        shown: tuple[object, ...] = (who,)
        trace: tuple[type[BaseException], BaseException, TracebackType | None] | None
        trace = (type(error), error, traceback)
        if repeats:
            line_of_log, trace = _REPEATED, None
            shown = (who, type(error).__name__, text, repeats)
        _, _, _, code, line = place
        # The place of the crash is the record's, and looking for a caller would cost a third more.
        record = logger.makeRecord(
            logger.name,
            logging.ERROR,
            "" if code is None else code.co_filename,
            line,
            line_of_log,
            shown,
            trace,
            None if code is None else code.co_name,
            {
                "actor": actor,
                "path": path,
                "reason": f"crash: {type(error).__name__}: {text}",
                "last_message": told,
                "restarts": restarts,
                "repeats": repeats,
            },
        )
        logger.handle(record)

    def _count(self, place: Place) -> int:
        now = self._clock.now()
        with self._lock:
            repeat = self._repeats.pop(place, None)
            if repeat is None or now - repeat.shown_at >= AGAIN:
                repeat = _Repeat(now)
            else:
                repeat.count += 1
            self._repeats[place] = repeat
            if len(self._repeats) > PLACES:
                del self._repeats[next(iter(self._repeats))]
            return repeat.count


def _trace(ref: ActorRef[Any], error: BaseException) -> tuple[TracebackType | None, Place]:
    """Return the actor's own part of the traceback, and the place of the crash."""
    traceback = error.__traceback__
    # The engine's frames say nothing about the crash, and formatting each costs 100 µs.
    while traceback is not None and traceback.tb_next is not None:
        if not traceback.tb_frame.f_globals.get("__name__", "").startswith("puckstream.actors."):
            break
        traceback = traceback.tb_next
    code, line, last = None, 0, traceback
    while last is not None:
        code, line, last = last.tb_frame.f_code, last.tb_lineno, last.tb_next
    cause = error.__cause__ or error.__context__
    return traceback, (ref.actor_class, type(error), type(cause), code, line)


def _whereabouts(ref: ActorRef[Any], name: str) -> tuple[str, int]:
    """Return the path of ``ref`` in the supervision tree, and how often it was restarted."""
    parent = ref._parent
    if parent is None:
        return name, 0
    describe = getattr(parent._actor, "describe_child", None)
    id, restarts = (name, 0) if describe is None else describe(ref)
    return f"{path_of(parent)}/{id}", restarts


def path_of(supervisor: ActorRef[Any]) -> str:
    """Return the ids of the supervisors above ``supervisor`` and its own, from ``node`` on."""
    if supervisor._parent is None:
        return "node"
    extra = supervisor._ensure_extra()
    if extra.path is not None:
        return extra.path
    path, _ = _whereabouts(supervisor, supervisor.actor_class.__name__)
    if supervisor._state != STARTING:
        # Its own supervisor does not know its id before.
        extra.path = path
    return path


def _shown(ref: ActorRef[Any], message: Any) -> str:
    actor = ref._actor
    try:
        return "" if actor is None else actor.format_message(message)
    except Exception as error:  # noqa: BLE001  # the report matters more than its decoration
        return f"<{type(message).__name__}; format_message raised {type(error).__name__}>"
