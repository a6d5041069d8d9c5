"""A reply is settled once, and every waiter sees it, on a loop or in a thread."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from typing import Any

import pykka
import pytest

from puckstream.actors.reply import Reply, get_all
from puckstream.errors import AlreadyAnswered, BlockingCall, CallTimeout

BROKEN = ValueError("broken")


def settled(value: Any) -> Reply[Any]:
    reply: Reply[Any] = Reply()
    reply.set(value)
    return reply


def failed(error: BaseException) -> Reply[Any]:
    reply: Reply[Any] = Reply()
    reply._reject(error)
    return reply


# -- settling


def test_a_reply_is_pending_until_it_is_set() -> None:
    reply: Reply[int] = Reply()
    before = reply.done, repr(reply)
    assert before == (False, "<Reply pending>")
    reply.set(5)
    assert reply.done
    assert repr(reply) == "<Reply done>"
    assert reply.get() == 5
    assert repr(failed(BROKEN)) == "<Reply failed>"


@pytest.mark.parametrize("again", ["set", "set_exception"])
def test_a_second_answer_is_refused_and_the_first_one_stays(again: str) -> None:
    reply = settled(1)
    argument = 2 if again == "set" else (ValueError, BROKEN, None)
    with pytest.raises(AlreadyAnswered):
        getattr(reply, again)(argument)
    assert reply.get() == 1


def test_the_engine_drops_a_late_answer_in_silence() -> None:
    reply = failed(BROKEN)
    assert not reply._resolve("late")
    assert not reply._reject(KeyError())
    with pytest.raises(ValueError, match="broken"):
        reply.get()


def test_set_exception_takes_the_exception_being_handled() -> None:
    reply: Reply[None] = Reply()
    try:
        raise BROKEN
    except ValueError:
        reply.set_exception()
    with pytest.raises(ValueError, match="broken"):
        reply.get()


def test_set_exception_without_an_exception_is_refused_and_changes_nothing() -> None:
    reply: Reply[None] = Reply()
    with pytest.raises(ValueError, match="needs exc_info"):
        reply.set_exception()
    assert not reply.done


def test_set_exception_with_only_a_class_makes_one() -> None:
    reply: Reply[None] = Reply()
    reply.set_exception((KeyError, None, None))
    with pytest.raises(KeyError):
        reply.get()


def test_every_waiter_sees_the_traceback_of_the_raising_side_and_no_more() -> None:
    def raising_side() -> None:
        msg = "broken"
        raise ValueError(msg)

    reply: Reply[None] = Reply()
    try:
        raising_side()
    except ValueError:
        reply.set_exception(sys.exc_info())
    lengths: set[int] = set()
    for _ in range(3):
        with pytest.raises(ValueError, match="broken") as caught:
            reply.get()
        frames = traceback.extract_tb(caught.value.__traceback__)
        assert frames[-1].name == "raising_side"
        lengths.add(len(frames))
    assert len(lengths) == 1


# -- threads


def test_get_waits_for_a_value_from_another_thread() -> None:
    reply: Reply[str] = Reply()
    got: list[str] = []
    waiters = [threading.Thread(target=lambda: got.append(reply.get())) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    reply.set("here")
    for waiter in waiters:
        waiter.join()
    assert got == ["here"] * 3


@pytest.mark.parametrize("timeout", [0, 0.001, -1])
def test_get_gives_up_after_its_timeout_and_the_value_may_still_come(timeout: float) -> None:
    reply: Reply[int] = Reply()
    with pytest.raises(CallTimeout) as caught:
        reply.get(timeout=timeout)
    assert isinstance(caught.value, pykka.Timeout)
    assert isinstance(caught.value, TimeoutError)
    reply.set(1)
    assert reply.get(timeout=0) == 1


async def test_get_refuses_to_block_a_thread_that_runs_a_loop() -> None:
    reply: Reply[int] = Reply()
    with pytest.raises(BlockingCall, match="await reply"):
        reply.get(timeout=1)
    reply.set(1)
    assert reply.get() == 1  # there is nothing to wait for


# -- loops


async def test_an_await_suspends_only_the_task_that_waits() -> None:
    reply: Reply[int] = Reply()
    waiting = asyncio.ensure_future(_await(reply))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    reply.set(7)
    assert await waiting == 7
    assert await reply == 7


async def test_an_await_raises_what_the_reply_failed_with() -> None:
    with pytest.raises(ValueError, match="broken"):
        await failed(BROKEN)


async def test_cancelling_one_waiter_disturbs_no_other() -> None:
    reply: Reply[int] = Reply()
    one, other = (asyncio.ensure_future(_await(reply)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await asyncio.wait([one])
    reply.set(3)
    assert one.cancelled()
    assert await other == 3


async def test_a_reply_that_stays_out_does_not_collect_cancelled_waiters() -> None:
    reply: Reply[int] = Reply()
    faithful = asyncio.ensure_future(_await(reply))
    for _ in range(100):
        waiting = asyncio.ensure_future(_await(reply))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    assert reply._waiters is not None
    assert len(reply._waiters) == 1
    reply.set(3)
    assert await faithful == 3


async def test_a_waiter_cancelled_in_the_same_turn_as_the_answer_is_cancelled() -> None:
    reply: Reply[int] = Reply()
    waiting = asyncio.ensure_future(_await(reply))
    await asyncio.sleep(0)
    waiting.cancel()
    reply.set(3)
    await asyncio.wait([waiting])
    assert waiting.cancelled()


async def test_one_reply_can_be_awaited_on_several_loops() -> None:
    reply: Reply[str] = Reply()
    waiting = threading.Barrier(3)

    def elsewhere() -> str:
        async def main() -> str:
            task = asyncio.ensure_future(_await(reply))
            await asyncio.sleep(0)
            waiting.wait(20)
            answer: str = await task
            return answer

        return asyncio.run(main())

    others = [asyncio.ensure_future(asyncio.to_thread(elsewhere)) for _ in range(2)]
    await asyncio.to_thread(waiting.wait, 20)
    reply.set("everywhere")
    assert await asyncio.gather(*others, _await(reply)) == ["everywhere"] * 3


def test_a_waiter_whose_loop_has_closed_does_not_disturb_the_answer() -> None:
    reply: Reply[int] = Reply()
    loop = asyncio.new_event_loop()
    task = loop.create_task(_await(reply))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    answering = threading.Thread(target=reply.set, args=(1,))
    answering.start()
    answering.join()
    assert reply.get() == 1
    with pytest.raises(RuntimeError, match="closed"):
        task.cancel()
    task._log_destroy_pending = False  # type: ignore[attr-defined]


async def _await(reply: Reply[Any]) -> Any:
    return await reply


# -- get hooks


def test_a_hook_produces_the_value_at_the_first_get_and_only_then() -> None:
    calls: list[float | None] = []
    reply: Reply[str] = Reply()

    def hook(timeout: float | None) -> str:
        calls.append(timeout)
        return "made"

    reply.set_get_hook(hook)
    assert not calls
    assert reply.get(timeout=3) == "made"
    assert reply.get() == "made"
    assert calls == [pytest.approx(3, abs=1)]


async def test_awaiting_a_reply_with_a_hook_does_not_block_the_loop() -> None:
    reply: Reply[int] = Reply()
    go = threading.Event()

    def hook(_timeout: float | None) -> int:
        assert go.wait(20)
        return 1

    reply.set_get_hook(hook)
    waiting = asyncio.ensure_future(_await(reply))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    assert await waiting == 1


def test_a_hook_is_refused_once_settled_and_refuses_other_values() -> None:
    with pytest.raises(AlreadyAnswered, match="never run"):
        settled(1).set_get_hook(lambda _timeout: 2)
    reply: Reply[int] = Reply()
    reply.set_get_hook(lambda _timeout: 2)
    with pytest.raises(AlreadyAnswered):
        reply.set(3)
    with pytest.raises(AlreadyAnswered):
        reply.set_exception((ValueError, BROKEN, None))
    assert reply.get() == 2


# -- derived replies


def test_map_filter_reduce_and_join_give_replies_of_what_they_compute() -> None:
    numbers: Reply[list[int]] = Reply()
    other: Reply[int] = Reply()
    mapped = numbers.map(len)
    filtered = numbers.filter(lambda number: number > 1)
    reduced = numbers.reduce(lambda left, right: left + right, 10)
    joined = numbers.join(other)
    assert not mapped.done
    numbers.set([1, 2, 3])
    assert mapped.get() == 3
    assert filtered.get() == [2, 3]
    assert reduced.get() == 16
    assert not joined.done
    other.set(4)
    assert joined.get() == [[1, 2, 3], 4]


@pytest.mark.parametrize("early", [True, False])
def test_what_a_derivation_raises_is_the_derived_reply(early: bool) -> None:
    reply: Reply[int] = settled(0) if early else Reply()
    derived = reply.map(lambda value: 1 // value)
    if not early:
        reply.set(0)
    with pytest.raises(ZeroDivisionError):
        derived.get()


async def test_a_derived_reply_of_a_failed_one_fails_alike() -> None:
    for derived in (failed(BROKEN).map(str), failed(BROKEN).join(settled(1))):
        with pytest.raises(ValueError, match="broken"):
            await derived


def test_joining_and_mapping_replies_with_hooks_passes_the_timeout_on() -> None:
    seen: list[float | None] = []
    reply: Reply[int] = Reply()

    def hook(timeout: float | None) -> int:
        seen.append(timeout)
        return 1

    reply.set_get_hook(hook)
    assert reply.map(lambda value: value + 1).get(timeout=9) == 2
    assert settled(5).join(reply).get(timeout=9) == [5, 1]
    assert seen == [pytest.approx(9, abs=1)]


def test_get_all_returns_the_values_in_order() -> None:
    assert get_all([settled(1), settled(2)], timeout=0) == [1, 2]


def test_get_all_gives_one_deadline_to_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("puckstream.actors.reply.time.monotonic", lambda: now[0])
    given: list[float | None] = []

    def slow(timeout: float | None) -> int:
        given.append(timeout)
        now[0] += 2.0
        return 1

    replies: list[Reply[int]] = []
    for _ in range(3):
        reply: Reply[int] = Reply()
        reply.set_get_hook(slow)
        replies.append(reply)
    assert get_all(replies, timeout=3.0) == [1, 1, 1]
    assert given == [3.0, 1.0, 0.0]


def test_get_all_raises_the_first_exception_in_order() -> None:
    with pytest.raises(ValueError, match="broken"):
        get_all([settled(1), failed(BROKEN), failed(KeyError())])


def test_a_get_that_has_timed_out_leaves_nothing_behind() -> None:
    reply: Reply[None] = Reply()
    for _ in range(3):
        with pytest.raises(CallTimeout):
            reply.get(timeout=0.0001)
    assert not reply._waiters
