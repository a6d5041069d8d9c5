"""Whatever happens, in whatever order: a supervisor knows exactly the children that live."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from hypothesis import given, strategies as st

from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Custom, ExitReason
from puckstream.errors import ChildError
from puckstream.supervision.action import Actions, Retry, ShutdownSelf, Start, Stop
from puckstream.supervision.child import Flags, child
from puckstream.supervision.children import Children

IDS = "abcd"
CRASH = Custom("crash")


class Worker:
    """Stands for an actor class."""


class World:
    """Actors that die when chance says so, also while a start or a stop is under way."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        flags = Flags(
            self.draw(st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"])),
            intensity=self.draw(st.integers(0, 8)),
            auto_shutdown="all_significant",
        )
        restarts = st.sampled_from(["permanent", "transient", "temporary"])
        specs = [self.spec(child_id, self.draw(restarts)) for child_id in IDS]
        self.children: Children[str, ExitReason] = Children(
            flags, specs, shutdown=SHUTDOWN, killed=KILLED
        )
        self.alive: dict[str, Hashable] = {}
        self.retries: list[Retry] = []
        self.started = 0

    def spec(self, child_id: str, restart: Any) -> Any:
        significant = restart != "permanent" and self.draw(st.booleans())
        return child(Worker, id=child_id, restart=restart, significant=significant)

    def chance(self, one_in: int) -> bool:
        return self.draw(st.integers(1, one_in)) == one_in

    def kill_somebody(self) -> Actions[str, ExitReason]:
        ref = self.draw(st.sampled_from(sorted(self.alive)))
        del self.alive[ref]
        return self.children.exited(ref, self.draw(st.sampled_from([CRASH, NORMAL])), 0.0)

    def run(self, actions: Actions[str, ExitReason]) -> None:
        while actions:
            *before, last = actions
            assert not any(isinstance(action, (Start, Stop, ShutdownSelf)) for action in before)
            self.retries += [action for action in actions if isinstance(action, Retry)]
            actions = self.answer(last)
        assert not self.children.busy
        if not self.children.ended:
            running = {row.ref: row.spec.id for row in self.children.rows() if row.ref is not None}
            assert running == self.alive

    def answer(self, action: Any) -> Actions[str, ExitReason]:
        if not isinstance(action, (Start, Stop)):
            return ()
        assert self.children.busy
        while self.alive and self.chance(6):
            more = self.kill_somebody()
            if more or not self.children.busy:
                return more  # it was the one being stopped, and that was the answer
            if isinstance(action, Stop) and action.ref not in self.alive:
                return ()
        if isinstance(action, Stop):
            del self.alive[action.ref]
            return self.children.stopped(SHUTDOWN)
        assert action.spec.id not in self.alive.values()
        if self.chance(5):
            return self.children.failed(CRASH)
        if self.chance(8):
            return self.children.ignored()
        self.started += 1
        ref = f"{action.spec.id}{self.started}"
        self.alive[ref] = action.spec.id
        return self.children.started(ref, 0.0)

    def happen(self) -> None:
        """Let one thing happen, of those that can happen to an idle supervisor."""
        child_id = self.draw(st.sampled_from(IDS))
        match self.draw(st.sampled_from(["death", "retry", "stop", "start", "add", "delete"])):
            case "death" if self.alive:
                self.run(self.kill_somebody())
            case "retry" if self.retries:
                self.run(self.children.try_again(self.retries.pop(0), 0.0))
            case "stop":
                self.run(self.children.terminate_child(child_id))
            case "start":
                self.run(self.children.restart_child(child_id))
            case "add":
                self.run(self.children.add_child(self.spec(child_id, "transient")))
            case "delete":
                self.children.delete_child(child_id)
            case _:
                pass


@given(st.data())
def test_a_supervisor_knows_exactly_the_children_that_live(data: st.DataObject) -> None:
    """S14 to S39: none is started twice, none is forgotten, and at the end nobody is left."""
    world = World(data)
    world.run(world.children.start_all())
    for _ in range(data.draw(st.integers(0, 15))):
        if world.children.ended:
            break
        try:
            world.happen()
        except ChildError:
            assert not world.children.busy
    world.run(world.children.stop_all())
    assert not world.alive
    assert world.children.counts().active == 0
    assert {row.state for row in world.children.rows()} <= {"stopped"}
