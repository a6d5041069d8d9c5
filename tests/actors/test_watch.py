"""Seeing what goes in and out of an actor.

Covers S60.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.inspector import Inspector
from puckstream.actors.multicast import multicast
from puckstream.errors import CallTimeout

if TYPE_CHECKING:
    from puckstream.actors.watch import Event
    from tests.actors.conftest import Doer, Door, Engine

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def looked_at(e: Engine, kind: Any, *args: Any) -> tuple[Any, Inspector]:
    ref = await e.spawn(kind, *args)
    return ref, Inspector(ref)


def seen(events: tuple[Event, ...]) -> list[tuple[str, Any]]:
    return [(event.kind, event.message) for event in events]


async def test_statistics_count_what_comes_in_and_goes_out(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        await ref.call("not counted")
        assert await look.statistics() is None
        assert await look.statistics(True) is None
        for _ in range(3):
            ref.tell("told")
        await ref.call("asked")
        e.clock.advance(2.0)
        counts = await look.statistics()
        assert counts is not None
        assert (counts.messages_in, counts.messages_out) == (4, 1)
        assert counts.now - counts.started_at == 2.0
        assert await look.statistics(False) is not None
        assert await look.statistics() is None


async def test_the_log_keeps_the_last_events(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        assert await look.log(3) == ()
        ref.tell("forgotten")
        await ref.call("asked")
        ref.tell("told")
        kept = [("in", "asked"), ("out", "asked"), ("in", "told")]
        assert seen(await look.log()) == kept
        assert seen(await look.log(2)) == kept
        assert seen(await look.log(0)) == kept[1:]
        assert await look.log() == ()


async def test_an_answer_given_later_goes_out_when_it_is_given(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """S53."""
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        await look.log(10)

        def defer(actor: Any) -> None:
            actor.taken = actor.reply_to()

        reply = ref.call(defer)
        ref.tell("meanwhile")
        handle = (await look.state())["taken"]
        handle.answer("later")
        await reply
        assert seen(await look.log()) == [("in", defer), ("in", "meanwhile"), ("out", "later")]


async def test_an_exception_goes_out_and_a_timeout_does_not(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:

        class Lives(kind):  # type: ignore[misc, valid-type]  # the class of the fixture
            ask_errors = "reply"

        ref, look = await looked_at(e, Lives)
        await look.log(10)
        error = KeyError("no")
        with pytest.raises(KeyError):
            await ref.call(error)
        given_up = ref.call(door.hold, 1.0)
        await door.reached
        await e.clock.elapse(1.0)
        door.open()
        with pytest.raises(CallTimeout):
            await given_up
        assert seen(await look.log()) == [("in", error), ("out", error), ("in", door.hold)]


async def test_a_request_put_aside_is_seen_twice_and_answered_once(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:

        class Later(kind):  # type: ignore[misc, valid-type]  # the class of the fixture
            ready = False

            def on_receive(self, message: Any) -> Any:
                if message == "go":
                    self.ready = True
                    return self.unstash_all()
                return "done" if self.ready else self.stash(message)

        ref, look = await looked_at(e, Later)
        await look.log(10)
        reply = ref.call("work")
        await ref.call("go")
        await reply
        events = seen(await look.log())
        assert events.count(("in", "work")) == 2
        assert events.count(("out", "done")) == 1


async def test_a_debug_function_sees_everything_until_it_is_removed(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        events: list[Event] = []
        await look.install("mine", events.append)
        ref.tell("told")
        await ref.call("asked")
        assert await look.remove("mine") is True
        assert await look.remove("mine") is False
        await ref.call("not seen")
        assert seen(tuple(events)) == [("in", "told"), ("in", "asked"), ("out", "asked")]


async def test_a_debug_function_that_raises_is_removed_and_harms_nobody(
    engine: AnyEngine, kind: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        await look.install("bad", lambda _: 1 / 0)
        await look.install("worse", lambda _: sys.exit(3))
        await look.log(5)
        assert await ref.call("asked") == "asked"
        assert (await look.status()).observed == ("log",)
        assert seen(await look.log()) == [("in", "asked"), ("out", "asked")]
        assert "the debug function 'bad'" in caplog.text


async def test_a_trace_writes_a_line_for_each(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        lines: list[str] = []
        await look.trace(write=lines.append)
        await ref.call("asked")
        await look.trace(False)
        await ref.call("not seen")
        name = f"{kind.__name__}#{ref.id}"
        assert lines == [f"0.000 {name} in 'asked'", f"0.000 {name} out 'asked'"]


async def test_a_trace_is_printed_if_nothing_else_is_said(
    engine: AnyEngine, doer: AnyKind, capsys: pytest.CaptureFixture[str]
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, doer)
        await look.trace()
        ref.tell("told")
        await look.no_debug()
        assert capsys.readouterr().out.endswith("in 'told'\n")


async def test_no_debug_switches_all_of_it_off_and_leaves_no_cost(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        await look.statistics(True)
        await look.log(3)
        await look.trace(write=lambda _: None)
        assert ref._extra.watch is not None
        await look.no_debug()
        assert ref._extra.watch is None
        assert (await look.status()).observed == ()


async def test_a_message_handed_to_many_at_once_is_seen_as_well(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        watched, look = await looked_at(e, doer)
        refs = [await e.spawn(doer), watched, await e.spawn(doer)]
        await look.log(3)
        multicast(e.system, refs, "to all")
        assert seen(await look.log()) == [("in", "to all")]
        for ref in refs:
            assert await ref.call(lambda actor: list(actor.heard)) == ["to all"]


async def test_looking_on_does_not_touch_an_idle_timeout(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref, look = await looked_at(e, kind)
        await ref.call(lambda actor: actor.set_idle_timeout(5, "idle"), None)
        look.timeout = None
        await look.log(3)
        await look.no_debug()
        await e.clock.elapse(5)
        assert await look.state() == {"heard": ["idle"]}
