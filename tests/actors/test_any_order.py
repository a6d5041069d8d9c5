"""What holds whatever a crowd of actors is told, in whatever order: seeded, hundreds of stories."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.reply import Reply
from puckstream.actors.signals import Down, ExitReason, TaskDone, TaskFailed
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import ActorDead, StartFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Engine

STEPS = 150
CROWD = 8
REASONS = ("normal", "shutdown", "kill", "boom")


class Story:
    """What happens to a crowd, and what everybody in it was told."""

    def __init__(self, engine: Engine, seed: int, *, with_threads: bool) -> None:
        self.engine = engine
        self.kinds = (Member, Trapper, SlowStarter, *([ThreadMember] if with_threads else []))
        self.chance = random.Random(seed)
        self.refs: list[Any] = []
        self.replies: list[Reply[Any]] = []
        self.ends: Counter[int] = Counter()
        self.downs: Counter[int] = Counter()
        self.monitors: dict[int, tuple[Any, Any]] = {}  # by number: who watches, and whom
        self.taken_back: set[int] = set()
        self.early: list[str] = []

    def any(self) -> Any:
        return self.chance.choice(self.refs)

    # -- what an actor may be told to do

    def watch(self, actor: Any) -> None:
        other = self.any()
        self.monitors[actor.monitor(other)] = actor.actor_ref, other

    def unwatch(self, actor: Any) -> None:
        mine = [number for number, (ref, _) in self.monitors.items() if ref is actor.actor_ref]
        if mine:
            number = self.chance.choice(mine)
            if number not in self.downs:
                self.taken_back.add(number)
            actor.demonitor(number)

    def tie(self, actor: Any) -> None:
        other = self.any()
        try:
            actor.link(other)
        except ActorDead:
            assert not actor.trap_exit

    def untie(self, actor: Any) -> None:
        actor.unlink(self.any())

    def work(self, actor: Any) -> None:
        name = f"task {self.chance.random()}"
        fails = self.chance.random() < 0.3

        async def task() -> str:
            for _ in range(3):
                await asyncio.sleep(0)
            if fails:
                raise ZeroDivisionError
            return name

        actor.start_task(name, task)

    def suspend(self, actor: Any) -> Any:
        steps = self.chance.randrange(4)

        async def handler() -> str:
            for _ in range(steps):
                await asyncio.sleep(0)
            return "suspended"

        return None if isinstance(actor, ThreadActor) else handler()

    def end_self(self, actor: Any) -> None:
        actor.exit(self.chance.choice(REASONS))

    def finish(self, actor: Any) -> None:
        actor.finish(self.chance.choice(("normal", "boom")))

    def crash(self, actor: Any) -> None:
        raise ZeroDivisionError

    def chat(self, actor: Any) -> None:
        try:
            self.any().tell("hello")
        except ActorDead:
            return

    def remind(self, actor: Any) -> None:
        cancel = actor.send_after(self.chance.random(), "reminder")
        if self.chance.random() < 0.3:
            cancel()

    # -- what happens to it from outside

    def message(self) -> Callable[[Any], Any]:
        return self.chance.choice(
            (
                *[self.watch, self.tie, self.chat, self.suspend, self.remind, self.work] * 4,
                *[self.unwatch, self.untie] * 3,
                *[self.end_self, self.finish, self.crash],
            )
        )

    async def step(self) -> None:
        ref, chance = self.any(), self.chance
        match chance.randrange(12):
            case 0 | 1 | 2 | 3 if ref.is_alive():
                # A thread may end its actor at this moment.
                with contextlib.suppress(ActorDead):
                    ref.tell(self.message())
            case 4 | 5 | 6 | 7:
                self.replies.append(
                    ref.call(self.message(), timeout=None, control=chance.random() < 0.2)
                )
            case 8 if chance.random() < 0.3:
                ref.exit(chance.choice(REASONS))
            case 9 if chance.random() < 0.3:
                self.replies.append(ref.stop(block=False))
            case 10:
                self.engine.clock.advance(chance.random() / 2)
            case 11:
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
            case _:
                pass
        if sum(one.is_alive() for one in self.refs) < CROWD:
            await self.start()

    async def start(self) -> None:
        reply = self.engine.spawn(self.chance.choice(self.kinds), self)
        if self.chance.random() < 0.5:
            self.replies.append(reply)
        else:
            try:
                await reply
            except StartFailed:
                return

    # -- the end

    def check_who_was_told(self) -> None:
        """At rest: whoever watches an actor that has ended knows it, and nobody else does."""
        for number, (watcher, target) in self.monitors.items():
            if watcher.is_alive() and number not in self.taken_back:
                assert self.downs[number] == (0 if target.is_alive() else 1)
        for one in self.refs:
            for peer in (one._extra and one._extra.links) or ():
                assert one.is_alive()
                assert one in peer._extra.links

    async def finish_all(self) -> None:
        for ref in self.refs:
            ref.exit("kill" if self.chance.random() < 0.5 else "over")
            if self.chance.random() < 0.5:
                await asyncio.sleep(0)
        # Trappers only hear of it.
        for ref in self.refs:
            if ref.is_alive():
                ref.kill()
        for ref in self.refs:
            assert isinstance(await ref.wait_stopped(), ExitReason)

    def check(self) -> None:
        assert not self.early
        for reply in self.replies:
            assert reply.done
        for ref in self.refs:
            assert ref.state == "dead"
            assert ref._actor is None
            assert not ref.mailbox_length
            extra = ref._extra
            if extra is not None:
                leftovers = (extra.links, extra.monitors, extra.watching, extra.timers)
                assert not any(leftovers), leftovers
                assert ref._request is None
                assert not extra.started
                assert not extra.on_death
        assert all(count == 1 for count in self.downs.values()), self.downs
        assert not self.downs.keys() & self.taken_back
        assert all(count == 1 for count in self.ends.values()), self.ends


class Member(Actor):
    """Does what the story tells it, and reports what it is told by the engine."""

    def __init__(self, story: Story) -> None:
        super().__init__()
        self.story = story
        self.open = False
        story.refs.append(self.actor_ref)

    def on_start(self) -> Any:
        self.open = True

    def on_receive(self, message: Any) -> Any:
        if not self.open:
            self.story.early.append(f"{self} handled a message before it was started")
        if callable(message):
            return message(self)
        if isinstance(message, Down):
            self.story.downs[message.monitor] += 1
        elif isinstance(message, (TaskDone, TaskFailed)):
            assert self.open
        return message

    def on_stop(self) -> Any:
        self.story.ends[self.actor_ref.id] += 1

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> Any:
        self.story.ends[self.actor_ref.id] += 1


class Trapper(Member):
    trap_exit = True


class SlowStarter(Member):
    async def on_start(self) -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.open = True

    async def on_stop(self) -> None:
        await asyncio.sleep(0)
        self.story.ends[self.actor_ref.id] += 1


class ThreadMember(ThreadActor):
    def __init__(self, story: Story) -> None:
        super().__init__()
        self.story = story
        self.open = False
        story.refs.append(self.actor_ref)

    on_start: Any = Member.on_start
    on_receive: Any = Member.on_receive
    on_stop: Any = Member.on_stop
    on_failure: Any = Member.on_failure


@pytest.mark.parametrize("with_threads", [False, True])
@pytest.mark.parametrize("seed", range(0, 100, 20))
async def test_a_crowd_leaves_nothing_unanswered_and_nothing_behind(
    engine: type[Engine], caplog: pytest.LogCaptureFixture, seed: int, with_threads: bool
) -> None:
    caplog.set_level(logging.CRITICAL, "puckstream")
    for one in range(seed, seed + 20):
        try:
            async with engine() as e:
                await tell_story(e, Story(e, one, with_threads=with_threads))
        except AssertionError as error:
            error.add_note(f"seed {one}")
            raise


async def tell_story(e: Engine, story: Story) -> None:
    for _ in range(CROWD):
        await story.start()
    for _ in range(STEPS):
        await story.step()
    if ThreadMember not in story.kinds:
        await e.settle()
        story.check_who_was_told()
    await story.finish_all()
    for thread in tuple(e.system.threads):
        await asyncio.to_thread(thread.join)
    await e.settle()
    story.check()
    assert not e.system.zombies
    assert not e.system.actors
    assert e.system.depth == 0
