"""Tasks of an actor whose function is not an ``async def``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from puckstream.actors.signals import TaskDone, TaskFailed

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Engine


async def test_a_task_may_await_what_is_no_coroutine_and_its_name_is_free_again(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref, other = await e.spawn(doer, heard), await e.spawn(doer)
        for _ in range(2):
            ref.tell(lambda actor: actor.start_task("asks", other.call, "hi"))
            await e.settle()
        assert heard == [TaskDone("asks", "hi")] * 2


async def test_a_task_whose_function_returns_nothing_to_await_fails(
    engine: type[Engine], doer: type[Doer]
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(doer, heard)
        ref.tell(lambda actor: actor.start_task("plain", lambda: 3))
        await e.settle()
        (failed,) = heard
        assert type(failed) is TaskFailed
        assert failed.name == "plain"
        assert isinstance(failed.error, TypeError)
