"""The children of a static supervisor, and every decision about them.

`Children` is a state machine without actors, clock or loop. An event goes in, a tuple of
actions comes out; the supervisor actor carries them out in order. Its rules:

- A tuple holds at most one `Start` or `Stop`, as its last item. Carry it out, answer with
  ``started``, ``ignored``, ``failed`` or ``stopped``, and go on with the tuple that returns.
- In between (``busy``) only ``exited`` and ``stop_all`` may be called. A death that comes while
  others are being stopped or started is kept and decided afterwards.
- After `ShutdownSelf` only ``stop_all`` and its answers have an effect.
- Children start in the order of the list and stop in reverse, one at a time. A restart keeps
  a child's place.
- A restart of one child costs the same however many siblings it has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from puckstream.errors import ChildNotFound, ChildPresent, ChildRestarting, ChildRunning
from puckstream.supervision.action import (
    Actions,
    Report,
    Retry,
    ShutdownCause,
    ShutdownSelf,
    Start,
    Stop,
)
from puckstream.supervision.child import ChildSpec, Flags, check_child_specs
from puckstream.supervision.intensity import add_restart
from puckstream.supervision.place import ChildRow, Counts, Place
from puckstream.supervision.plan import Plan, Purpose
from puckstream.supervision.strategy import (
    Classify,
    Reason,
    is_shutdown_error,
    is_worth_reporting,
    verdict_on,
)

__all__ = ["Children"]

RefT = TypeVar("RefT", bound=Hashable)
ReasonT = TypeVar("ReasonT", bound=Reason)


class Children(Generic[RefT, ReasonT]):
    """The ordered children of one supervisor. See the rules at the head of this file.

    Args:
        flags: the supervisor's settings.
        specs: the children, in start order; none is started yet.
        shutdown: the exit reason ``shutdown``.
        killed: the exit reason ``killed``.
        classify: asked before each restart; see `strategy.verdict_on`.

    Raises:
        InvalidSpec: the specs do not go together, see `child.check_child_specs`.
    """

    __slots__ = (
        "_by_ref",
        "_children",
        "_classify",
        "_deaths",
        "_ended",
        "_killed",
        "_plan",
        "_shutdown",
        "_significant",
        "_tokens",
        "flags",
        "restart_count",
        "restarts",
    )

    def __init__(
        self,
        flags: Flags,
        specs: Iterable[ChildSpec],
        *,
        shutdown: ReasonT,
        killed: ReasonT,
        classify: Classify[ReasonT] | None = None,
    ) -> None:
        specs = tuple(specs)
        check_child_specs(specs, flags.auto_shutdown)
        self.flags = flags
        self.restarts: tuple[float, ...] = ()
        """Times of the latest restart attempts, oldest first, as `intensity` keeps them."""
        self.restart_count = 0
        """Restart attempts so far; a group restart is one."""
        self._shutdown = shutdown
        self._killed = killed
        self._classify = classify
        self._children = {spec.id: Place[RefT, ReasonT](spec) for spec in specs}
        self._by_ref: dict[RefT, Place[RefT, ReasonT]] = {}
        self._plan: Plan[RefT, ReasonT] | None = None
        # Taken from the front; a dict would look at every one that was there before.
        self._deaths: OrderedDict[RefT, tuple[ReasonT, float]] = OrderedDict()
        # Significant children that may be left; one that is not is taken out when it is noticed.
        self._significant: OrderedDict[Hashable, Place[RefT, ReasonT]] = OrderedDict()
        self._ended = False
        self._tokens = 0

    # Events

    def start_all(self) -> Actions[RefT, ReasonT]:
        """Start every child in order; the first that fails ends in `ShutdownSelf`.

        Raises:
            RuntimeError: other work is under way.
        """
        return self._begin("boot", [], list(self._children.values()))

    def exited(self, ref: RefT, reason: ReasonT, now: float) -> Actions[RefT, ReasonT]:
        """Decide what follows from the end of ``ref``; nothing if it is no child.

        It may be called at any time. While ``ref`` is being stopped it is the same as
        ``stopped``.

        Args:
            ref: the actor that ended.
            reason: its exit reason.
            now: monotonic time in seconds.

        Raises:
            InvalidSpec: ``classify`` gave no verdict.
            Exception: whatever ``classify`` raises.
        """
        place = self._by_ref.get(ref)
        if place is None:
            return ()
        if self._plan is None and not self._ended:
            return self._died(place, ref, reason, now)
        if self._plan is not None and self._plan.current is place:
            return self.stopped(reason)
        self._deaths[ref] = (reason, now)
        return ()

    def try_again(self, retry: Retry, now: float) -> Actions[RefT, ReasonT]:
        """Make the attempt that ``retry`` stands for; nothing if it has been overtaken.

        Raises:
            RuntimeError: other work is under way.
        """
        place = self._children.get(retry.id)
        if place is None or place.token != retry.token or self._ended:
            return ()
        self._check_idle()
        return self._attempt(place, now)

    def add_child(self, spec: ChildSpec) -> Actions[RefT, ReasonT]:
        """Add a child behind the others and start it; it is dropped again if that fails.

        Raises:
            ChildRunning: a child of that id runs.
            ChildPresent: a child of that id is known and does not run.
            InvalidSpec: it is significant where that cannot mean anything.
            RuntimeError: other work is under way.
        """
        check_child_specs((spec,), self.flags.auto_shutdown)
        self._check_idle()
        known = self._children.get(spec.id)
        if known is not None:
            if known.state == "running":
                raise ChildRunning(spec.id, known.ref)
            problem = "is known but not running; restart it or delete it first"
            raise ChildPresent(spec.id, problem)
        place = Place[RefT, ReasonT](spec)
        self._children[spec.id] = place
        return self._begin("add", [], [place])

    def restart_child(self, child_id: Hashable) -> Actions[RefT, ReasonT]:
        """Start a child that does not run; if that fails it stays as it is.

        Raises:
            ChildNotFound: there is no child of that id.
            ChildRunning: it runs.
            ChildRestarting: it is between two attempts.
            RuntimeError: other work is under way.
        """
        self._check_idle()
        place = self._find_down(child_id)
        place.attempts = 0
        return self._begin("by_hand", [], [place])

    def terminate_child(self, child_id: Hashable) -> Actions[RefT, ReasonT]:
        """Stop a child, or give up restarting it; never a cause for restart or auto-shutdown.

        The spec is kept, a temporary child's is not. Nothing happens to one that is down.

        Raises:
            ChildNotFound: there is no child of that id.
            RuntimeError: other work is under way.
        """
        self._check_idle()
        return self._begin("terminate", [self._find(child_id)], [])

    def delete_child(self, child_id: Hashable) -> None:
        """Drop the spec of a child that does not run.

        Raises:
            ChildNotFound: there is no child of that id.
            ChildRunning: it runs.
            ChildRestarting: it is between two attempts.
            RuntimeError: other work is under way.
        """
        self._check_idle()
        self._find_down(child_id)
        self._forget(child_id)

    def stop_all(self) -> Actions[RefT, ReasonT]:
        """Stop every child in reverse order; nothing is started or restarted any more.

        Work under way is given up. A `Stop` in progress is asked for once more; what an
        unanswered `Start` brings up is for the caller to stop.
        """
        self._ended = True
        self._plan = Plan("stop_all", list(self._children.values()), [])
        return self._advance(self._plan)

    # Answers

    def started(self, ref: RefT, now: float) -> Actions[RefT, ReasonT]:
        """Answer a `Start`: the child runs as ``ref``, whose exit will be told from now on.

        Raises:
            RuntimeError: no `Start` is waiting for an answer.
        """
        plan, place = self._answered("started", to_stop=False)
        self._by_ref[ref] = place
        place.occupy(ref, now)
        self._watch(place)
        if plan.purpose == "restart":
            place.restarts += 1
        return self._advance(plan)

    def ignored(self) -> Actions[RefT, ReasonT]:
        """Answer a `Start`: the start function returned `IGNORE`; no failure, no retry.

        Raises:
            RuntimeError: no `Start` is waiting for an answer.
        """
        plan, place = self._answered("ignored", to_stop=False)
        self._put_down(place)
        return self._advance(plan)

    def failed(self, reason: ReasonT) -> Actions[RefT, ReasonT]:
        """Answer a `Start`: the child did not start, because of ``reason``.

        In a restart that makes a `Retry`; what was started along with it runs on until then.

        Raises:
            RuntimeError: no `Start` is waiting for an answer.
        """
        plan, place = self._answered("failed", to_stop=False)
        self._plan = None
        spec = place.spec
        if plan.purpose == "add":
            del self._children[spec.id]
            return self._settle()
        if plan.purpose == "by_hand":
            return self._settle()
        report: Report[RefT, ReasonT]
        report = Report("start_error", spec.id, None, reason, place.restarts)
        if plan.purpose == "boot":
            return (report, self._end("start_failed", spec.id, self._shutdown, reason))
        return (report, self._retry(place, reason), *self._settle())

    def stopped(self, reason: ReasonT) -> Actions[RefT, ReasonT]:
        """Answer a `Stop`: the child is down, and ended with ``reason``.

        Raises:
            RuntimeError: no `Stop` is waiting for an answer.
        """
        plan, place = self._answered("stopped", to_stop=True)
        reports = self._halted(place, reason)
        return (*reports, *self._advance(plan))

    # What there is to see

    @property
    def busy(self) -> bool:
        """True while a `Start` or a `Stop` waits for its answer."""
        return self._plan is not None

    @property
    def ended(self) -> bool:
        """True after `ShutdownSelf` or ``stop_all``."""
        return self._ended

    def counts(self) -> Counts:
        """Return how many children there are."""
        specs = len(self._children)
        supervisors = sum(c.spec.type == "supervisor" for c in self._children.values())
        return Counts(specs, len(self._by_ref), supervisors, specs - supervisors)

    def rows(self) -> tuple[ChildRow[RefT], ...]:
        """Return every child in start order."""
        return tuple(place.row() for place in self._children.values())

    def row(self, child_id: Hashable) -> ChildRow[RefT]:
        """Return one child.

        Raises:
            ChildNotFound: there is no child of that id.
        """
        return self._find(child_id).row()

    def row_of(self, ref: RefT) -> ChildRow[RefT] | None:
        """Return the child that runs as ``ref``, in constant time; None if it is none."""
        place = self._by_ref.get(ref)
        return None if place is None else place.row()

    @property
    def starting(self) -> ChildRow[RefT] | None:
        """The child whose `Start` waits for its answer."""
        place = None if self._plan is None else self._plan.current
        return None if place is None or place.ref is not None else place.row()

    # Decisions

    def _died(
        self, place: Place[RefT, ReasonT], ref: RefT, reason: ReasonT, now: float
    ) -> Actions[RefT, ReasonT]:
        spec = place.spec
        verdict = verdict_on(spec.restart, reason, self._classify)
        del self._by_ref[ref]
        place.vacate()
        reports: Actions[RefT, ReasonT] = ()
        if is_worth_reporting(spec.restart, reason):
            reports = (Report("child_terminated", spec.id, ref, reason, place.restarts),)
        if verdict == "restart":
            if spec.backoff is None:
                place.cause = reason
                return (*reports, *self._attempt(place, now))
            if now - place.started_at >= spec.backoff.reset_after:
                place.attempts = 0
            return (*reports, self._retry(place, reason))
        if spec.restart == "temporary":
            self._forget(spec.id)
        if verdict == "escalate":
            return (*reports, self._end("escalated", spec.id, reason, reason))
        if spec.significant and self._is_last_significant():
            return (*reports, self._end("auto_shutdown", spec.id, self._shutdown, reason))
        return reports

    def _attempt(self, place: Place[RefT, ReasonT], now: float) -> Actions[RefT, ReasonT]:
        flags = self.flags
        self.restarts, allowed = add_restart(self.restarts, now, flags.intensity, flags.period)
        if not allowed:
            cause, child_id = place.cause, place.spec.id
            self._put_down(place)
            return (
                Report("reached_max_restart_intensity", child_id, None, cause, place.restarts),
                self._end("restart_intensity", child_id, self._shutdown, cause),
            )
        self.restart_count += 1
        if flags.strategy == "one_for_one":
            return self._begin("restart", [], [place])
        group: list[Place[RefT, ReasonT]] = []
        for member in reversed(self._children.values()):
            group.append(member)
            if member is place and flags.strategy == "rest_for_one":
                break
        group.reverse()
        # Temporary ones are stopped and gone; whatever else is down comes back with the group.
        to_start = [member for member in group if member.spec.restart != "temporary"]
        return self._begin("restart", group, to_start)

    def _retry(self, place: Place[RefT, ReasonT], reason: ReasonT) -> Retry:
        self._tokens += 1
        place.vacate("restarting")
        place.cause = reason
        place.token = self._tokens
        retry = Retry(place.spec.id, place.attempts, place.spec.backoff, place.token)
        place.attempts += 1
        self._watch(place)
        return retry

    def _is_last_significant(self) -> bool:
        if self.flags.auto_shutdown == "any_significant":
            return True
        while self._significant:
            child_id, place = next(iter(self._significant.items()))
            if place.state != "stopped":
                return False
            del self._significant[child_id]
        return True

    def _watch(self, place: Place[RefT, ReasonT]) -> None:
        if place.spec.significant:
            self._significant[place.spec.id] = place

    def _end(
        self, why: ShutdownCause, child_id: Hashable, reason: ReasonT, cause: ReasonT | None
    ) -> ShutdownSelf[ReasonT]:
        self._ended = True
        return ShutdownSelf(why, child_id, reason, cause)

    # Plans

    def _begin(
        self,
        purpose: Purpose,
        to_stop: list[Place[RefT, ReasonT]],
        to_start: list[Place[RefT, ReasonT]],
    ) -> Actions[RefT, ReasonT]:
        self._check_idle()
        to_start.reverse()
        self._plan = Plan(purpose, to_stop, to_start)
        return self._advance(self._plan)

    def _advance(self, plan: Plan[RefT, ReasonT]) -> Actions[RefT, ReasonT]:
        reports: Actions[RefT, ReasonT] = ()
        while plan.to_stop:
            place = plan.to_stop.pop()
            ref = place.ref
            if ref is None:
                self._put_down(place)
            elif ref in self._deaths:
                reports += self._halted(place, self._deaths[ref][0])
            else:
                plan.current = place
                return (*reports, Stop(place.spec, ref))
        if plan.to_start:
            plan.current = place = plan.to_start.pop()
            return (*reports, Start(place.spec, again=plan.purpose == "restart"))
        self._plan = None
        return (*reports, *self._settle())

    def _settle(self) -> Actions[RefT, ReasonT]:
        actions: Actions[RefT, ReasonT] = ()
        while self._deaths and self._plan is None and not self._ended:
            ref, (reason, now) = self._deaths.popitem(last=False)
            actions += self._died(self._by_ref[ref], ref, reason, now)
        return actions

    def _halted(
        self, place: Place[RefT, ReasonT], reason: ReasonT
    ) -> tuple[Report[RefT, ReasonT], ...]:
        spec, ref = place.spec, place.ref
        self._put_down(place)
        asked = self._killed if spec.shutdown == "brutal_kill" else self._shutdown
        if not is_shutdown_error(spec.restart, reason, asked):
            return ()
        return (Report("shutdown_error", spec.id, ref, reason, place.restarts),)

    def _put_down(self, place: Place[RefT, ReasonT]) -> None:
        if place.ref is not None:
            del self._by_ref[place.ref]
            self._deaths.pop(place.ref, None)
        place.vacate()
        if place.spec.restart == "temporary":
            self._forget(place.spec.id)

    def _forget(self, child_id: Hashable) -> None:
        del self._children[child_id]
        self._significant.pop(child_id, None)

    # Checks

    def _answered(
        self, answer: str, *, to_stop: bool
    ) -> tuple[Plan[RefT, ReasonT], Place[RefT, ReasonT]]:
        plan = self._plan
        if plan is None or plan.current is None or (plan.current.ref is not None) != to_stop:
            msg = f"{answer}() answers nothing: no such action is under way"
            raise RuntimeError(msg)
        place = plan.current
        plan.current = None
        return plan, place

    def _check_idle(self) -> None:
        if self._plan is not None or self._ended:
            msg = "the supervisor is busy or has ended; answer its last action first"
            raise RuntimeError(msg)

    def _find(self, child_id: Hashable) -> Place[RefT, ReasonT]:
        place = self._children.get(child_id)
        if place is None:
            raise ChildNotFound(child_id, "is not known to this supervisor")
        return place

    def _find_down(self, child_id: Hashable) -> Place[RefT, ReasonT]:
        place = self._find(child_id)
        if place.state == "running":
            raise ChildRunning(child_id, place.ref)
        if place.state == "restarting":
            raise ChildRestarting(child_id, "is being restarted; terminate it first")
        return place
