"""`Supervisor`: a fixed list of children under one restart strategy (OTP ``supervisor``).

The decisions are `puckstream.supervision.children`'s; this actor carries them out, one action
at a time. While a child takes its time to start or stop, requests and exits wait in the mailbox;
between two attempts of a failing restart they are served.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Hashable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple

from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.signals import KILLED, SHUTDOWN, Exit, ExitReason
from puckstream.actors.state import DEAD, STARTING
from puckstream.errors import ChildError, InvalidSpec, Refuse, StartFailed
from puckstream.supervision import handle
from puckstream.supervision.action import Actions, Report, Retry, ShutdownSelf, Start, Stop
from puckstream.supervision.child import (
    AutoShutdown,
    ChildSpec,
    Flags,
    Ignore,
    Strategy,
    as_child_specs,
)
from puckstream.supervision.children import Children
from puckstream.supervision.place import ChildRow
from puckstream.supervision.report import log_report
from puckstream.supervision.staff import Staff, Started, reason_of, refusal_of
from puckstream.supervision.strategy import Verdict
from puckstream.supervision.survey import state_of, survey_row
from puckstream.supervision.tree import Tree

__all__ = ["Supervisor"]

_Actions = Actions[ActorRef[Any], ExitReason]


class _TryAgain(NamedTuple):
    """A failed restart's next attempt, behind the requests that already wait."""

    retry: Retry


class Supervisor(Actor):
    """Starts its children in order, restarts them by ``strategy``, stops them in reverse.

    It is running when all its children are. If one does not start, those before it are stopped
    in reverse order and the supervisor fails to start. More than ``intensity`` restarts within
    ``period`` seconds end it with reason *shutdown*.

    Args:
        children: specs from ``child(…)``, actor classes, or anything with ``child_spec()``.
        strategy: ``"one_for_one"``, ``"one_for_all"`` or ``"rest_for_one"``.
        intensity: restarts allowed within ``period``; 0 allows none.
        period: the window, in seconds, above 0.
        auto_shutdown: whether the end of a significant child ends the supervisor.
        classify: given an exit reason for which a child would be restarted, answers
            ``"restart"``, ``"stop"`` or ``"escalate"``.

    Raises:
        InvalidSpec: if a flag or a spec has an impossible value, or two children have one id.
    """

    trap_exit = True
    child_type: ClassVar[Literal["worker", "supervisor"]] = "supervisor"
    _ref_class: ClassVar[type[ActorRef[Any]]] = handle.SupervisorRef

    def __init__(
        self,
        children: Iterable[ChildSpec | Callable[..., Any]] = (),
        *,
        strategy: Strategy = "one_for_one",
        intensity: int = 3,
        period: float = 5.0,
        auto_shutdown: AutoShutdown = "never",
        classify: Callable[[ExitReason], Verdict] | None = None,
    ) -> None:
        super().__init__()
        flags = Flags(strategy, intensity, period, auto_shutdown)
        specs = as_child_specs(children)
        self._children: Children[ActorRef[Any], ExitReason] = Children(
            flags, specs, shutdown=SHUTDOWN, killed=KILLED, classify=classify
        )
        self._staff = Staff(self.actor_ref)
        # Why the boot failed; and what became of the start somebody has asked for.
        self._failure: StartFailed | None = None
        self._wanted: list[Started | Ignore | StartFailed] | None = None
        self._born = self._now()

    def _now(self) -> float:
        return self.actor_ref._system.clock.now()

    # -- hooks

    def on_start(self) -> Awaitable[None] | None:
        """Start every child, in order."""
        pending = self._carry_out(self._children.start_all())
        if pending is None and self._failure is None:
            return None
        return self._finish_boot(pending)

    async def _finish_boot(self, pending: Awaitable[None] | None) -> None:
        if pending is not None:
            await pending
        if self._failure is not None:
            failure = self._failure
            stopping = self._carry_out(self._children.stop_all())
            if stopping is not None:
                await stopping
            raise failure

    def on_stop(self) -> Awaitable[None] | None:
        """Stop every child, in reverse order, each fully down before the next."""
        return self._carry_out(self._children.stop_all())

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> Awaitable[None] | None:
        """Stop every child likewise: ``classify`` raised, or a handler of a subclass."""
        del exception_type, exception_value, traceback
        return self.on_stop()

    def hurry(self) -> None:
        """Give up waiting for a child to start; called as soon as the end is asked for."""
        self._staff.hurry()

    def on_receive(self, message: Any) -> Any:
        """Serve exits, retries and admin calls."""
        self._staff.calm()
        if type(message) is Exit:
            if message.ref is None:
                return None
            return self._carry_out(self._children.exited(message.ref, message.reason, self._now()))
        if type(message) is _TryAgain:
            return self._carry_out(self._children.try_again(message.retry, self._now()))
        try:
            return self._admin(message)
        except (ChildError, InvalidSpec) as error:
            raise Refuse(error) from error

    def _admin(self, message: Any) -> Any:
        children = self._children
        match message:
            case handle.StartChild(spec):
                return self._start_wanted(children.add_child(spec))
            case handle.RestartChild(child_id):
                return self._start_wanted(children.restart_child(child_id))
            case handle.TerminateChild(child_id):
                return self._carry_out(children.terminate_child(child_id))
            case handle.DeleteChild(child_id):
                children.delete_child(child_id)
                return None
            case handle.WhichChildren():
                return children.rows()
            case handle.WhichChild(which):
                return self._row(which)
            case handle.GetChildSpec(which):
                return self._row(which).spec
            case handle.CountChildren():
                rows = children.rows()
                # One that died unnoticed, or a moment ago, has a ref and does not run.
                active = sum(row.ref is not None and row.ref._state != DEAD for row in rows)
                return replace(children.counts(), active=active)
            case _:
                return super().on_receive(message)

    def _row(self, which: Any) -> ChildRow[ActorRef[Any]]:
        row = self._children.row_of(which) if isinstance(which, ActorRef) else None
        return self._children.row(which) if row is None else row

    def _start_wanted(self, actions: _Actions) -> Any:
        """Carry out the start somebody has asked for, and tell what became of it.

        It is the first that is carried out; a restart that was waiting may follow.
        """
        result: list[Started | Ignore | StartFailed] = []
        self._wanted = result
        pending = self._carry_out(actions)
        if pending is None:
            return _result_of(result)

        async def wait() -> Any:
            await pending
            return _result_of(result)

        return wait()

    def describe_child(self, ref: ActorRef[Any]) -> tuple[Hashable, int]:
        """Return a child's id and how often it has been restarted, for reports about it.

        It takes the same time however many children there are. What is no child goes by the
        name of its class.
        """
        row = self._children.row_of(ref)
        if row is None and ref._state == STARTING:
            row = self._children.starting
        return (ref.actor_class.__name__, 0) if row is None else (row.spec.id, row.restarts)

    def child(self, child_id: Hashable) -> ActorRef[Any] | None:
        """Return the actor of a child, in constant time; None while it does not run.

        Raises:
            ChildNotFound: if there is no child of that id.
        """
        return self._children.row(child_id).ref

    def survey(self, id: Hashable) -> Tree:  # the field's name
        """Return a snapshot of this supervisor and all below it."""
        now = self._now()
        children = self._children
        flags = children.flags
        return Tree(
            id=id,
            ref=self.actor_ref,
            kind="supervisor",
            state=state_of(self.actor_ref),
            strategy=flags.strategy,
            intensity=flags.intensity,
            period=flags.period,
            restarts_in_window=sum(at >= now - flags.period for at in children.restarts),
            mailbox=self.actor_ref.mailbox_length,
            uptime=now - self._born,
            children=tuple(survey_row(row, now) for row in children.rows()),
        )

    # -- carrying out

    def _carry_out(self, actions: _Actions) -> Awaitable[None] | None:
        """Do what ``actions`` say; returns something to await only if a child takes its time."""
        waiting = self._advance(actions)
        return None if waiting is None else self._carry_on(waiting)

    async def _carry_on(self, waiting: Awaitable[_Actions] | None) -> None:
        # A loop and no recursion: there is a step for every child that is started or stopped.
        while waiting is not None:
            waiting = self._advance(await waiting)

    def _advance(self, actions: _Actions) -> Awaitable[_Actions] | None:
        """Do what ``actions`` say and what follows, up to a child that takes its time.

        Returns:
            What to await for the next actions, unless there is nothing left to do.
        """
        while actions:
            for action in actions:
                if type(action) is Report:
                    log_report(self.actor_ref, self._children.flags, action)
                elif type(action) is Retry:
                    self._schedule(action)
                elif type(action) is ShutdownSelf and action.why != "start_failed":
                    self.finish(action.reason)
            last = actions[-1]
            if type(last) is Start:
                try:
                    started = self._staff.start(last.spec)
                except StartFailed as failure:
                    actions = self._failed(failure)
                else:
                    if not isinstance(started, (Started, Ignore)):
                        return self._when_started(started)
                    actions = self._started(started)
            elif type(last) is Stop:
                reason = self._staff.stop(last.ref, last.spec.shutdown)
                if not isinstance(reason, ExitReason):
                    return self._when_stopped(reason)
                actions = self._children.stopped(reason)
            else:
                break
        return None

    async def _when_started(self, starting: Awaitable[Started | Ignore]) -> _Actions:
        try:
            started = await starting
        except StartFailed as failure:
            return self._failed(failure)
        return self._started(started)

    async def _when_stopped(self, stopping: Awaitable[ExitReason]) -> _Actions:
        return self._children.stopped(await stopping)

    def _started(self, started: Started | Ignore) -> _Actions:
        self._note(started)
        if isinstance(started, Ignore):
            return self._children.ignored()
        return self._children.started(started.ref, self._now())

    def _failed(self, failure: StartFailed) -> _Actions:
        self._note(failure)
        actions = self._children.failed(reason_of(failure))
        if any(type(action) is ShutdownSelf and action.why == "start_failed" for action in actions):
            self._failure = failure
        return actions

    def _note(self, outcome: Started | Ignore | StartFailed) -> None:
        if self._wanted is not None:
            self._wanted.append(outcome)
            self._wanted = None

    def _schedule(self, retry: Retry) -> None:
        delay = retry.delay(random.random())  # jitter, not a secret
        if delay:
            self.send_after(delay, _TryAgain(retry))
        else:
            # By way of the loop, so that a restart that keeps failing at once starves nobody.
            ref = self.actor_ref
            ref._system.loop.call_soon(ref._deliver, _TryAgain(retry))


def _result_of(result: list[Started | Ignore | StartFailed]) -> Any:
    match result:
        case [Started(_, answer)]:
            return answer
        case [StartFailed() as failure]:
            raise refusal_of(failure) from failure
        case _:
            return None
