"""Where conversations live: a dynamic supervisor below ``app``, made when the first one comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from puckstream.actors.reply import Reply
from puckstream.errors import ChildRunning
from puckstream.supervision.child import ChildSpec, child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.handle import DynamicSupervisorRef, SupervisorRef

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.node import Node

__all__ = ["start_child"]

_NAME: Final = "puck:conversations"


def start_child(
    node: Node, spec: ChildSpec, under: SupervisorRef | DynamicSupervisorRef | None
) -> Reply[ActorRef[Any]]:
    """Start ``spec`` under a supervisor, or else under ``conversations`` of ``node``.

    Raises (when awaited):
        NameTaken: if its name belongs to another live actor.
        StartFailed: if it did not start.
        ActorDead: if the supervisor has ended.
        NodeNotRunning: if ``app`` is being restarted.

    Raises (at once):
        NodeNotRunning: if the node is not running.
    """
    system = node._open()
    started: Reply[ActorRef[Any]] = Reply()

    def begin(supervisor: SupervisorRef | DynamicSupervisorRef | None) -> None:
        if supervisor is None:
            home = child(DynamicSupervisor, id="conversations", name=_NAME)
            _then(node.app.start_child(home), begin, home_failed)
        else:
            _then(supervisor.start_child(spec), started._resolve, started._reject)

    def home_failed(error: BaseException) -> None:
        if isinstance(error, ChildRunning):  # somebody else was first
            begin(cast("DynamicSupervisorRef", error.ref))
        else:
            started._reject(error)

    def go() -> None:
        try:
            begin(under or cast("DynamicSupervisorRef | None", node.whereis(_NAME)))
        except Exception as error:  # noqa: BLE001  # handed to whoever waits
            started._reject(error)

    system.run_on_loop(go)
    return started


def _then(
    reply: Reply[Any], go_on: Callable[[Any], object], failed: Callable[[BaseException], object]
) -> None:
    """Call one of the two, once ``reply`` is settled."""

    def settled() -> None:
        try:
            value = reply.get()
        except BaseException as error:  # noqa: BLE001  # handed on
            failed(error)
        else:
            go_on(value)

    reply._when_done(settled)
