"""What a supervisor's ref can do beyond any other: the admin calls.

Every call waits without limit, as in OTP: a supervisor that is starting a slow child answers
afterwards. None of them disturbs running children unless it says so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeGuard

from puckstream.actors.ref import ActorRef
from puckstream.actors.reply import Reply
from puckstream.errors import InvalidOption, InvalidSpec
from puckstream.supervision.child import ChildSpec, as_child_spec
from puckstream.supervision.place import ChildRow, Counts
from puckstream.supervision.staff import is_end
from puckstream.supervision.survey import survey
from puckstream.supervision.tree import Tree

__all__ = [
    "Admin",
    "CountChildren",
    "DeleteChild",
    "DynamicSupervisorRef",
    "GetChildSpec",
    "RestartChild",
    "StartChild",
    "SupervisorRef",
    "TerminateChild",
    "WhichChild",
    "WhichChildren",
]


class StartChild(NamedTuple):
    """Request: start a child of ``spec``."""

    spec: ChildSpec


class TerminateChild(NamedTuple):
    """Request: stop a child, by id (static) or ref (dynamic)."""

    child: Any


class RestartChild(NamedTuple):
    """Request: start a child that is down."""

    id: Hashable


class DeleteChild(NamedTuple):
    """Request: forget a child that is down."""

    id: Hashable


class WhichChild(NamedTuple):
    """Request: one child as it stands, by id (static) or ref."""

    child: Any


class GetChildSpec(NamedTuple):
    """Request: the spec of one child, by id (static) or ref."""

    child: Any


class WhichChildren(NamedTuple):
    """Request: the children, in start order."""


class CountChildren(NamedTuple):
    """Request: how many children there are."""


Admin = (
    StartChild
    | TerminateChild
    | RestartChild
    | DeleteChild
    | WhichChild
    | GetChildSpec
    | WhichChildren
    | CountChildren
)


class _AnySupervisorRef(ActorRef[Any]):
    """The calls both kinds of supervisor answer."""

    __slots__ = ()

    def _deliver(self, message: Any) -> bool:
        if is_end(message):
            # It may be waiting for a child that never starts, and would not look at its mailbox.
            actor = self._actor
            if actor is not None:
                actor.hurry()
        return super()._deliver(message)

    def start_child(self, item: ChildSpec | Callable[..., Any]) -> Reply[Any]:
        """Start a child and wait until its own start is done.

        Args:
            item: a spec from ``child(…)``, an actor class, or anything with ``child_spec()``.
                It is checked here, before the supervisor is asked.

        Returns:
            A reply with the child's ref, or what its start function returned: a pair of ref
            and info; ``None`` for `IGNORE`.

        Raises (when awaited):
            StartFailed: if it did not start; the supervisor keeps nothing of it.
            NameTaken: if it did not start because its name belongs to another live actor, the
                error's ``holder``.
            ChildRunning: static: a child of that id runs.
            ChildPresent: static: a child of that id is known and does not run.
            TooManyChildren: dynamic: ``max_children`` is reached.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidSpec: if ``item`` is no child spec.
        """
        return self.call(StartChild(as_child_spec(item)), timeout=None)

    def count_children(self) -> Reply[Counts]:
        """Return how many children there are: all specs, running ones, and either type.

        Raises (when awaited):
            ActorDead: if the supervisor has stopped.
        """
        return self.call(CountChildren(), timeout=None)

    def tree(self) -> Reply[Tree]:
        """Return an immutable snapshot of the supervisor and everything below it.

        It is read without a message, so that a busy supervisor shows as well as an idle one.

        Raises (when awaited):
            ActorDead: if the supervisor has stopped.
        """
        return self._system.perform(self._survey)

    def _survey(self) -> Tree:
        if not self.is_alive():
            raise self._dead()
        return survey(self, self.actor_class.__name__)

    def which_children(self) -> Reply[tuple[ChildRow[ActorRef[Any]], ...]]:
        """Return the children in start order, as `ChildRow`.

        Raises (when awaited):
            ActorDead: if the supervisor has stopped.
        """
        return self.call(WhichChildren(), timeout=None)


class SupervisorRef(_AnySupervisorRef):
    """The ref of a `Supervisor`."""

    __slots__ = ()

    def terminate_child(self, child_id: Hashable) -> Reply[None]:
        """Stop a child, or give up restarting it; it is not restarted.

        The spec is kept, except that of a temporary child. One that is down stays down.

        Raises (when awaited):
            ChildNotFound: if there is no child of that id.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``child_id`` is not hashable, and so nobody's.
        """
        return self.call(TerminateChild(_id(child_id)), timeout=None)

    def restart_child(self, child_id: Hashable) -> Reply[Any]:
        """Start a child that does not run.

        Returns:
            What `start_child` returns.

        Raises (when awaited):
            ChildNotFound: if there is no child of that id.
            ChildRunning: if it runs.
            ChildRestarting: if it is between two attempts to start.
            StartFailed: if it did not start; it stays as it was.
            NameTaken: if it did not start because its name belongs to another live actor.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``child_id`` is not hashable, and so nobody's.
        """
        return self.call(RestartChild(_id(child_id)), timeout=None)

    def delete_child(self, child_id: Hashable) -> Reply[None]:
        """Forget a child that does not run.

        Raises (when awaited):
            ChildNotFound: if there is no child of that id.
            ChildRunning: if it runs.
            ChildRestarting: if it is between two attempts to start.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``child_id`` is not hashable, and so nobody's.
        """
        return self.call(DeleteChild(_id(child_id)), timeout=None)

    def which_child(self, child: Hashable) -> Reply[ChildRow[ActorRef[Any]]]:
        """Return one child as `which_children` shows it.

        Args:
            child: its id, or the ref it runs as.

        Raises (when awaited):
            ChildNotFound: if there is no such child.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``child`` is not hashable, and so nobody's id.
        """
        return self.call(WhichChild(_id(child)), timeout=None)

    def get_child_spec(self, child: Hashable) -> Reply[ChildSpec]:
        """Return the spec of one child, its defaults filled in.

        That of a temporary child that runs has no arguments: they are not kept.

        Args:
            child: its id, or the ref it runs as.

        Raises (when awaited):
            ChildNotFound: if there is no such child.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``child`` is not hashable, and so nobody's id.
        """
        return self.call(GetChildSpec(_id(child)), timeout=None)


class DynamicSupervisorRef(_AnySupervisorRef):
    """The ref of a `DynamicSupervisor`."""

    __slots__ = ()

    def start_child(self, item: ChildSpec | Callable[..., Any]) -> Reply[Any]:
        """Start a child; see `SupervisorRef.start_child`.

        Raises (at once):
            InvalidSpec: if ``item`` is no child spec, or is significant, which means nothing here.
        """
        spec = as_child_spec(item)
        if spec.significant:
            expected = "the end of a child never ends a dynamic supervisor"
            raise InvalidSpec("significant", spec.significant, expected)
        return self.call(StartChild(spec), timeout=None)

    def terminate_child(self, ref: ActorRef[Any]) -> Reply[None]:
        """Stop a child and forget it.

        The ref under which a child ran before its restart began is accepted too.

        Raises (when awaited):
            ChildNotFound: if ``ref`` is no child of this supervisor.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``ref`` is no ref; children have no ids here.
        """
        return self.call(TerminateChild(_ref(ref)), timeout=None)

    def which_child(self, ref: ActorRef[Any]) -> Reply[ChildRow[ActorRef[Any]]]:
        """Return one child as `which_children` shows it.

        The ref under which a child ran before its restart began is accepted too.

        Raises (when awaited):
            ChildNotFound: if ``ref`` is no child of this supervisor.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``ref`` is no ref; children have no ids here.
        """
        return self.call(WhichChild(_ref(ref)), timeout=None)

    def get_child_spec(self, ref: ActorRef[Any]) -> Reply[ChildSpec]:
        """Return the spec of one child, its defaults and the supervisor's ``extra_args`` included.

        That of a temporary child has no arguments: they are not kept. The ref under which a child
        ran before its restart began is accepted too.

        Raises (when awaited):
            ChildNotFound: if ``ref`` is no child of this supervisor.
            ActorDead: if the supervisor has stopped.

        Raises (at once):
            InvalidOption: if ``ref`` is no ref; children have no ids here.
        """
        return self.call(GetChildSpec(_ref(ref)), timeout=None)


def _id(child_id: Hashable) -> Hashable:
    try:
        hash(child_id)
    except TypeError:
        expected = "ids are hashable"
        raise InvalidOption("child_id", child_id, expected) from None
    return child_id


def _ref(ref: object) -> ActorRef[Any]:
    if not _is_ref(ref):
        expected = "the ref of a child; a dynamic supervisor knows no ids"
        raise InvalidOption("ref", ref, expected)
    return ref


def _is_ref(value: object) -> TypeGuard[ActorRef[Any]]:
    return isinstance(value, ActorRef)
