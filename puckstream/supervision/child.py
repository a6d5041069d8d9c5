"""What a supervisor is told: child specs, back-off, and the supervisor's own flags.

Everything here is immutable and checked when it is made, so a wrong value fails in the caller,
not in the supervisor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from types import NoneType
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeGuard, cast

from puckstream.errors import InvalidSpec

__all__ = [
    "IGNORE",
    "AutoShutdown",
    "Backoff",
    "ChildSpec",
    "ChildType",
    "Flags",
    "Ignore",
    "Restart",
    "Shutdown",
    "Strategy",
    "as_child_spec",
    "as_child_specs",
    "check_child_specs",
    "child",
]

Restart: TypeAlias = Literal["permanent", "transient", "temporary"]
"""When a child that ended is started again: always, after a crash, never."""

Shutdown: TypeAlias = float | Literal["brutal_kill"] | None
"""Seconds a child gets to stop before it is killed; None waits for ever."""

ChildType: TypeAlias = Literal["worker", "supervisor"]

Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
"""Who is restarted with a child: nobody, all siblings, or those behind it in the list."""

AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]

_RESTARTS = ("permanent", "transient", "temporary")
_TYPES = ("worker", "supervisor")
_STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
_AUTO_SHUTDOWNS = ("never", "any_significant", "all_significant")


class Ignore(Enum):
    """The type of `IGNORE`."""

    IGNORE = "ignore"


IGNORE: Final = Ignore.IGNORE
"""Returned by a start function that decided to start nothing; this is no failure."""


class _Unset(Enum):
    """Stands for an option that was not given, where None is a value."""

    UNSET = "unset"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before each restart of a child: doubling, capped, with jitter.

    The waiting child shows as ``restarting``, and the attempt counts towards the restart
    intensity when it is made. With one_for_all and rest_for_one the whole restart waits, the
    stopping of the siblings included.

    Args:
        min: seconds before the first restart, above 0.
        max: the most seconds ever waited, at least ``min``.
        jitter: the share of a delay that is left to chance, from 0 to 1.
        reset_after: a child that ran this many seconds starts again at ``min``.

    Raises:
        InvalidSpec: a value is out of range.
    """

    min: float = 0.2
    max: float = 30.0
    jitter: float = 0.2
    reset_after: float = 60.0

    def __post_init__(self) -> None:
        if not _is_number(self.min) or self.min <= 0:
            _refuse("backoff.min", self.min, "give seconds above 0")
        if not _is_number(self.max) or self.max < self.min:
            _refuse("backoff.max", self.max, f"give at least min ({self.min}) seconds")
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            _refuse("backoff.jitter", self.jitter, "give a share from 0 to 1")
        if not _is_number(self.reset_after) or self.reset_after <= 0:
            _refuse("backoff.reset_after", self.reset_after, "give seconds above 0")

    def delay(self, attempt: int, random: float) -> float:
        """Return the seconds to wait before a restart. Pure.

        Args:
            attempt: how many restarts came before this one without a reset, from 0.
            random: chance, from 0 (the full delay) to 1 (the delay less its jitter).
        """
        try:
            delay = min(self.max, self.min * 2.0**attempt)
        except OverflowError:
            delay = self.max
        return delay * (1.0 - self.jitter * random)


@dataclass(frozen=True, slots=True)
class Flags:
    """A supervisor's own settings.

    Args:
        strategy: who is restarted with a child that ended.
        intensity: restarts allowed inside ``period``; one more stops the supervisor. 0 allows
            none.
        period: the window of the restart intensity, in seconds, above 0.
        auto_shutdown: whether the end of a significant child stops the supervisor: ``never``,
            that of any one, or that of the last one.

    Raises:
        InvalidSpec: a value is none of these; there is no infinity.
    """

    strategy: Strategy = "one_for_one"
    intensity: int = 3
    period: float = 5.0
    auto_shutdown: AutoShutdown = "never"

    def __post_init__(self) -> None:
        if self.strategy not in _STRATEGIES:
            _refuse_choice("strategy", self.strategy, _STRATEGIES)
        if not _is_count(self.intensity):
            _refuse("intensity", self.intensity, "give a whole number, 0 or more")
        if not _is_number(self.period) or self.period <= 0:
            _refuse("period", self.period, "give seconds above 0")
        if self.auto_shutdown not in _AUTO_SHUTDOWNS:
            _refuse_choice("auto_shutdown", self.auto_shutdown, _AUTO_SHUTDOWNS)


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How a supervisor starts, restarts and stops one child; usually made with `child`.

    ========== ========================= ==========================================
    restart    the child is restarted    after its end without restart the spec is
    ========== ========================= ==========================================
    permanent  whatever its exit reason  kept (only ``classify`` can refuse)
    transient  after a crash             kept, not running
    temporary  never                     gone
    ========== ========================= ==========================================

    A crash is any reason but normal, shutdown and shutdown with a term.

    Args:
        id: names the child within its supervisor; any hashable but None.
        start: an actor class, made as ``start(*args, **kwargs)``, or a start function, called
            as ``start(context, *args, **kwargs)``, sync or async, that returns a ref, a pair of
            ref and info, or `IGNORE`.
        args: positional arguments of ``start``.
        kwargs: keyword arguments of ``start``; copied, and not to be changed.
        restart: see the table.
        shutdown: seconds to stop before the child is killed, 0 or more; None waits for ever
            (what a supervisor needs); ``"brutal_kill"`` does not ask.
        type: whether the child is itself a supervisor.
        significant: whether its end counts for the supervisor's ``auto_shutdown``.
        name: a name to register the child under, any hashable; a `Via` for another registry.
        backoff: how to delay restarts; None restarts at once.
        start_timeout: seconds its start may take before it is killed, and has failed; None is
            without limit.

    Raises:
        InvalidSpec: a value is none of these.
    """

    id: Hashable
    start: Callable[..., Any]
    args: tuple[Any, ...] = field(default=(), hash=False)
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    restart: Restart = "permanent"
    shutdown: Shutdown = 5.0
    type: ChildType = "worker"
    significant: bool = False
    name: Hashable | None = None
    backoff: Backoff | None = None
    start_timeout: float | None = None

    def __post_init__(self) -> None:
        # Written out: a dynamic supervisor's spawn pays for each call made here.
        if type(self.id) is not str and (self.id is None or not _is_hashable(self.id)):
            _refuse("id", self.id, "give a hashable value, such as a string")
        if not callable(self.start):
            _refuse("start", self.start, "give an actor class or a start function")
        if type(self.args) is not tuple:
            _refuse("args", self.args, "give a tuple of positional arguments")
        if type(self.kwargs) is not dict and not _is_a(self.kwargs, Mapping):
            _refuse("kwargs", self.kwargs, "give a dict of keyword arguments")
        if self.restart not in _RESTARTS:
            _refuse_choice("restart", self.restart, _RESTARTS)
        if not _is_shutdown(self.shutdown):
            expected = "give seconds, 0 or more, None to wait for ever, or 'brutal_kill'"
            _refuse("shutdown", self.shutdown, expected)
        if self.type not in _TYPES:
            _refuse_choice("type", self.type, _TYPES)
        if not _is_bool(self.significant):
            _refuse("significant", self.significant, "give True or False")
        if self.name is not None and not _is_hashable(self.name):
            _refuse("name", self.name, "give a hashable value, such as a string")
        if self.backoff is not None and not _is_a(self.backoff, Backoff):
            _refuse("backoff", self.backoff, "give a Backoff or None")
        limit = self.start_timeout
        if limit is not None and not (_is_number(limit) and limit > 0):
            _refuse("start_timeout", limit, "give seconds above 0, or None")

    @property
    def is_class(self) -> bool:
        """True if ``start`` is a class to make, False if it is a function to call."""
        return isinstance(self.start, type)

    def forget_arguments(self, known: ChildSpec | None = None) -> ChildSpec:
        """Return this spec without ``args`` and ``kwargs``, for a child never started again.

        A spec that has none is returned as it is.

        Args:
            known: a spec forgotten earlier. If it is what would be returned, it is returned,
                so that many children of one kind share one object.
        """
        if not self.args and not self.kwargs:
            return self
        if known is not None and self._differs_only_in_arguments(known):
            return known
        return replace(self, args=(), kwargs={})

    def _differs_only_in_arguments(self, known: ChildSpec) -> bool:
        return (
            not known.args
            and not known.kwargs
            and self.start is known.start
            and self.id == known.id
            and self.name == known.name
            and self.restart == known.restart
            and self.shutdown == known.shutdown
            and self.type == known.type
            and self.significant == known.significant
            and self.backoff == known.backoff
            and self.start_timeout == known.start_timeout
        )


def child(
    start: Callable[..., Any],
    /,
    *args: Any,
    id: Hashable | None = None,
    restart: Restart | None = None,
    shutdown: Shutdown | _Unset = _Unset.UNSET,
    type: ChildType | None = None,  # noqa: A002  # the option's name
    significant: bool = False,
    name: Hashable | None = None,
    backoff: Backoff | None = None,
    start_timeout: float | None = None,
    **kwargs: Any,
) -> ChildSpec:
    """Return the spec of a child that is started as ``start(*args, **kwargs)``.

    What is not given comes from the class, if ``start`` has an attribute ``restart``,
    ``shutdown`` or ``child_type`` that is a plain value (a method of that name is none), and
    else from the defaults: a permanent worker that gets 5 seconds to stop, or a supervisor
    that gets all the time it needs. The id is the name of the class or function.

    A keyword argument of ``start`` that has the name of an option of this function must be
    bound with `functools.partial`.

    Raises:
        InvalidSpec: an option has a value that `ChildSpec` refuses.
    """
    if restart is None:
        restart = cast("Restart", _text_of(start, "restart", "permanent"))
    kind = _text_of(start, "child_type", "worker") if type is None else type
    if shutdown is _Unset.UNSET:
        shutdown = getattr(start, "shutdown", _Unset.UNSET)
        if isinstance(shutdown, bool) or not isinstance(shutdown, (int, float, str, NoneType)):
            shutdown = None if kind == "supervisor" else 5.0
    return ChildSpec(
        _name_of(start) if id is None else id,
        start,
        args,
        kwargs,
        restart,
        cast("Shutdown", shutdown),
        cast("ChildType", kind),
        significant,
        name,
        backoff,
        start_timeout,
    )


def as_child_spec(item: ChildSpec | Callable[..., Any]) -> ChildSpec:
    """Return the spec that ``item`` stands for in a list of children.

    A spec stands for itself, anything with a method ``child_spec()`` for what that returns,
    and any other class or function for ``child(item)``.

    Raises:
        InvalidSpec: ``item`` is none of these, or its ``child_spec()`` returns no `ChildSpec`.
    """
    if isinstance(item, ChildSpec):
        return item
    offered = getattr(item, "child_spec", None)
    if not callable(offered):
        return child(item)
    spec = offered()
    if not isinstance(spec, ChildSpec):
        _refuse("child_spec", spec, f"{item!r}.child_spec() must return a ChildSpec")
    return spec


def as_child_specs(children: Iterable[ChildSpec | Callable[..., Any]]) -> tuple[ChildSpec, ...]:
    """Return the specs that a list of children stands for, see `as_child_spec`.

    Raises:
        InvalidSpec: ``children`` is no list, or one of them is no child.
    """
    if not _is_a(children, Iterable):
        _refuse("children", children, "give a list of child specs")
    return tuple(as_child_spec(item) for item in children)


def check_child_specs(
    children: Iterable[ChildSpec | Callable[..., Any]],
    auto_shutdown: AutoShutdown | None = None,
) -> None:
    """Check that children can live together under one supervisor (OTP ``check_childspecs``).

    Nothing is started. The first error is raised, the one a `Supervisor` would raise.

    Args:
        children: what a supervisor would be given: specs, actor classes, or anything with
            ``child_spec()``.
        auto_shutdown: the supervisor's flag; None if it is not known, which leaves out the
            check against ``never``.

    Raises:
        InvalidSpec: ``children`` is no list or holds something that is no child, two have one
            id, one is significant where that cannot mean anything, or ``auto_shutdown`` is none
            of the flag's values.
    """
    if auto_shutdown is not None and auto_shutdown not in _AUTO_SHUTDOWNS:
        _refuse_choice("auto_shutdown", auto_shutdown, _AUTO_SHUTDOWNS)
    ids: set[Hashable] = set()
    for spec in as_child_specs(children):
        if spec.significant:
            _check_significant(spec, auto_shutdown)
        if spec.id in ids:
            expected = "two children have this id; give each its own with child(..., id=...)"
            _refuse("id", spec.id, expected)
        ids.add(spec.id)


def _check_significant(spec: ChildSpec, auto_shutdown: AutoShutdown | None) -> None:
    if auto_shutdown == "never":
        expected = (
            f"child {spec.id!r} is significant, but the supervisor has auto_shutdown='never'; "
            "give it 'any_significant' or 'all_significant'"
        )
        _refuse("significant", spec.significant, expected)
    if spec.restart == "permanent":
        expected = (
            f"child {spec.id!r} is permanent and so never ends for good; "
            "make it transient or temporary"
        )
        _refuse("significant", spec.significant, expected)


def _text_of(start: object, attribute: str, default: str) -> str:
    value = getattr(start, attribute, None)
    return value if isinstance(value, str) else default


def _name_of(start: object) -> str:
    while isinstance(start, partial):
        start = start.func
    name = getattr(start, "__name__", None)
    return name if isinstance(name, str) else start.__class__.__name__


def _refuse(option: str, value: object, expected: str) -> NoReturn:
    raise InvalidSpec(option, value, expected)


def _refuse_choice(option: str, value: object, choices: tuple[str, ...]) -> NoReturn:
    _refuse(option, value, f"choose one of {', '.join(map(repr, choices))}")


def _is_a(value: object, kind: type) -> bool:
    return isinstance(value, kind)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> TypeGuard[float]:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    # False for NaN, infinity, and an int too large to be added to a time.
    return abs(value) <= sys.float_info.max


def _is_shutdown(value: object) -> bool:
    return (_is_number(value) and value >= 0) or value is None or value == "brutal_kill"


def _is_hashable(value: object) -> bool:
    # isinstance(value, Hashable) says yes to a tuple that holds a list.
    try:
        hash(value)
    except TypeError:
        return False
    return True
