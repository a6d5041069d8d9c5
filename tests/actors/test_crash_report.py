"""Crash reports: one record for each crash, a traceback for each kind of crash."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.actors.crash_report import AGAIN, PLACES, SHOWN, CrashReports, brief
from puckstream.streams.events import chunk_event
from puckstream.testing.clock import VirtualClock

if TYPE_CHECKING:
    from tests.actors.conftest import Engine

    AnyEngine = type[Engine]
    AnyKind = type[puck.Actor]


class Fragile(puck.Actor):
    """Raises what it is sent, at one of two places."""

    def on_receive(self, message: Any) -> None:
        if isinstance(message, tuple):
            raise ValueError(*message)
        raise message


class Discreet(Fragile):
    """Keeps what it is sent out of the log."""

    def format_message(self, message: Any) -> str:
        return f"<{type(message).__name__}>"


class Clumsy(Fragile):
    """Cannot even say what it was doing."""

    def format_message(self, message: Any) -> str:
        raise RuntimeError(message)


def crashes(caplog: pytest.LogCaptureFixture) -> list[Any]:
    """Return the crash reports, as records whose fields are not declared."""
    return [r for r in caplog.records if r.levelno == logging.ERROR and hasattr(r, "repeats")]


async def test_a_crash_is_one_record_that_names_path_reason_message_and_restarts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tree = puck.child(puck.Supervisor, [puck.child(Fragile, id="worker", name="worker")], id="team")
    async with puck.Node([tree], clock=VirtualClock()) as node:
        first = node.whereis("worker")
        assert first is not None
        first.tell(ValueError("no"))
        await node.wait_registered("worker")
        await VirtualClock.settle()
        second = node.whereis("worker")
        assert second is not None
        assert second is not first
        second.tell(KeyError("other"))
        await VirtualClock.settle()
    one, two = crashes(caplog)
    assert one.path == "node/app/team/worker"
    assert one.actor == f"Fragile#{first.id}"
    assert one.reason == "crash: ValueError: no"
    assert one.last_message == "ValueError('no')"
    assert (one.restarts, two.restarts) == (0, 1)
    assert one.exc_info is not None
    assert isinstance(one.exc_info[1], ValueError)
    assert one.getMessage() == (
        f"Unhandled exception in node/app/team/worker (Fragile#{first.id}), "
        "handling ValueError('no'):"
    )
    assert "restarted 1×" in two.getMessage()


async def test_a_record_points_at_the_line_that_raised(
    engine: AnyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        (await e.spawn(Fragile)).tell(ValueError())
        await e.settle()
    (record,) = crashes(caplog)
    assert (record.pathname, record.funcName) == (__file__, "on_receive")
    frames = []
    traceback = record.exc_info[2]
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames == ["on_receive"], "the engine's own frames are left out"


async def test_a_crash_that_repeats_itself_is_a_line_without_the_traceback(
    engine: AnyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        for number in range(3):
            (await e.spawn(Fragile)).tell((f"no. {number}",))
            await e.settle()
    full, *repeats = crashes(caplog)
    assert full.exc_info is not None
    assert [record.repeats for record in (full, *repeats)] == [0, 1, 2]
    assert all(record.exc_info is None for record in repeats)
    assert repeats[1].getMessage().endswith("ValueError: no. 2 (2× since its traceback was logged)")


async def test_crashes_that_differ_in_class_error_cause_or_line_each_show_a_traceback(
    engine: AnyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    class Other(Fragile):
        pass

    caused = ValueError("caused")
    caused.__cause__ = OSError()
    async with engine() as e:
        for kind, message in (
            (Fragile, ValueError("a")),
            (Other, ValueError("a")),
            (Fragile, KeyError("a")),
            (Fragile, caused),
            (Fragile, ("a",)),
        ):
            (await e.spawn(kind)).tell(message)
            await e.settle()
    assert len(crashes(caplog)) == 5
    assert all(record.exc_info is not None for record in crashes(caplog))


async def test_a_crash_that_goes_on_for_long_shows_its_traceback_again(
    engine: AnyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        for seconds in (0.0, AGAIN - 0.5, 0.5, 0.5):
            e.clock.advance(seconds)
            (await e.spawn(Fragile)).tell(ValueError())
            await e.settle()
    assert [record.repeats for record in crashes(caplog)] == [0, 1, 0, 1]


async def test_the_memory_of_crashes_is_bounded_and_forgets_the_longest_ago(
    engine: AnyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        ref = await e.spawn(Fragile)
        reports = CrashReports(e.clock)
        errors = [type(f"Error{number}", (Exception,), {})() for number in range(PLACES + 1)]
        for error in errors:
            reports.report(ref, error)
        reports.report(ref, errors[-1])
        reports.report(ref, errors[0])
    assert [record.repeats for record in crashes(caplog)[-2:]] == [1, 0]


async def test_an_actor_decides_how_its_messages_are_shown(
    engine: AnyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        (await e.spawn(Discreet)).tell(ValueError("secret-free"))
        (await e.spawn(Clumsy)).tell(ValueError("secret-free"))
        await e.settle()
    discreet, clumsy = crashes(caplog)
    assert discreet.last_message == "<ValueError>"
    assert clumsy.last_message == "<ValueError; format_message raised RuntimeError>"


async def test_a_request_that_crashes_either_kind_of_actor_is_reported_like_a_message(
    engine: AnyEngine, kind: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        with pytest.raises(ValueError, match="no"):
            await ref.call(ValueError("no"))
        await ref.wait_stopped()
    (record,) = crashes(caplog)
    assert record.last_message == "ValueError('no')"


def test_the_text_of_a_stream_is_never_shown() -> None:
    event = chunk_event(puck.Chunk(content="secret"), 3)
    assert brief(("puck_stream", "s", event)) == "('puck_stream', 's', <content #3>)"
    assert brief([puck.Chunk(content="secret")]) == "[<content chunk>]"


def test_a_long_message_is_shortened() -> None:
    assert len(brief("x" * 1_000)) == SHOWN
    assert len(brief([["x" * 1_000] * 1_000] * 1_000)) == SHOWN
    assert brief(("tag", 1, {"key": None})) == "('tag', 1, {'key': None})"


async def test_nothing_is_formatted_when_nobody_reads_it(
    engine: AnyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "puckstream.actors")
    async with engine() as e:
        (await e.spawn(Clumsy)).tell(ValueError())
        await e.settle()
    assert crashes(caplog) == []


class Unspeakable(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError


class Broken(logging.Handler):
    """A handler of an application's that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError(record.levelname)


async def test_an_error_without_a_text_ends_its_actor_like_any_other(
    kind: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    async with puck.Node([puck.child(kind, id="w", name="w")], clock=VirtualClock()) as node:
        first = node.whereis("w")
        assert first is not None
        with pytest.raises(Unspeakable):
            await first.call(Unspeakable())
        assert (await first.wait_stopped()).expected is False
        assert await node.wait_registered("w") is not first
    assert "whose text raises RuntimeError" in crashes(caplog)[0].reason


async def test_a_start_that_fails_without_a_text_is_told_to_the_starter(
    engine: AnyEngine,
) -> None:
    class Never(puck.Actor):
        def on_start(self) -> None:
            raise Unspeakable

    class NeverLater(puck.Actor):
        async def on_start(self) -> None:
            raise Unspeakable

    async with engine() as e:
        for actor_class in (Never, NeverLater):
            with pytest.raises(puck.StartFailed, match="whose text raises"):
                await e.spawn(actor_class)
        assert e.system.actors == {}


async def test_a_log_handler_that_raises_disturbs_neither_the_end_nor_the_restart(
    kind: AnyKind, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Broken()
    logger = logging.getLogger("puckstream")
    logger.addHandler(broken)
    try:
        async with puck.Node([puck.child(kind, id="w", name="w")], clock=VirtualClock()) as node:
            first = node.whereis("w")
            assert first is not None
            first.tell(ValueError("no"))
            await first.wait_stopped()
            assert await node.wait_registered("w") is not first
    finally:
        logger.removeHandler(broken)
    assert "could not be logged: ERROR" in capsys.readouterr().err


async def test_a_message_whose_handler_has_suspended_is_in_the_report(
    engine: AnyEngine, doer: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(_actor: Any) -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async with engine() as e:
        for step in (
            lambda ref: ref.tell(fails),
            lambda ref: ref.tell(lambda actor: actor.continue_with(fails)),
            lambda ref: ref.ask(fails, block=False),
        ):
            ref = await e.spawn(doer)
            step(ref)
            await ref.wait_stopped()
    assert ["fails" in record.last_message for record in crashes(caplog)] == [True] * 3
