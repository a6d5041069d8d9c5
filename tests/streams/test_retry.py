"""Trying again: what is decided (pure), and that a stream carries it out (guarantee 6)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.streams.retry import Retry, Step, is_visible
from tests.streams.upstream import HEAD, WAIT, Upstream, busy

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]

BACKOFF = puck.Backoff(min=1.0, max=4.0, jitter=0.5)
ONE: Any = "server"
REFUSED = puck.StreamError("invalid_request", "no such model")


def steadily(attempts: int, **options: Any) -> Retry:
    """Return a policy that waits 1, 2, 4, 4, … seconds, with no jitter."""
    return Retry(attempts, backoff=BACKOFF, chance=lambda: 0.0, **options)


# -------------------------------------------------------------------------------- the decision


def decided(retry: Retry, error: puck.StreamError, **now: Any) -> Step | None:
    situation: dict[str, Any] = {"tried": 1, "clients_left": 0, "visible": False, "chance": 0.0}
    return retry.decide(error, **(situation | now))


def test_what_is_retryable_is_tried_again_until_the_attempts_are_used_up() -> None:
    retry = steadily(3)
    assert decided(retry, busy(), tried=1) == Step(1.0, next_client=False)
    assert decided(retry, busy(), tried=2) == Step(2.0, next_client=False)
    assert decided(retry, busy(), tried=3) is None
    assert decided(retry, REFUSED) is None


def test_the_kinds_of_on_are_retried_whatever_the_error_says_itself() -> None:
    retry = steadily(2, on={"auth", "crashed"})
    assert decided(retry, puck.StreamError("auth", "expired"))
    assert decided(retry, puck.StreamError("crashed", "odd"))
    assert decided(retry, busy()) is None


def test_the_delay_doubles_is_capped_and_leaves_a_share_to_chance() -> None:
    retry = steadily(10)
    delays = [decided(retry, busy(), tried=tried) for tried in range(1, 6)]
    assert [step.delay for step in delays if step] == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert decided(retry, busy(), tried=3, chance=1.0) == Step(2.0, next_client=False)


def test_an_upstream_is_never_asked_again_earlier_than_it_wants() -> None:
    retry = steadily(3, max_retry_after=10.0)
    assert decided(retry, busy(0.1)) == Step(1.0, next_client=False)
    assert decided(retry, busy(7.0)) == Step(7.0, next_client=False)
    assert decided(retry, busy(7.0), chance=1.0) == Step(7.5, next_client=False)
    assert decided(retry, busy(10.0)) == Step(10.0, next_client=False)
    # Longer than one is ready to wait: it is not tried again, and not earlier either.
    assert decided(retry, busy(10.5)) is None
    assert decided(retry, busy(10.5), clients_left=1) == Step(0.0, next_client=True)
    assert decided(retry, busy(math.inf)) is None


def test_nothing_is_tried_again_once_something_could_be_seen_unless_asked_for() -> None:
    assert decided(steadily(3), busy(), visible=True) is None
    assert decided(steadily(3), busy(), visible=True, clients_left=1) is None
    assert decided(steadily(3, after_first_token=True), busy(), visible=True)


@pytest.mark.parametrize("kind", ["connection", "rate_limit", "overloaded", "auth", "server"])
def test_what_another_client_may_not_meet_is_its_turn(kind: Any) -> None:
    error = puck.StreamError(kind, "no")
    assert decided(Retry.of(None), error, clients_left=1) == Step(0.0, next_client=True)


@pytest.mark.parametrize("kind", ["invalid_request", "content_filter", "killed", "node_down"])
def test_what_another_client_would_meet_too_is_the_end(kind: Any) -> None:
    assert decided(Retry.of(None), puck.StreamError(kind, "no"), clients_left=1) is None


def test_what_can_be_seen_is_any_chunk_but_empty_ones_and_the_last() -> None:
    assert is_visible(puck.Chunk("content", "x"))
    assert is_visible(puck.Chunk("thinking", "x"))
    assert is_visible(puck.Chunk("content", {"a": 1}))
    assert is_visible(puck.Chunk("tool_use", "", {"name": "f"}))
    assert not is_visible(puck.Chunk("content", ""))
    assert not is_visible(puck.Chunk("usage", None, {"usage": 3}))
    assert not is_visible(puck.Chunk("finish", "stop"))


WRONG: dict[str, Any] = {
    "no attempt": (lambda: Retry(0), "retry.attempts=0"),
    "half an attempt": (lambda: Retry(1.5), "retry.attempts=1.5"),  # type: ignore[arg-type]
    "a number for a backoff": (lambda: Retry(backoff=1.0), "retry.backoff=1.0"),  # type: ignore[arg-type]
    "an unknown kind": (lambda: Retry(on={"odd"}), "retry.on='odd'"),  # type: ignore[arg-type]
    "one kind alone": (lambda: Retry(on=ONE), "retry.on='server'"),
    "a kind that is the end": (lambda: Retry(on=["killed"]), "retry.on='killed'"),
    "a word for a choice": (
        lambda: Retry(after_first_token="yes"),  # type: ignore[arg-type]
        "retry.after_first_token='yes'",
    ),
    "a bound below zero": (lambda: Retry(max_retry_after=-1), "retry.max_retry_after=-1"),
    "no chance": (lambda: Retry(chance=0.5), "retry.chance=0.5"),  # type: ignore[arg-type]
    "True for a policy": (lambda: Retry.of(True), "retry=True"),
    "words for a policy": (lambda: Retry.of("often"), "retry='often'"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize(("make", "named"), WRONG.values(), ids=WRONG.keys())
def test_a_policy_that_cannot_be_is_refused_by_name(make: Any, named: str) -> None:
    with pytest.raises(puck.InvalidOption) as refused:
        make()
    assert named in str(refused.value)


def test_a_number_is_one_of_attempts() -> None:
    assert Retry.of(5).attempts == 5
    assert Retry.of(None).attempts == 1
    assert Retry.of(retry := Retry(2)) is retry


# ------------------------------------------------------------------------------- the execution


async def follow(stage: AnyStage, node: puck.Node, *args: Any, **options: Any) -> Any:
    stream = await node.start_stream(*args, **options)
    audience = stage.Audience(node, stream)
    await audience.gather()
    return stream, audience


async def test_6_a_failure_before_the_first_token_is_tried_again_after_its_delay(
    stage: AnyStage, clock: Clock
) -> None:
    upstream = Upstream((busy(), HEAD), (HEAD, busy()), ("well", "done"))
    async with puck.Node(clock=clock) as node:
        client = puck.Client(upstream)
        stream, audience = await follow(stage, node, client, "hello", retry=steadily(3))
        await clock.elapse(0.875)
        assert upstream.calls == 1
        assert all(seat.seen[-1].kind == "retrying" for seat in audience.seats)
        await clock.elapse(0.125)
        assert upstream.calls == 2
        await clock.elapse(1.875)
        assert upstream.calls == 2
        await clock.elapse(0.125)
        end = await audience.verdict()
        assert (end.kind, end.response.content) == ("done", "welldone")
        events = await stage.events(stream)
    kinds = [event.kind for event in events]
    again = ["started", "retrying"]
    assert kinds == [*again, *again, "started", "content", "content", "done"]
    assert [event.info.attempt for event in events[:5]] == [1, 2, 2, 3, 3]
    first, second = events[1].info, events[3].info
    assert (first.delay, first.reset, first.reason.kind) == (1.0, False, "overloaded")
    assert (second.delay, second.provider, second.model) == (2.0, "upstream", "upstream-1")
    assert upstream.open_now == 0


async def test_6_after_the_last_attempt_the_last_failure_is_the_end(
    stage: AnyStage, clock: Clock
) -> None:
    upstream = Upstream((busy(),), (busy(kind="rate_limit"),))
    async with puck.Node(clock=clock) as node:
        _, audience = await follow(stage, node, puck.Client(upstream), "hello", retry=steadily(2))
        await clock.elapse(100.0)
        end = await audience.verdict()
    assert (end.kind, end.reason.kind, upstream.calls) == ("error", "rate_limit", 2)


async def test_6_retry_after_is_waited_for(stage: AnyStage, clock: Clock) -> None:
    upstream = Upstream((busy(20.0),), ("well",))
    async with puck.Node(clock=clock) as node:
        _, audience = await follow(stage, node, puck.Client(upstream), "hello", retry=steadily(2))
        await clock.elapse(19.875)
        assert upstream.calls == 1
        await clock.elapse(0.125)
        assert (await audience.verdict()).kind == "done"


async def test_6_after_the_first_token_nothing_is_tried_again(
    stage: AnyStage, clock: Clock
) -> None:
    upstream = Upstream(("we", busy()), ("well",))
    other = Upstream(("well",))
    async with puck.Node(clock=clock) as node:
        _, audience = await follow(
            *(stage, node, puck.Client(upstream), "hello"),
            retry=steadily(3),
            fallback=[puck.Client(other)],
        )
        end = await audience.verdict()
        await clock.elapse(100.0)
    assert (end.kind, end.content, upstream.calls, other.calls) == ("error", "we", 1, 0)


async def test_6_asked_for_a_later_retry_is_announced_and_what_came_before_is_void(
    stage: AnyStage, clock: Clock
) -> None:
    thought = puck.Chunk("thinking", "hm", {"usage": puck.Usage(9, 9)})
    upstream = Upstream((thought, "we", busy()), ("well",))
    async with puck.Node(clock=clock) as node:
        stream, audience = await follow(
            *(stage, node, puck.Client(upstream), "hello"),
            retry=steadily(2, after_first_token=True),
        )
        assert (await stream.snapshot()).content == ""
        await clock.elapse(1.0)
        end = await audience.verdict()
        events = await stage.events(stream)
    assert [event.kind for event in events[3:6]] == ["retrying", "started", "content"]
    assert events[3].info.reset
    assert (end.response.content, end.response.thinking) == ("well", "")
    assert end.response.usage.estimated
    assert [turn["content"] for turn in end.context] == ["hello", "well"]


async def test_6_chunks_nobody_could_see_are_void_too(stage: AnyStage, clock: Clock) -> None:
    said = puck.Chunk("usage", None, {"usage": puck.Usage(9, None), "model": "first"})
    upstream = Upstream((said, busy()), ("well",))
    async with puck.Node(clock=clock) as node:
        stream, audience = await follow(
            stage, node, puck.Client(upstream), "hello", retry=steadily(2)
        )
        await clock.elapse(1.0)
        end = await audience.verdict()
        assert [
            event.info.reset for event in await stage.events(stream) if "ret" in event.kind
        ] == [True]
    assert "model" not in end.response.metadata


@pytest.mark.parametrize("moment", ["while it waits", "while it runs", "between"])
async def test_6_a_retry_never_runs_after_a_cancel(
    stage: AnyStage, clock: Clock, moment: str
) -> None:
    upstream = Upstream((WAIT, busy()), ("well",))
    async with puck.Node(clock=clock) as node:
        stream, audience = await follow(
            stage, node, puck.Client(upstream), "hello", retry=steadily(5)
        )
        if moment == "while it runs":
            await stage.settle()
            assert await stream.cancel(wait=True) == "cancelled"
        elif moment == "while it waits":
            upstream.gate.release()
            await clock.elapse(0.5)
            assert (await stream.snapshot()).seq == 2
            assert await stream.cancel(wait=True) == "cancelled"
        else:
            # The worker has failed, and its actor has not been told yet.
            upstream.gate.release()
            await stage.until(lambda: not upstream.open_now)
            assert await stream.cancel(wait=True) == "cancelled"
        upstream.gate.open()
        await clock.elapse(100.0)
        assert (await audience.verdict()).kind == "cancelled"
    assert upstream.calls == 1


@pytest.mark.parametrize("way", ["kill", "exit", "lose the supervisor", "shut down"])
async def test_6_a_stream_that_is_ended_while_it_waits_is_not_tried_again(
    stage: AnyStage, clock: Clock, way: str
) -> None:
    upstream = Upstream((busy(),), ("well",))
    async with puck.Node(clock=clock) as node:
        stream, audience = await follow(
            stage, node, puck.Client(upstream), "hello", retry=steadily(5)
        )
        await clock.elapse(0.5)
        if way == "kill":
            stage.owner(node, stream).kill()
        elif way == "exit":
            stage.owner(node, stream).exit("for a reason")
        elif way == "lose the supervisor":
            stage.kill(node, "streams")
            await stage.settle()
            stage.owner(node, stream).kill()
        else:
            await node.shutdown()
        end = await audience.verdict()
        clock.advance(100.0)
        await stage.settle()
    assert end.kind == ("cancelled" if way == "shut down" else "error")
    assert upstream.calls == 1


async def test_6_a_retry_survives_the_loss_of_its_supervisor_and_runs_once(
    stage: AnyStage, clock: Clock
) -> None:
    upstream = Upstream((busy(),), ("well",))
    async with puck.Node(clock=clock) as node:
        _, audience = await follow(stage, node, puck.Client(upstream), "hello", retry=steadily(5))
        stage.kill(node, "streams", "pubsub", "registry")
        await clock.elapse(10.0)
        assert (await audience.verdict()).kind == "done"
    assert upstream.calls == 2


async def test_a_function_is_tried_again_for_the_kinds_that_are_named(
    stage: AnyStage, clock: Clock
) -> None:
    runs: list[int] = []

    async def flaky(emit: Any) -> None:
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("odd")
        emit("well")

    async with puck.Node(clock=clock) as node:
        _, audience = await follow(stage, node, flaky, retry=steadily(3, on={"crashed"}))
        await clock.elapse(10.0)
        assert (await audience.verdict()).response.content == "well"


async def test_an_emit_of_an_attempt_that_failed_stops_whoever_calls_it(
    stage: AnyStage, clock: Clock
) -> None:
    emits: list[Any] = []

    async def leaky(emit: Any) -> None:
        emits.append(emit)
        if len(emits) < 2:
            raise busy()
        await feed.source(emit)

    feed = stage.Feed()
    async with puck.Node(clock=clock) as node:
        _, audience = await follow(stage, node, leaky, retry=steadily(2))
        await clock.elapse(1.0)
        try:
            emits[0]("of the first attempt")
        except BaseException as error:  # noqa: BLE001  # that it is no Exception is the point
            assert not isinstance(error, Exception)
        feed("well")
        feed.end()
        assert (await audience.verdict()).response.content == "well"


# ------------------------------------------------------------------------------------ fallback


async def test_the_next_client_has_its_turn_when_the_attempts_are_used_up(
    stage: AnyStage, clock: Clock
) -> None:
    first = Upstream((busy(),), provider="first")
    second = Upstream((puck.StreamError("auth", "expired"),), provider="second")
    third = Upstream((busy(),), ("well",), provider="third")
    async with puck.Node(clock=clock) as node:
        stream, audience = await follow(
            *(stage, node, puck.Client(first), "hello"),
            retry=steadily(2),
            fallback=[puck.Client(second), puck.Client(third)],
            temperature=0.5,
        )
        await clock.elapse(10.0)
        end = await audience.verdict()
        events = await stage.events(stream)
    assert end.response.content == "well"
    assert (first.calls, second.calls, third.calls) == (2, 1, 2)
    turns = [(event.info.provider, event.info.delay) for event in events if "ret" in event.kind]
    assert turns == [("first", 1.0), ("second", 0.0), ("third", 0.0), ("third", 1.0)]
    started = [event.info for event in events if event.kind == "started"]
    assert [info.attempt for info in started] == [1, 2, 3, 4, 5]
    assert [info.provider for info in started] == ["first", "first", "second", "third", "third"]
    assert third.requests[0].options == {"temperature": 0.5}


async def test_a_request_that_is_wrong_everywhere_is_not_handed_on(
    stage: AnyStage, clock: Clock
) -> None:
    first, second = Upstream((REFUSED,)), Upstream(("well",))
    async with puck.Node(clock=clock) as node:
        _, audience = await follow(
            stage, node, puck.Client(first), "hello", fallback=[puck.Client(second)]
        )
        end = await audience.verdict()
    assert (end.reason.kind, second.calls) == ("invalid_request", 0)


async def test_what_cannot_be_fallen_back_on_is_refused_by_name(clock: Clock) -> None:
    client = puck.Client(Upstream())
    wrong: Any
    async with puck.Node(clock=clock) as node:
        for wrong in (client, ["openai:gpt"], 5, "text"):
            with pytest.raises(puck.InvalidOption, match="fallback="):
                node.start_stream(client, "hello", fallback=wrong)
        with pytest.raises(puck.InvalidOption, match="fallback="):
            node.start_stream(lambda emit: None, fallback=[client])


# -------------------------------------------------------------------------------------- clocks


async def test_7_the_clocks_of_a_stream_that_is_tried_again(stage: AnyStage, clock: Clock) -> None:
    timeouts = {
        # Neither waits for the next attempt, nor begins anew with it.
        "timeout_first": (puck.Timeout(first=3.0), (busy(2.0),), (WAIT,), 3.0),
        "timeout_total": (puck.Timeout(total=3.0), (busy(2.0),), (WAIT,), 3.0),
        # The seconds between attempts are nobody's silence; those in a second attempt are.
        "timeout_idle": (puck.Timeout(idle=1.0), ("a", busy(2.0)), (WAIT,), 3.0),
    }
    for reason, (timeout, first, second, after) in timeouts.items():
        upstream = Upstream(first, second)
        async with puck.Node(clock=clock) as node:
            stream, audience = await follow(
                *(stage, node, puck.Client(upstream), "hello"),
                timeout=timeout,
                retry=steadily(2, after_first_token=True),
            )
            await clock.elapse(after - 0.125)
            assert not stream.ended, reason
            await clock.elapse(0.125)
            assert (await audience.verdict()).reason == reason
        assert (upstream.calls, upstream.open_now) == (2, 0)
