"""A conversation: its turns, its draft, and what it does with input while busy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from tests.streams.chats import said, talk, told
from tests.streams.upstream import WAIT, Upstream, busy

if TYPE_CHECKING:
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


# --------------------------------------------------------------------------------------- turns


async def test_a_prompt_and_its_answer_become_two_turns(stage: AnyStage) -> None:
    conversation, upstream = talk(("four",), ("nine",))
    async with puck.Node() as node:
        assert await conversation.start(node) is conversation
        stream = await conversation.submit("2 + 2?")
        assert (await stream.result()).text == "four"
        await stage.until(lambda: len(conversation.context) == 2)
        await (await conversation.submit("3 * 3?")).wait()
        await stage.until(lambda: len(conversation.context) == 4)
    assert said(conversation) == ["2 + 2?", "four", "3 * 3?", "nine"]
    assert [len(request.messages) for request in upstream.requests] == [1, 3]


async def test_it_goes_on_where_a_context_left_off(stage: AnyStage) -> None:
    context = puck.Context().user("hi").assistant("hello")
    conversation, upstream = talk(("fine",), context=context)
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("how are you?")).wait()
        await stage.settle()
    assert said(conversation) == ["hi", "hello", "how are you?", "fine"]
    assert len(upstream.requests[0].messages) == 3
    assert context == puck.Context().user("hi").assistant("hello")


async def test_tool_calls_are_part_of_the_turn(stage: AnyStage) -> None:
    call = puck.Chunk("tool_use", "{}", {"id": "c1", "name": "look", "index": 0})
    conversation, _ = talk((call,))
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("look")).wait()
        await stage.settle()
    turn = told(conversation)[-2]
    assert tuple(turn) == ("turn", 1, "assistant", None)
    assert turn.message["tool_calls"][0]["id"] == "c1"


async def test_only_what_is_new_travels(stage: AnyStage) -> None:
    conversation, _ = talk(("a", "b"), ("c",))
    async with puck.Node() as node:
        await conversation.start(node)
        first = await conversation.submit("one")
        await first.wait()
        await stage.settle()
        second = await conversation.submit("two")
        await second.wait()
        await stage.settle()
        events = told(conversation)
    assert [tuple(event) for event in events] == [
        ("answering", 0, "one", first.id),
        ("turn", 0, "user", "one"),
        ("turn", 1, "assistant", "ab"),
        ("answering", 2, "two", second.id),
        ("turn", 2, "user", "two"),
        ("turn", 3, "assistant", "c"),
    ]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]


async def test_several_conversations_go_on_at_once_on_one_node(stage: AnyStage) -> None:
    pairs = [talk((WAIT, f"answer {number}")) for number in range(20)]
    async with puck.Node() as node:
        for conversation, _ in pairs:
            await conversation.start(node)
            await conversation.submit(f"prompt {conversation.id}")
        for _, upstream in pairs:
            upstream.gate.open()
        await stage.until(lambda: all(len(one.context) == 2 for one, _ in pairs))
        rows = [row for row in node.tree().walk() if row.id == "conversations"]
        assert len(rows[0].children) == 20
    for number, (conversation, _) in enumerate(pairs):
        assert said(conversation) == [f"prompt {conversation.id}", f"answer {number}"]


# -------------------------------------------------------------------------- input while busy


async def test_reject_refuses_a_prompt_while_an_answer_is_written(stage: AnyStage) -> None:
    conversation, upstream = talk((WAIT, "one"))
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("first")
        with pytest.raises(puck.ConversationBusy, match=conversation.id) as refused:
            await conversation.submit("second")
        assert refused.value.conversation_id == conversation.id
        upstream.gate.open()
        await stream.wait()
        await stage.settle()
        assert said(conversation) == ["first", "one"]
    assert upstream.calls == 1


async def test_enqueue_answers_one_prompt_after_the_other(stage: AnyStage) -> None:
    conversation, upstream = talk((WAIT, "one"), ("two",), ("three",), when_busy="enqueue")
    async with puck.Node() as node:
        await conversation.start(node)
        replies = [conversation.submit(prompt) for prompt in ("first", "second", "third")]
        await stage.settle()
        assert [reply.done for reply in replies] == [True, False, False]
        assert (await conversation.snapshot()).waiting == 2
        upstream.gate.open()
        for reply in replies:
            await (await reply).wait()
        await stage.settle()
    assert said(conversation) == ["first", "one", "second", "two", "third", "three"]


async def test_no_more_prompts_wait_than_may(stage: AnyStage) -> None:
    conversation, _ = talk((WAIT,), when_busy="enqueue", max_waiting=1)
    async with puck.Node() as node:
        await conversation.start(node)
        await conversation.submit("first")
        waiting = conversation.submit("second")
        with pytest.raises(puck.ConversationBusy, match="1 prompts wait"):
            await conversation.submit("third")
        assert not waiting.done
    with pytest.raises(puck.ActorDead):
        await waiting


async def test_interrupt_stops_the_answer_and_keeps_what_was_read(stage: AnyStage) -> None:
    conversation, upstream = talk(("part", WAIT), ("other",), when_busy="interrupt")
    async with puck.Node() as node:
        await conversation.start(node)
        first = await conversation.submit("first")
        await stage.until(stage.reached(first, 2))
        second = await conversation.submit("second")
        end = await stage.ended(first)
        assert (end.kind, end.reason) == ("cancelled", "replaced")
        await second.wait()
        await stage.settle()
    assert said(conversation) == ["first", "part", "second", "other"]
    assert len(upstream.requests[1].messages) == 3


async def test_interrupting_again_drops_the_prompt_that_waited(stage: AnyStage) -> None:
    conversation, upstream = talk((WAIT, "answer"), when_busy="interrupt")
    async with puck.Node() as node:
        await conversation.start(node)
        replies = [conversation.submit(prompt) for prompt in ("a", "b", "c")]
        await stage.settle()
        upstream.gate.open()
        outcomes: list[Any] = []
        for reply in replies:
            try:
                outcomes.append((await (await reply).wait()).kind)
            except puck.StreamCancelled as dropped:
                outcomes.append(dropped.reason)
        await stage.settle()
    assert outcomes[-1] == "done"
    assert set(outcomes[:-1]) <= {"cancelled", "replaced"}
    assert said(conversation) == ["c", "answer"]
    assert upstream.calls <= 3


async def test_a_prompt_may_bring_its_own_policy(stage: AnyStage) -> None:
    conversation, _ = talk((WAIT,), ("answer",))
    async with puck.Node() as node:
        await conversation.start(node)
        await conversation.submit("first")
        await (await conversation.submit("second", when_busy="interrupt")).wait()
        await stage.settle()
    assert said(conversation) == ["second", "answer"]


# -------------------------------------------------------------------------------- stop and retry


async def test_stop_ends_the_answer_and_keeps_what_was_written(stage: AnyStage) -> None:
    conversation, _ = talk(("part", WAIT))
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("prompt")
        await stage.until(stage.reached(stream, 2))
        assert await conversation.stop() is True
        assert said(conversation) == ["prompt", "part"]
        assert await conversation.stop() is False
        events = told(conversation)
        assert tuple(events[-1]) == ("stopped", 0, "user", "part")


async def test_a_stopped_answer_is_not_kept_if_it_is_not_to_be(stage: AnyStage) -> None:
    conversation, _ = talk(("part", WAIT), keep_stopped=False)
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("prompt")
        await stage.until(stage.reached(stream, 2))
        await conversation.stop()
        assert said(conversation) == []
        assert tuple(told(conversation)[-1]) == ("stopped", 0, "user", "part")


async def test_stop_before_anything_was_written_leaves_the_turns_alone(stage: AnyStage) -> None:
    conversation, _ = talk((WAIT,))
    async with puck.Node() as node:
        await conversation.start(node)
        await conversation.submit("prompt")
        assert await conversation.stop()
        assert said(conversation) == []


async def test_stop_with_wait_returns_when_the_connection_is_closed(stage: AnyStage) -> None:
    closing = asyncio.Event()
    upstream = Upstream(("part", WAIT), closing=closing)
    conversation = puck.Conversation(puck.Client(upstream))
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("prompt")
        await stage.until(stage.reached(stream, 2))
        stopping = conversation.stop(wait=True)
        await stage.settle()
        assert said(conversation) == ["prompt", "part"]
        assert (stopping.done, upstream.open_now) == (False, 1)
        closing.set()
        await stopping
        assert upstream.open_now == 0


async def test_stop_drops_the_prompts_that_wait(stage: AnyStage) -> None:
    conversation, upstream = talk((WAIT,), when_busy="enqueue")
    async with puck.Node() as node:
        await conversation.start(node)
        await conversation.submit("first")
        waiting = conversation.submit("second")
        await conversation.stop()
        with pytest.raises(puck.StreamCancelled) as dropped:
            await waiting
        assert dropped.value.reason == "user"
        await stage.settle()
    assert upstream.calls <= 1


async def test_a_cancel_of_the_stream_itself_is_a_stop(stage: AnyStage) -> None:
    conversation, _ = talk(("part", WAIT))
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("prompt")
        await stage.until(stage.reached(stream, 2))
        await node.cancel(stream.id)
        await stage.settle()
        assert said(conversation) == ["prompt", "part"]


async def test_retry_puts_another_answer_in_the_place_of_the_last(stage: AnyStage) -> None:
    conversation, upstream = talk(("bad",), ("good",))
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        after = len(told(conversation))
        stream = await conversation.retry()
        await stream.wait()
        await stage.settle()
        events = told(conversation, after)
    assert said(conversation) == ["prompt", "good"]
    assert upstream.requests[0].messages == upstream.requests[1].messages
    assert [tuple(event) for event in events] == [
        ("answering", 0, "prompt", stream.id),
        ("cut", 1),
        ("turn", 1, "assistant", "good"),
    ]


async def test_an_answer_that_is_the_same_again_is_told_all_the_same(stage: AnyStage) -> None:
    conversation, _ = talk(("same",), ("same",))
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        await (await conversation.retry()).wait()
        await stage.settle()
        kinds = [event.kind for event in told(conversation)]
    assert kinds == ["answering", "turn", "turn", "answering", "cut", "turn"]


@pytest.mark.parametrize("how", ["fails", "stopped"])
async def test_a_retry_that_comes_to_nothing_leaves_the_old_answer(
    stage: AnyStage, how: str
) -> None:
    second = ("par", busy()) if how == "fails" else ("par", WAIT)
    conversation, _ = talk(("good",), second, ("better",))
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        stream = await conversation.retry()
        await stage.until(stage.reached(stream, 2))
        if how == "stopped":
            await conversation.stop()
        await stream.wait()
        await stage.settle()
        assert said(conversation) == ["prompt", "good"]
        await (await conversation.retry()).wait()
        await stage.settle()
    assert said(conversation) == ["prompt", "better"]


async def test_retry_after_a_failure_answers_the_prompt_that_failed(stage: AnyStage) -> None:
    conversation, _ = talk((busy(),), ("fine",))
    async with puck.Node() as node:
        await conversation.start(node)
        await (await conversation.submit("prompt")).wait()
        await stage.settle()
        await (await conversation.retry()).wait()
        await stage.settle()
    assert said(conversation) == ["prompt", "fine"]


async def test_retry_of_a_stopped_answer_takes_its_place(stage: AnyStage) -> None:
    conversation, _ = talk(("part", WAIT), ("whole",))
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("prompt")
        await stage.until(stage.reached(stream, 2))
        await conversation.stop()
        await (await conversation.retry()).wait()
        await stage.settle()
    assert said(conversation) == ["prompt", "whole"]


async def test_retry_that_interrupts_begins_the_same_prompt_again(stage: AnyStage) -> None:
    conversation, upstream = talk(("part", WAIT), ("whole",), when_busy="interrupt")
    async with puck.Node() as node:
        await conversation.start(node)
        stream = await conversation.submit("prompt")
        await stage.until(stage.reached(stream, 2))
        await (await conversation.retry()).wait()
        await stage.settle()
    assert said(conversation) == ["prompt", "whole"]
    assert upstream.requests[0].messages == upstream.requests[1].messages


async def test_there_is_nothing_to_retry_before_the_first_prompt() -> None:
    conversation, _ = talk(("a",))
    async with puck.Node() as node:
        await conversation.start(node)
        with pytest.raises(puck.NothingToRetry, match=conversation.id):
            await conversation.retry()


async def test_whoever_waits_for_it_to_be_idle_finds_the_answer_among_the_turns(
    stage: AnyStage,
) -> None:
    conversation, upstream = talk((WAIT, "one"), ("two",), when_busy="enqueue")
    async with puck.Node() as node:
        await conversation.start(node)
        assert len(await conversation.wait_idle()) == 0
        conversation.submit("first")
        conversation.submit("second")
        idle = conversation.wait_idle()
        await stage.settle()
        assert not idle.done
        upstream.gate.open()
        assert len(await idle) == 4
        await conversation.submit("third")
        idle = conversation.wait_idle()
        await conversation.close()
        assert idle.done
    assert len(await conversation.wait_idle()) >= 4


async def test_a_prompt_right_behind_the_end_of_an_answer_meets_nobody_busy() -> None:
    conversation, _ = talk(("one",), ("two",), ("three",))
    async with puck.Node() as node:
        await conversation.start(node)
        for prompt in ("1", "2", "3"):
            await (await conversation.submit(prompt)).result()
        await conversation.wait_idle()
    assert said(conversation) == ["1", "one", "2", "two", "3", "three"]
