"""Finds actors that nobody has stopped."""

from __future__ import annotations

import gc
from typing import Any

from puckstream.actors.ref import ActorRef
from puckstream.actors.scheduler import Scheduler

__all__ = ["live_actors"]


def live_actors() -> list[ActorRef[Any]]:
    """Return the actors of this process that live on a node which has not been shut down.

    It asks the garbage collector for the nodes there are, so it needs no registration, and takes
    time in proportion to all objects of the process: a helper for tests. A node that is no longer
    reachable may still be found until the collector has run; call ``gc.collect()`` before.
    """
    return [
        ref
        for found in gc.get_objects()
        # Not isinstance(), which would run the code of objects that lie about their class.
        if issubclass(type(found), Scheduler) and not found.closed
        for ref in list(found.actors.values())
    ]
