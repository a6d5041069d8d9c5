"""`Inspector`: looking at one actor, and into it, while it runs (OTP ``sys``, ``process_info``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from puckstream.actors.info import Info, info_of
from puckstream.actors.mailbox import Request, SystemRequest
from puckstream.actors.reply import Reply
from puckstream.errors import CallingSelf, InvalidOption

if TYPE_CHECKING:
    from puckstream.actors.ref import ActorRef
    from puckstream.actors.system_request import Status
    from puckstream.actors.watch import Event, Observer, Statistics

__all__ = ["Inspector"]

TRACE = "trace"


class Inspector:
    """One actor, to be looked at; made by `Node.inspect`, for use from anywhere.

    All but `info` are requests to the actor. They wait in its mailbox behind what it was sent
    before, and it answers them between two messages; no bound refuses them, and an actor that is
    suspended answers at once. Await the reply, or ``get()`` it in a thread.

    Args:
        ref: the actor.
        timeout: how long each answer may take, in seconds; None is without limit.

    Raises (by every request, when awaited):
        CallTimeout: if ``timeout`` passes. The actor still carries out what was asked.
        ActorDead: if the actor has ended, or ends before it answers.

    Raises (by every request, at once):
        CallingSelf: from inside the actor's own handler.
        NodeNotRunning: from another thread, if the actor's node has shut down.
    """

    __slots__ = ("ref", "timeout")

    def __init__(self, ref: ActorRef[Any], timeout: float | None = 5.0) -> None:
        self.ref = ref
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"<Inspector of {self.ref}>"

    # -- from outside

    def info(self) -> Info | None:
        """Return what can be seen of the actor from outside; None if it is dead.

        No message is sent: it is immediate, from any thread, and shows an actor that is stuck in
        a handler, and the loop of its node with it, as well as an idle one. Of a killed actor
        whose handler still runs there is something left to see.
        """
        return info_of(self.ref)

    # -- its state

    def state(self) -> Reply[dict[str, Any]]:
        """Return the actor's attributes; a copy, the objects in it are the actor's own."""
        return self._ask("state")

    def status(self) -> Reply[Status]:
        """Return state, parent, whether it is suspended, and what of it is observed."""
        return self._ask("status")

    def replace_state(
        self, function: Callable[[dict[str, Any]], Mapping[str, Any]]
    ) -> Reply[dict[str, Any]]:
        """Replace the actor's attributes by ``function(attributes)``, in one step.

        The function runs in the actor, between two messages, and gets a copy as from `state`.
        What it returns are all the attributes the actor has from then on. If it raises or returns
        anything else, the actor keeps those it had, and lives on; what the function has done to
        the objects in them is done.

        Returns:
            A reply with the new state.

        Raises (when awaited):
            StateNotReplaced: if the function raised (``__cause__``), or returned no dict.
        """
        return self._ask("replace_state", function)

    # -- holding it up

    def suspend(self) -> Reply[None]:
        """Have the actor handle no message from now on; nothing happens if it does not.

        What is sent to it waits, calls time out. It still answers what it is asked by an
        `Inspector`, obeys exit signals, its supervisor and ``stop``, and its tasks and timers go
        on. A ``stop`` ends it without what waits being handled.
        """
        return self._ask("suspend")

    def resume(self) -> Reply[None]:
        """Have a suspended actor go on with what waits; nothing happens to any other."""
        return self._ask("resume")

    # -- what goes in and out

    def statistics(self, on: bool | None = None) -> Reply[Statistics | None]:  # noqa: FBT001
        """Return the counts of messages so far; None if they are switched off.

        Args:
            on: true to count from zero from now on, false to stop; left out, nothing changes.
        """
        return self._ask("statistics", on)

    def log(self, keep: int | None = None) -> Reply[tuple[Event, ...]]:
        """Return the last messages taken up and answers given that were kept, oldest first.

        Args:
            keep: how many to keep from now on, 0 for none; left out, nothing changes.

        Raises (at once):
            InvalidOption: if ``keep`` is no whole number, 0 or more.
        """
        if keep is not None and (type(keep) is not int or keep < 0):
            option = "keep"
            raise InvalidOption(option, keep, "how many events to keep, 0 or more")
        return self._ask("log", keep)

    def trace(
        self,
        on: bool = True,  # noqa: FBT001, FBT002  # inspect(x).trace(False), as in OTP
        write: Callable[[str], object] = print,
    ) -> Reply[Any]:
        """Write a line for every message taken up and every answer given, or stop that.

        What is said of a message is what the actor's ``format_message`` makes of it.

        Args:
            write: called with each line, on the thread that handles the message.
        """
        if not on:
            return self._ask("remove", TRACE)
        ref = self.ref
        name = f"{ref.actor_class.__name__}#{ref.id}"

        def show(event: Event) -> None:
            actor = ref._actor
            said = "…" if actor is None else actor.format_message(event.message)
            write(f"{event.at:.3f} {name} {event.kind} {said}")

        return self._ask("install", TRACE, show)

    def install(self, name: str, function: Observer) -> Reply[None]:
        """Have ``function(event)`` called with every message taken up and every answer given.

        It is called before the message is handled, must not block, and is removed, with a line in
        the log, if it raises.

        Args:
            name: for `remove`; a function of the same name is replaced.

        Raises (at once):
            InvalidOption: if ``function`` cannot be called.
        """
        if not callable(cast("object", function)):
            option = "function"
            raise InvalidOption(option, function, "a function of one event")
        return self._ask("install", name, function)

    def remove(self, name: str) -> Reply[bool]:
        """Call that debug function no more; the reply says whether there was one."""
        return self._ask("remove", name)

    def no_debug(self) -> Reply[None]:
        """Switch off statistics, log, trace and all debug functions."""
        return self._ask("no_debug")

    def _ask(self, operation: str, *args: Any) -> Reply[Any]:
        ref = self.ref
        system = ref._system
        if ref._is_handling():
            msg = f"{ref} inspects itself and would wait for ever; look at its attributes"
            raise CallingSelf(msg)
        reply: Reply[Any] = Reply()
        ref._send_system(Request(SystemRequest(operation, args), reply))
        if self.timeout is not None and not reply.done:
            system.run_on_loop(system.deadlines.add, reply, self.timeout, ref)
        return reply
