from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from puckstream.errors import (
    ActorDead,
    ChildNotFound,
    InvalidOption,
    InvalidSpec,
    StartFailed,
)
from puckstream.node import Node
from puckstream.supervision.child import IGNORE, child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.partition import PartitionSupervisor
from puckstream.supervision.tasks import TaskSupervisor

Start = Callable[..., Any]


@pytest.fixture
def start(stage: Any) -> Start:
    """Start a partition supervisor of workers called 0, 1, …"""

    def named(args: tuple[Any, ...], partition: int) -> tuple[Any, ...]:
        return (*args[:-1], partition)

    async def start_partitions(partitions: int | None = 3, **options: Any) -> Any:
        spec = stage.worker("w", **options)
        return await stage.start(
            PartitionSupervisor,
            spec,
            partitions=partitions,
            with_arguments=named,
            intensity=100,
        )

    return start_partitions


async def test_every_partition_is_started_with_its_number_as_id(stage: Any, start: Start) -> None:
    """S74: which_children ids 0..N-1."""
    async with stage:
        supervisor = await start(3)
        assert stage.news() == ["start 0", "start 1", "start 2"]
        rows = await supervisor.which_children()
        assert [row.spec.id for row in rows] == [0, 1, 2]
        counts = await supervisor.count_children()
        assert (counts.specs, counts.active, supervisor.partitions) == (3, 3, 3)
        assert [supervisor.partition(number) for number in range(3)] == [row.ref for row in rows]


async def test_there_are_as_many_as_processors_by_default(stage: Any, start: Start) -> None:
    """S74: default schedulers."""
    async with stage:
        supervisor = await start(None)
        assert supervisor.partitions == os.cpu_count()


async def test_an_int_key_goes_to_its_remainder_and_others_to_their_hash(
    stage: Any, start: Start
) -> None:
    """S74: rem(abs(key), N), else a hash."""
    async with stage:
        supervisor = await start(3)
        assert [supervisor.index(key) for key in (0, 4, -4, 5, 3)] == [0, 1, 1, 2, 0]
        indexes = [supervisor.index(f"key-{number}") for number in range(50)]
        assert set(indexes) == {0, 1, 2}
        assert indexes == [supervisor.index(f"key-{number}") for number in range(50)]
        assert supervisor.partition("a") is supervisor.partition("a")
        assert supervisor.index(supervisor) == supervisor.id % 3
        with pytest.raises(InvalidOption, match="key"):
            supervisor.partition(object())


async def test_arguments_are_shared_unless_made_for_each_partition(stage: Any) -> None:
    """S74: with_arguments."""
    async with stage:
        spec = stage.worker("same")
        await stage.start(PartitionSupervisor, spec, partitions=2)
        assert stage.news() == ["start same", "start same"]
        with pytest.raises(StartFailed, match="with_arguments"):
            await stage.start(
                PartitionSupervisor, spec, partitions=2, with_arguments=lambda args, n: [*args, n]
            )


async def test_a_restarted_partition_is_found_again(stage: Any, start: Start) -> None:
    """S74, S24: the others stay."""
    async with stage:
        supervisor = await start(2)
        one, other = supervisor.partition(0), supervisor.partition(1)
        await stage.end(one)
        await stage.turns()
        assert supervisor.partition(0) is not one
        assert await supervisor.partition(0).call("hello") == "hello"
        assert supervisor.partition(1) is other


async def test_a_partition_that_does_not_run_is_not_found(stage: Any, start: Start) -> None:
    """S74, S46."""
    async with stage:
        supervisor = await start(2)
        await supervisor.terminate_child(1)
        with pytest.raises(ActorDead, match="partition 1"):
            supervisor.partition(1)
        await supervisor.restart_child(1)
        assert supervisor.partition(1).is_alive()
        await supervisor.stop(block=False)
        with pytest.raises(ActorDead):
            supervisor.partition(1)


async def test_resizing_keeps_the_specs_and_runs_as_many_as_asked_for(
    stage: Any, start: Start
) -> None:
    """S74: resize!(0..N) keeps specs = max, active = n."""
    async with stage:
        supervisor = await start(4)
        stage.news()
        kept = supervisor.partition(0)
        for size in (2, 2, 3, 1, 4, 0, 4):
            await supervisor.resize(size)
            counts = await supervisor.count_children()
            assert (counts.specs, counts.active, supervisor.partitions) == (4, size, size)
            if size:
                assert supervisor.index(7) == 7 % size
            if size == 2:
                assert supervisor.partition(0) is kept
        assert stage.news()[:3] == ["end 3 shutdown", "end 2 shutdown", "start 2"]


async def test_without_partitions_a_lookup_is_an_error(stage: Any, start: Start) -> None:
    """S74: 0 partitions ⇒ lookup raises."""
    async with stage:
        supervisor = await start(2)
        await supervisor.resize(0)
        for look_up in (supervisor.partition, supervisor.index):
            with pytest.raises(ChildNotFound, match="resize"):
                look_up("key")


async def test_a_size_out_of_range_is_refused_at_once(stage: Any, start: Start) -> None:
    """S74."""
    async with stage:
        supervisor = await start(2)
        for size in (-1, 3, 1.0, True):
            with pytest.raises(InvalidOption, match="partitions"):
                supervisor.resize(size)


async def test_a_partition_that_does_not_start_ends_the_resize(stage: Any, start: Start) -> None:
    """S74: those before it are in use."""
    async with stage:
        supervisor = await start(4)
        await supervisor.resize(1)
        stage.will(2, ValueError("no"))
        with pytest.raises(StartFailed, match="no"):
            await supervisor.resize(4)
        counts = await supervisor.count_children()
        assert (counts.specs, counts.active, supervisor.partitions) == (4, 2, 2)
        await supervisor.resize(4)
        assert supervisor.partition(3).is_alive()


async def test_start_functions_are_partitioned_too(stage: Any) -> None:
    """S74, S9."""

    async def with_info(context: Any, name: str) -> Any:
        return await context.spawn(DynamicSupervisor), name

    def ignoring(_context: Any) -> Any:
        return IGNORE

    async with stage:
        supervisor = await stage.start(PartitionSupervisor, child(with_info, "x"), partitions=2)
        assert supervisor.partition(1).is_alive()
        nobody = await stage.start(PartitionSupervisor, child(ignoring), partitions=2)
        with pytest.raises(ActorDead):
            nobody.partition(1)


async def test_a_partition_that_fails_at_the_start_fails_the_supervisor(
    stage: Any, start: Start
) -> None:
    """S11."""
    async with stage:
        stage.will(1, ValueError("no"))
        with pytest.raises(StartFailed, match="no"):
            await start(3)
        assert stage.news() == ["start 0", "fail 1", "end 0 shutdown"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"partitions": 0}, "partitions"),
        ({"partitions": 1.5}, "partitions"),
        ({"intensity": -1}, "intensity"),
        ({"item": child(DynamicSupervisor, name="x")}, "name"),
        ({"item": child(DynamicSupervisor, restart="temporary")}, "restart"),
        ({"item": 5}, "start"),
    ],
)
async def test_wrong_options_are_named(stage: Any, options: dict[str, Any], problem: str) -> None:
    """S4, S74."""
    async with stage:
        arguments: dict[str, Any] = {"item": child(DynamicSupervisor), **options}
        with pytest.raises(StartFailed) as caught:
            await stage.start(PartitionSupervisor, arguments.pop("item"), **arguments)
        assert isinstance(caught.value.__cause__, InvalidSpec)
        assert caught.value.__cause__.option == problem


async def test_it_is_found_by_name_and_its_partitions_by_key() -> None:
    """S74: name mandatory, where it may be restarted."""
    tasks = child(TaskSupervisor)
    spec = child(PartitionSupervisor, tasks, partitions=3, name="tasks")
    async with Node([spec]) as node:
        found: Any = node.whereis("tasks")
        task = await found.partition("ann").run(abs, -3)
        assert await task == 3
        found.kill()
        again: Any = await node.wait_registered("tasks")
        assert again is not found
        assert again.index("ann") == found.index("ann")
        assert again.partition("ann").is_alive()
