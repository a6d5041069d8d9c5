"""A pure model of supervision: the rules of docs/otp.md, written down a second time.

No actor, no loop, no clock: time is a number, an actor is a `Proc`, a supervisor's mailbox is a
queue that one loop empties. It imports nothing of puckstream, so that a rule which is wrong there
is not wrong here for the same reason. A rule that both have misread it cannot find.

Only one supervisor acts at a time, so what happens has one order, except where OTP leaves it
open: the ends of a dynamic supervisor's children are a `Bag`, and those of the orphans of a killed
supervisor are kept apart, in `Model.loose`.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

from tests.supervision.otp_procs import Bag, Entry, Proc, Slot, Sup, flat
from tests.supervision.otp_rules import (
    delay_of,
    is_last,
    is_reported,
    is_shutdown_error,
    key_of,
    verdict_on,
)
from tests.supervision.otp_spec import EXPECTED, Op, Spec

__all__ = ["Ambiguous", "Model"]


class Ambiguous(Exception):
    """Two supervisors would act at one time, and the order is nobody's business."""


class Model:
    """A tree of supervisors under ``spec``, and all that happens to it."""

    def __init__(self, spec: Spec, now: float) -> None:
        self.now = now
        self.busy_until = now
        self.journal: list[Any] = []
        self.loose: list[Entry] = []
        self.plans: defaultdict[str, deque[str]] = defaultdict(deque)
        self.numbers: Counter[str] = Counter()
        self.latest: dict[str, Proc] = {}
        self.timers: list[tuple[float, int, Sup, Slot]] = []
        self.dooms: list[tuple[float, int, Proc, str]] = []
        # Supervisors that are doing something now, and whether one of several courses is followed.
        self.engaged: list[Sup] = []
        self.aside = False
        self.results: list[Any] = []
        self.tokens = 0
        self.active: deque[Sup] = deque()
        started = self.start(spec, None)
        self.top = started if isinstance(started, Sup) else None

    # -- life and death

    def start(self, spec: Spec, boss: Sup | None) -> Proc | str:
        """Start a child, and return it, or *ignore* or *fail*. S8, S9."""
        self.numbers[spec.name] += 1
        number = self.numbers[spec.name]
        if spec.kind != "worker":
            return self.boot(Sup(spec, number, boss))
        plan = self.plans[spec.name]
        outcome = plan.popleft() if plan else "start"
        if outcome == "ignore" and "function" not in spec.start:
            outcome = "fail"
        self.journal.append((outcome, spec.name, number))
        if outcome != "start":
            return outcome
        proc = self.latest[spec.name] = Proc(spec, number, boss)
        return proc

    def boot(self, sup: Sup) -> Proc | str:
        """Start a supervisor: its children in order, or none of them. S8, S10, S11."""
        self.journal.append(("boot", *sup.key))
        for spec in sup.spec.children:
            outcome = self.start(spec, sup)
            if outcome == "fail":
                self.report("start_error", spec)
                sup.linked = False
                self.terminate(sup, "shutdown")
                return "fail"
            self.place(sup, Slot(spec), outcome)
        self.latest[sup.spec.name] = sup
        return sup

    def place(self, sup: Sup, slot: Slot, outcome: Proc | str) -> None:
        """Enter a child that was started for the first time, or ignored its start. S10."""
        if isinstance(outcome, Proc):
            slot.occupy(outcome, self.now)
        elif sup.dynamic or slot.spec.restart == "temporary":
            return
        sup.slots.append(slot)

    def report(self, kind: str, spec: Spec, proc: Proc | None = None) -> None:
        """A supervisor has something to say about a child. S16, S22, S33."""
        self.journal.append(("report", kind, spec.name, 0 if proc is None else proc.number))

    def end(self, proc: Proc, reason: str) -> None:
        """An actor is dead, and its supervisor is told if they are linked."""
        proc.alive, proc.reason = False, reason
        self.journal.append(("end", *proc.key, reason))
        boss = proc.boss
        if proc.linked and boss is not None:
            self.post(boss, self.exited, proc, reason)
        if isinstance(proc, Sup):
            for handler, arguments in proc.mailbox:
                if handler == self.request:
                    self.results[arguments[0]] = "ActorDeadError"
            proc.mailbox.clear()

    def kill(self, proc: Proc) -> None:
        """End an actor at once; what a supervisor leaves behind gets the signal. S31, S35."""
        self.end(proc, "killed")
        if isinstance(proc, Sup):
            for slot in proc.slots:
                child = slot.proc
                if child is not None and child.alive and child.linked:
                    self.orphan(child)

    def orphan(self, proc: Proc) -> None:
        """The supervisor of ``proc`` was killed: it ends in its own way, in its own time."""
        begin, journal, self.journal = self.now, self.journal, []
        aside, self.aside = self.aside, True
        proc.linked, proc.stopping = False, True
        if isinstance(proc, Sup):
            self.terminate(proc, "killed")
        else:
            self.leave(proc, "killed")
        self.loose += flat(self.journal)
        self.busy_until = max(self.busy_until, self.now)
        self.now, self.journal, self.aside = begin, journal, aside

    def leave(self, proc: Proc, reason: str) -> None:
        """A worker ends because of a signal: at once, or having run its hook. S33, S42."""
        if proc.spec.traps:
            self.wait(proc.spec.linger)
            if proc.spec.stumbles and reason in EXPECTED:
                reason = "crash"
        self.end(proc, reason)

    def stop(self, proc: Proc, shutdown: Any) -> None:
        """Stop a child as its spec says, and wait until it is down. S31, S32."""
        proc.linked = False
        if not proc.alive:
            return
        proc.stopping = True
        if shutdown == "brutal_kill":
            self.kill(proc)
        elif isinstance(proc, Sup):
            self.terminate(proc, "shutdown")
        elif shutdown is not None and proc.spec.traps and proc.spec.linger > shutdown:
            self.wait(shutdown)
            self.check_time(self.now)  # no time at all is long enough for what is due now
            self.end(proc, "killed")
        else:
            self.leave(proc, "shutdown")

    def terminate(self, sup: Sup, reason: str) -> None:
        """End a supervisor in order: all children first. S30."""
        sup.stopping = True
        self.engaged.append(sup)
        running = [slot for slot in sup.slots if slot.proc is not None]
        if sup.dynamic:
            self.stop_together(running, sup)
        else:
            for slot in reversed(running):
                self.stop_slot(slot, sup)
        self.engaged.remove(sup)
        self.end(sup, reason)

    def stop_together(self, slots: list[Slot], sup: Sup) -> None:
        begin, last, journal = self.now, self.now, self.journal
        aside, self.aside = self.aside, True
        together = Bag()
        for slot in slots:
            self.now, self.journal = begin, []
            self.stop_slot(slot, sup)
            last = max(last, self.now)
            together += flat(self.journal)
        self.now, self.journal, self.aside = last, journal, aside
        self.journal.append(together)

    def stop_slot(self, slot: Slot, sup: Sup) -> None:
        proc = slot.proc
        slot.vacate()
        if proc is not None:
            self.stop(proc, slot.spec.shutdown)
            if is_shutdown_error(sup, slot.spec, proc.reason):
                self.report("shutdown_error", slot.spec, proc)

    def wait(self, seconds: float) -> None:
        """Let time pass while somebody stops; others may end meanwhile."""
        if not seconds:
            return
        until = self.now + seconds
        while doomed := self.next_doom(until):
            self.now, _, proc, reason = doomed
            if self.aside or proc.boss not in self.engaged:
                raise Ambiguous
            self.end(proc, reason)
        self.now = until
        self.check_time(until)

    def next_doom(self, until: float) -> tuple[float, int, Proc, str] | None:
        """Take the next worker that ends by itself by then."""
        self.dooms = sorted(
            (doom for doom in self.dooms if doom[2].alive and not doom[2].stopping),
            key=lambda doom: doom[:2],
        )
        return self.dooms.pop(0) if self.dooms and self.dooms[0][0] <= until else None

    def check_time(self, until: float) -> None:
        if any(due <= until for due, *_ in self.pending()):
            raise Ambiguous

    # -- a child ended

    def exited(self, sup: Sup, proc: Proc, reason: str) -> None:
        """Decide what the end of a child means. S14, S15, S17, S36."""
        slot = next((slot for slot in sup.slots if slot.proc is proc), None)
        if slot is None:
            return
        slot.vacate()
        if is_reported(slot.spec, reason):
            self.report("child_terminated", slot.spec, proc)
        verdict = verdict_on(sup.spec, slot.spec, reason)
        if verdict == "restart":
            backoff = slot.spec.backoff
            if backoff is None:
                self.attempt(sup, slot)
                return
            if self.now - slot.started_at >= backoff.reset_after:
                slot.attempts = 0
            self.later(sup, slot)
        elif verdict == "escalate":
            self.drop(sup, slot)
            self.terminate(sup, reason)
        else:
            self.drop(sup, slot)
            if slot.spec.significant and is_last(sup):
                self.terminate(sup, "shutdown")

    @staticmethod
    def drop(sup: Sup, slot: Slot) -> None:
        slot.vacate()
        if sup.dynamic or slot.spec.restart == "temporary":
            sup.slots.remove(slot)

    def attempt(self, sup: Sup, slot: Slot) -> None:
        """Try to restart a child, and its group. S19, S20, S24 to S27."""
        sup.restarts = [at for at in sup.restarts if at >= self.now - sup.spec.period]
        sup.restarts.append(self.now)
        if len(sup.restarts) > sup.spec.intensity:
            self.report("reached_max_restart_intensity", slot.spec)
            self.drop(sup, slot)
            self.terminate(sup, "shutdown")
            return
        at = sup.slots.index(slot)
        first = {"one_for_one": at, "rest_for_one": at, "one_for_all": 0}[sup.spec.strategy]
        last = at + 1 if sup.spec.strategy == "one_for_one" else len(sup.slots)
        group = sup.slots[first:last]
        for member in reversed(group):
            self.stop_slot(member, sup)
        for member in group:
            if member is not slot and member.spec.restart == "temporary":
                sup.slots.remove(member)
        for member in [member for member in group if member in sup.slots]:
            outcome = self.start(member.spec, sup)
            if isinstance(outcome, Proc):
                member.occupy(outcome, self.now)
                member.restarts += 1
            elif outcome == "fail":
                self.report("start_error", member.spec)
                self.later(sup, member)
                return
            elif sup.dynamic:
                sup.slots.remove(member)

    def later(self, sup: Sup, slot: Slot) -> None:
        """Have another try, behind the requests that wait, or after the back-off. S21."""
        self.tokens += 1
        slot.restarting, slot.token = True, self.tokens
        backoff = slot.spec.backoff
        if backoff is None:
            self.post(sup, self.retry, slot, self.tokens)
        else:
            delay = delay_of(backoff, slot.attempts)
            slot.attempts += 1
            self.timers.append((self.now + delay, self.tokens, sup, slot))

    def retry(self, sup: Sup, slot: Slot, token: int) -> None:
        if slot in sup.slots and slot.token == token:
            slot.vacate()
            self.attempt(sup, slot)

    def pending(self) -> list[tuple[float, int, Sup, Slot]]:
        self.timers = [
            timer
            for timer in self.timers
            if timer[2].alive and timer[3] in timer[2].slots and timer[3].token == timer[1]
        ]
        return self.timers

    # -- requests

    def request(self, sup: Sup, index: int, name: str, argument: Any) -> None:
        self.results[index] = getattr(self, name)(sup, argument)

    def which_children(self, sup: Sup, _argument: None) -> Any:
        return sup.rows()

    def which_child(self, sup: Sup, which: Any) -> Any:
        slot = self.look_up(sup, which)
        return "ChildNotFound" if slot is None else sup.row(slot)

    def get_child_spec(self, sup: Sup, which: Any) -> Any:
        slot = self.look_up(sup, which)
        return "ChildNotFound" if slot is None else slot.spec.name

    @staticmethod
    def look_up(sup: Sup, which: Any) -> Slot | None:
        """Find a child by name (static) or key; dynamic: also by the key before its restart."""
        if isinstance(which, str):
            return sup.find(which)
        keys = [(key_of(slot), slot) for slot in sup.slots if sup.dynamic or slot.proc is not None]
        return next((slot for key, slot in keys if key == which), None)

    def count_children(self, sup: Sup, _argument: None) -> Any:
        return sup.counts()

    def start_child(self, sup: Sup, spec: Spec) -> Any:
        present = None if sup.dynamic else sup.find(spec.name)
        if present is not None:
            return "ChildPresent" if present.proc is None else "ChildRunning"
        limit = sup.spec.max_children
        if limit is not None and len(sup.slots) >= limit:
            return "TooManyChildren"
        outcome = self.start(spec, sup)
        if outcome == "fail":
            return "StartFailed"
        self.place(sup, Slot(spec), outcome)
        return outcome.key if isinstance(outcome, Proc) else None

    def restart_child(self, sup: Sup, name: str) -> Any:
        slot = sup.find(name)
        if slot is None:
            return "ChildNotFound"
        if slot.state != "stopped":
            return "ChildRestarting" if slot.restarting else "ChildRunning"
        slot.attempts = 0
        outcome = self.start(slot.spec, sup)
        if outcome == "fail":
            return "StartFailed"
        if isinstance(outcome, Proc):
            slot.occupy(outcome, self.now)
            return outcome.key
        return None

    def delete_child(self, sup: Sup, name: str) -> Any:
        slot = sup.find(name)
        if slot is None:
            return "ChildNotFound"
        if slot.state != "stopped":
            return "ChildRestarting" if slot.restarting else "ChildRunning"
        sup.slots.remove(slot)
        return None

    def terminate_child(self, sup: Sup, which: Any) -> Any:
        """Stop a child, by name (static) or key (dynamic); also one that is restarting. S34."""
        slot = self.look_up(sup, which)
        if slot is None:
            return "ChildNotFound"
        self.stop_slot(slot, sup)
        self.drop(sup, slot)
        return None

    # -- what happens

    def post(self, sup: Sup, handler: Callable[..., Any], *arguments: Any) -> None:
        if sup.alive:
            sup.mailbox.append((handler, arguments))
            self.active.append(sup)

    def happen(self, op: Op) -> None:
        """Let one thing happen; its consequences come with `run`."""
        match op:
            case ("plan", name, *outcomes):
                self.plans[name].extend(outcomes)
            case ("noise", _):
                pass
            case ("end", name, reason):
                proc = self.latest[name]
                if proc.alive and reason == "killed":
                    self.kill(proc)
                elif proc.alive:
                    self.end(proc, reason)
            case ("doom", name, delay, reason):
                self.tokens += 1
                self.dooms.append((self.now + delay, self.tokens, self.latest[name], reason))
            case ("signal", name, reason):
                self.signal(self.latest[name], reason)
            case ("unlink", name):
                self.latest[name].linked = False
            case ("ask", name, request, argument):
                self.results.append("ActorDeadError")
                index = len(self.results) - 1
                self.post(self.sup(name), self.request, index, request, argument)
            case ("stop", name, reason):
                self.post(self.sup(name), self.terminate, reason)
            case ("advance", seconds):
                self.advance(self.now + seconds)
            case _:
                raise ValueError(op)

    def signal(self, proc: Proc, reason: str) -> None:
        """Send an exit signal from outside, which counts as the parent of who has none. S42."""
        if not proc.alive or (reason == "normal" and not proc.spec.traps):
            return
        if not proc.spec.traps or not proc.linked:
            self.leave(proc, reason)

    def sup(self, name: str) -> Sup:
        sup = self.latest[name]
        assert isinstance(sup, Sup)
        return sup

    def run(self) -> None:
        """Let everything follow that does."""
        while self.active:
            sup = self.active.popleft()
            if sup.alive and sup.mailbox:
                handler, arguments = sup.mailbox.popleft()
                if sup.mailbox:
                    self.active.appendleft(sup)
                self.engaged = [sup]
                handler(sup, *arguments)
                self.engaged = []
        if self.busy_until > self.now:
            self.wait(self.busy_until - self.now)
        self.busy_until = self.now

    def advance(self, until: float) -> None:
        """Let time pass while everybody is idle."""
        self.run()
        while True:
            pending = sorted(self.pending(), key=lambda timer: timer[:2])[:1]
            doomed = self.next_doom(until)
            if doomed is not None and pending and pending[0][:2] < doomed[:2]:
                self.dooms.append(doomed)
                doomed = None
            if doomed is not None:
                self.now, _, proc, reason = doomed
                self.end(proc, reason)
            elif pending and pending[0][0] <= until:
                self.now, token, sup, slot = pending[0]
                self.timers.remove(pending[0])
                self.post(sup, self.retry, slot, token)
            else:
                break
            self.busy_until = self.now
            self.run()
        self.now = self.busy_until = max(self.now, until)

    def sups(self) -> list[Sup]:
        """Return the supervisors that live, a parent before its children."""
        found = [] if self.top is None or not self.top.alive else [self.top]
        for sup in found:
            procs = (slot.proc for slot in sup.slots)
            found += [proc for proc in procs if isinstance(proc, Sup) and proc.alive]
        return found
