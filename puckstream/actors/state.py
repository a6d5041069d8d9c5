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

    from puckstream.actors.ref import ActorRef
    from puckstream.actors.reply import Reply
    from puckstream.actors.signals import ExitReason
    from puckstream.actors.vessel import Vessel
    from puckstream.actors.watch import Watch
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
    "SUSPENDED",
    "WAITING",
    "Extra",
]

# The order is used: below WAITING the actor can be given a message now, from STOPPING on its
# mailbox is closed.
IDLE: Final = 0  # nothing to do
QUEUED: Final = 1  # in the run queue
RUNNING: Final = 2  # a handler is on the stack
WAITING: Final = 3  # a handler is suspended in an await
SUSPENDED: Final = 4  # handles nothing but what it is asked about itself
STARTING: Final = 5  # on_start has not returned
EXITING: Final = 6  # an exit signal has arrived and not been carried out
STOPPING: Final = 7  # mailbox closed, hooks and owned tasks are ending
DEAD: Final = 8

NAMES: Final = (
    "idle",
    "queued",
    "running",
    "waiting",
    "suspended",
    "starting",
    "exiting",
    "stopping",
    "dead",
)


class Extra:
    """What an actor has beyond a mailbox; see the module's docstring."""

    __slots__ = (
        "aside",
        "control",
        "event",
        "links",
        "listed",
        "monitors",
        "mourner",
        "on_death",
        "owed",
        "path",
        "started",
        "starter",
        "stash",
        "tasks",
        "timers",
        "urn",
        "vessel",
        "watch",
        "watching",
    )

    def __init__(self) -> None:
        self.aside: deque[Any] | None = None  # what a suspended actor does serve
        self.control: deque[Any] | None = None
        self.event: threading.Event | None = None
        self.listed = False  # in pykka's ActorRegistry
        self.links: dict[ActorRef[Any], None] | None = None
        self.monitors: dict[int, ActorRef[Any]] | None = None
        # Told of the end of each child in place of an exit signal; for a mass stop.
        self.mourner: Callable[[ActorRef[Any], ExitReason], object] | None = None
        self.on_death: list[Callable[[ActorRef[Any], ExitReason], object]] | None = None
        self.owed: dict[Reply[Any], None] | None = None  # to be answered by somebody, later
        self.path: str | None = None  # of a supervisor, once somebody has asked
        self.started: Reply[Any] | None = None
        self.starter: ActorRef[Any] | None = None  # linked, and told by return if it fails
        self.stash: deque[Any] | None = None
        self.tasks: dict[str, asyncio.Task[Any]] | None = None
        self.timers: dict[object, Timer] | None = None
        self.urn: str | None = None
        self.vessel: Vessel | None = None
        self.watch: Watch | None = None
        self.watching: dict[int, ActorRef[Any]] | None = None
