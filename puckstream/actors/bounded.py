"""The ref of an actor whose mailbox is bounded."""

from __future__ import annotations

import threading
from threading import get_ident
from typing import Any

from puckstream.actors import lifecycle
from puckstream.actors._pykka import Stop
from puckstream.actors.mailbox import Bound, Continue, Request, oldest_to_drop
from puckstream.actors.ref import ActorRef
from puckstream.actors.state import STOPPING
from puckstream.errors import MailboxFull

__all__ = ["BoundedRef"]


class BoundedRef(ActorRef[Any]):
    """Applies the actor's `Bound` to what others send; unbounded actors do not pay for it."""

    __slots__ = ("_on_the_way", "_on_the_way_guard")

    def __init__(self, system: Any, actor_class: Any, id: int) -> None:  # the field's name
        super().__init__(system, actor_class, id)
        # Messages that other threads were let post and the loop has not taken in yet.
        self._on_the_way = 0
        self._on_the_way_guard = threading.RLock()

    @property
    def _bound(self) -> Bound:
        bound: Bound | None = self.actor_class.mailbox
        assert bound is not None
        return bound

    def tell(self, message: Any) -> None:
        """Send ``message``, subject to the mailbox's bound.

        Raises:
            ActorDeadError: if the actor has stopped.
            MailboxFull: if the mailbox is full and its policy is to refuse.
            NodeNotRunning: from another thread, if the actor's node has shut down.
        """
        if self._state >= STOPPING:
            raise self._dead()
        self._offer(message)

    def _send_request(self, request: Request) -> None:
        if self._state >= STOPPING:
            request.reply._reject(self._dead())
            return
        if type(request.message) is Stop:
            super()._send_request(request)
            return
        try:
            self._offer(request)
        except MailboxFull as full:
            request.reply._reject(full)

    def _offer(self, message: Any) -> None:
        on_loop = get_ident() == self._system.thread_id
        if self._bound.policy != "refuse":
            if on_loop:
                self._admit(message)
            else:
                self._system.post(self._arrive, message)
            return
        with self._on_the_way_guard:
            # What is on its way has its place already: whoever was not refused is not dropped.
            if self.mailbox_length + self._on_the_way >= self._bound.capacity:
                raise MailboxFull(self, self._bound.capacity, message)
            if on_loop:
                self._deliver(message)
                return
            self._on_the_way += 1
        self._system.post(self._arrive, message)

    def _arrive(self, message: Any) -> None:
        if self._bound.policy == "refuse":
            with self._on_the_way_guard:
                self._on_the_way -= 1
                alive = self._deliver(message)
        else:
            alive = self._state < STOPPING
            if alive:
                self._admit(message)
        if not alive:
            lifecycle.return_to_sender(self._system, self, message)

    def _admit(self, message: Any) -> None:
        """Deliver ``message`` after making room for it, or drop it."""
        bound = self._bound
        if self.mailbox_length >= bound.capacity:
            full = MailboxFull(self, bound.capacity, message)
            if bound.policy == "drop_new":
                self._drop(message, full)
                return
            box = self._box
            assert box is not None
            index = oldest_to_drop(box)
            if index is not None:
                oldest = box[index]
                del box[index]
                self._drop(oldest, full)
        self._deliver(message)

    def _drop(self, message: Any, full: MailboxFull) -> None:
        if type(message) is Request:
            message.reply._reject(full)
        else:
            lost = message.message if type(message) is Continue else message
            self._system.dead_letters.add(self, lost, "the mailbox was full")
