"""The states of an actor, and the bookkeeping only some actors need.

An idle actor that nobody links, monitors or names costs its ref and itself; everything else is
in `Extra`, made on first use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    import threading

    from puckstream.actors.mailbox import Request
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.reply import Reply
    from puckstream.actors.signals import ExitReason
    from puckstream.actors.vessel import Vessel
    from puckstream.clock import Timer

__all__ = [
    "DEAD",
    "EXITING",
    "IDLE",
    "NAMES",
    "QUEUED",
    "RUNNING",
    "STARTING",
    "STOPPING",
    "WAITING",
    "Extra",
]

# The order is used: below WAITING the actor can be given a message now, from STOPPING on its
# mailbox is closed.
IDLE: Final = 0  # nothing to do
QUEUED: Final = 1  # in the run queue
RUNNING: Final = 2  # a handler is on the stack
WAITING: Final = 3  # a handler is suspended in an await
STARTING: Final = 4  # on_start has not returned
EXITING: Final = 5  # an exit signal has arrived and not been carried out
STOPPING: Final = 6  # mailbox closed, hooks and owned tasks are ending
DEAD: Final = 7

NAMES: Final = (
    "idle",
    "queued",
    "running",
    "waiting",
    "starting",
    "exiting",
    "stopping",
    "dead",
)


class Extra:
    """What an actor has beyond a mailbox; see the module's docstring."""

    __slots__ = (
        "control",
        "event",
        "links",
        "listed",
        "monitors",
        "mourner",
        "on_death",
        "path",
        "request",
        "started",
        "starter",
        "tasks",
        "timers",
        "urn",
        "vessel",
        "watching",
    )

    def __init__(self) -> None:
        self.control: deque[Any] | None = None
        self.event: threading.Event | None = None
        self.listed = False  # in pykka's ActorRegistry
        self.links: dict[ActorRef[Any], None] | None = None
        self.monitors: dict[int, ActorRef[Any]] | None = None
        # Told of the end of each child in place of an exit signal; for a mass stop.
        self.mourner: Callable[[ActorRef[Any], ExitReason], object] | None = None
        self.on_death: list[Callable[[ActorRef[Any], ExitReason], object]] | None = None
        self.path: str | None = None  # of a supervisor, once somebody has asked
        self.request: Request | None = None  # the one a suspended handler must answer
        self.started: Reply[Any] | None = None
        self.starter: ActorRef[Any] | None = None  # linked, and told by return if it fails
        self.tasks: dict[str, asyncio.Task[Any]] | None = None
        self.timers: dict[object, Timer] | None = None
        self.urn: str | None = None
        self.vessel: Vessel | None = None
        self.watching: dict[int, ActorRef[Any]] | None = None
