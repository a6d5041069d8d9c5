"""`PartitionSupervisor`: one child as several, to which keys are spread (Elixir's of that name).

What a single actor would be too busy for is done by one partition each::

    carts = puck.child(puck.PartitionSupervisor, puck.child(Carts), partitions=8, name="carts")
    async with puck.Node([carts]) as node:
        await node.whereis("carts").partition(customer_id).call(("add", item))
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

from puckstream.actors._pykka import ActorDeadError
from puckstream.actors.actor import Actor
from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.errors import ChildNotFound, ChildRunning, InvalidOption, InvalidSpec, Refuse
from puckstream.supervision import handle
from puckstream.supervision.child import ChildSpec, as_child_spec
from puckstream.supervision.key import number_of
from puckstream.supervision.staff import StartContext
from puckstream.supervision.supervisor import Supervisor

__all__ = ["PartitionSupervisor", "PartitionSupervisorRef", "WithArguments"]

WithArguments = Callable[[tuple[Any, ...], int], tuple[Any, ...]]
"""Given the child's arguments and the number of a partition, returns that partition's."""


class _Resize(NamedTuple):
    """Request: run so many partitions."""

    partitions: int


class _Table:
    """The partitions as callers see them; written on the loop's thread, read from any."""

    def __init__(self, size: int) -> None:
        self.maximum = size
        self.size = size
        self.refs: dict[int, ActorRef[Any]] = {}


class PartitionSupervisorRef(handle.SupervisorRef):
    """The ref of a `PartitionSupervisor`: what callers find a key's partition with.

    Finding one is immediate, from any thread, and asks nobody. The ref is good for as long as the
    supervisor lives; give the supervisor a name where it may be restarted.
    """

    __slots__ = ("_table",)

    _table: _Table

    @property
    def partitions(self) -> int:
        """How many partitions keys are spread to now."""
        return self._table.size

    def index(self, key: Hashable) -> int:
        """Return the number of the partition of ``key``, which is the id of its child.

        An int belongs to ``abs(key) % partitions``. Any other key is hashed, to the same partition
        in every process and on every machine, as long as their number is the same.

        Args:
            key: an int, a str, bytes, a float, ``None``, an enum's member, a UUID, an actor's
                ref, or a tuple or frozenset of these.

        Raises:
            ChildNotFound: if there are no partitions, after ``resize(0)``.
            InvalidOption: if ``key`` is something else, which would not hash the same everywhere.
        """
        size = self._table.size
        if not size:
            raise ChildNotFound(key, "has no partition: there are 0, use resize(n) first")
        return number_of(key) % size

    def partition(self, key: Hashable) -> ActorRef[Any]:
        """Return the actor of the partition of ``key``; see `index`.

        Raises:
            ChildNotFound: if there are no partitions, after ``resize(0)``.
            ActorDead: if that partition is being restarted, or the supervisor has stopped.
            InvalidOption: if ``key`` cannot be spread, see `index`.
        """
        index = self.index(key)
        ref = self._table.refs.get(index)
        if ref is None or not ref.is_alive():
            msg = f"partition {index} of {self} is not running"
            raise ActorDeadError(msg)
        return ref

    def resize(self, partitions: int) -> Reply[None]:
        """Run ``partitions`` of them, from 0 to as many as there were at the start.

        Those beyond are stopped, the last one first; their specs are kept, and a later resize
        starts them again. Keys are spread anew, once the stopped ones are no longer found and
        before they are stopped, or when all new ones run.

        Raises (when awaited):
            StartFailed: if one did not start; those before it run and are in use.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``partitions`` is out of range.
        """
        maximum = self._table.maximum
        if type(partitions) is not int or not 0 <= partitions <= maximum:
            raise InvalidOption("partitions", partitions, f"a whole number from 0 to {maximum}")
        return self.call(_Resize(partitions), timeout=None)


class PartitionSupervisor(Supervisor):
    """Starts a child once per partition; their ids are 0, 1, 2 and so on.

    Args:
        item: a spec from ``child(…)``, an actor class, or anything with ``child_spec()``. It has
            neither a name, since partitions are found by key, nor ``restart="temporary"``, since
            each has to be there.
        partitions: how many, at least 1; as many as the machine has processors by default.
        with_arguments: what makes the arguments of one partition out of those of ``item``, e.g.
            ``lambda args, partition: (*args, partition)``.
        intensity: restarts allowed within ``period``, of all partitions together.
        period: the window, in seconds, above 0.

    Raises:
        InvalidSpec: if an option has an impossible value.
    """

    _ref_class: ClassVar[type[ActorRef[Any]]] = PartitionSupervisorRef

    def __init__(
        self,
        item: ChildSpec | Callable[..., Any],
        *,
        partitions: int | None = None,
        with_arguments: WithArguments | None = None,
        intensity: int = 3,
        period: float = 5.0,
    ) -> None:
        count = (os.cpu_count() or 1) if partitions is None else partitions
        if type(count) is not int or count < 1:
            raise InvalidSpec("partitions", partitions, "give a whole number, 1 or more, or None")
        spec = as_child_spec(item)
        if spec.name is not None:
            raise InvalidSpec("name", spec.name, "partitions are found by key; name the supervisor")
        if spec.restart == "temporary":
            raise InvalidSpec("restart", spec.restart, "every partition has to be there")
        self._table = _Table(count)
        specs = [_spec_of(self._table, spec, number, with_arguments) for number in range(count)]
        super().__init__(specs, intensity=intensity, period=period)
        self.actor_ref._table = self._table  # type: ignore[attr-defined]  # a PartitionSupervisorRef

    def on_receive(self, message: Any) -> Any:
        """Resize, or do what every supervisor does."""
        if type(message) is _Resize:
            return self._resize(message.partitions)
        return super().on_receive(message)

    async def _resize(self, size: int) -> None:
        before, table = self._table.size, self._table
        table.size = min(before, size)
        for number in range(before - 1, size - 1, -1):
            await self._order(handle.TerminateChild(number))
        for number in range(before, size):
            try:
                await self._order(handle.RestartChild(number))
            except Refuse as refusal:
                if not isinstance(refusal.error, ChildRunning):
                    table.size = number
                    raise
        table.size = size

    async def _order(self, message: handle.Admin) -> None:
        result = super().on_receive(message)
        if inspect.isawaitable(result):
            await result


def _spec_of(
    table: _Table, spec: ChildSpec, number: int, with_arguments: WithArguments | None
) -> ChildSpec:
    args = spec.args if with_arguments is None else with_arguments(spec.args, number)
    if not _is_a(args, tuple):
        raise InvalidSpec("with_arguments", args, "it must return a tuple of arguments")
    start = _Start(table, spec.start, number)
    return replace(spec, id=number, start=start, args=args)


class _Start:
    """The start function of one partition: starts the child, and enters it in the table."""

    __slots__ = ("_number", "_start", "_table")

    def __init__(self, table: _Table, start: Callable[..., Any], number: int) -> None:
        self._table = table
        self._start = start
        self._number = number

    async def __call__(self, context: StartContext, *args: Any, **kwargs: Any) -> Any:
        start: Any = self._start
        if isinstance(start, type) and issubclass(start, Actor):
            result: Any = await context.spawn(start, *args, **kwargs)
        else:
            result = start(context, *args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        # A start function may give a pair of ref and info, or IGNORE.
        ref: Any = result[0] if _is_a(result, tuple) else result
        if _is_a(ref, ActorRef):
            self._table.refs[self._number] = ref
        else:
            self._table.refs.pop(self._number, None)
        return result


def _is_a(value: object, kind: type) -> bool:
    return isinstance(value, kind)
