"""Actors under Erlang-style supervision, for streaming the output of AI models.

The floors of the house, imports only descend:

====  =====================================  ==============================================
 5    `puckstream.cli`                       the command line
 4    `puckstream.testing`                   helpers for tests, the scripted model server
 3    `puckstream.node`                      wires one runtime together
 2    `puckstream.streams`                   the domain; above `puckstream.backends`
 1    `puckstream.supervision`               supervisors and their decisions
 0    `puckstream.actors`                    the engine, registry and pub/sub
 --   ``errors``, ``clock``                  the ground
====  =====================================  ==============================================

This module only gathers the public names.
"""

from puckstream.actors.actor import Actor
from puckstream.actors.mailbox import Bound
from puckstream.actors.pubsub import PubSub
from puckstream.actors.ref import ActorRef
from puckstream.actors.registry import Registry
from puckstream.actors.reply import Reply, get_all
from puckstream.actors.signals import (
    KILLED,
    NO_ACTOR,
    NORMAL,
    SHUTDOWN,
    Crash,
    Custom,
    Down,
    Exit,
    ExitReason,
    Killed,
    NoActor,
    Normal,
    NotConnected,
    Shutdown,
    TaskDone,
    TaskFailed,
)
from puckstream.actors.thread_actor import ThreadActor
from puckstream.backends.base import Backend, Chunk, Request, Resources, Usage
from puckstream.clock import Clock
from puckstream.errors import (
    ActorDead,
    AlreadyAnswered,
    BlockingCall,
    CallingSelf,
    CallTimeout,
    ChildError,
    ChildNotFound,
    ChildPresent,
    ChildRestarting,
    ChildRunning,
    InvalidOption,
    InvalidSpec,
    MailboxFull,
    MissingKey,
    NameTaken,
    NodeNotRunning,
    NotInActor,
    PuckstreamError,
    Refuse,
    StartFailed,
    StreamCancelled,
    StreamError,
    StreamExpired,
    StreamNotFound,
    StreamRunning,
    TaskExists,
    TooManyChildren,
    UnknownProvider,
)
from puckstream.node import Node
from puckstream.streams.client import Client
from puckstream.streams.context import Context
from puckstream.streams.events import (
    CancelledEvent,
    ContentEvent,
    DoneEvent,
    ErrorEvent,
    OtherChunkEvent,
    RetryingEvent,
    StartedEvent,
    StreamEvent,
    ThinkingEvent,
    ToolUseEvent,
)
from puckstream.streams.handle import Stream
from puckstream.streams.log import Snapshot
from puckstream.streams.policy import Timeout
from puckstream.streams.response import Response, ToolCall
from puckstream.streams.source import Done
from puckstream.streams.subscription import Subscription
from puckstream.supervision.child import IGNORE, Backoff, ChildSpec, child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.job import ancestors, callers
from puckstream.supervision.partition import PartitionSupervisor
from puckstream.supervision.supervisor import Supervisor
from puckstream.supervision.task import Task, TaskReply
from puckstream.supervision.tasks import TaskSupervisor
from puckstream.supervision.tree import Tree

__all__ = [
    "IGNORE",
    "KILLED",
    "NORMAL",
    "NO_ACTOR",
    "SHUTDOWN",
    "Actor",
    "ActorDead",
    "ActorRef",
    "AlreadyAnswered",
    "Backend",
    "Backoff",
    "BlockingCall",
    "Bound",
    "CallTimeout",
    "CallingSelf",
    "CancelledEvent",
    "ChildError",
    "ChildNotFound",
    "ChildPresent",
    "ChildRestarting",
    "ChildRunning",
    "ChildSpec",
    "Chunk",
    "Client",
    "Clock",
    "ContentEvent",
    "Context",
    "Crash",
    "Custom",
    "Done",
    "DoneEvent",
    "Down",
    "DynamicSupervisor",
    "ErrorEvent",
    "Exit",
    "ExitReason",
    "InvalidOption",
    "InvalidSpec",
    "Killed",
    "MailboxFull",
    "MissingKey",
    "NameTaken",
    "NoActor",
    "Node",
    "NodeNotRunning",
    "Normal",
    "NotConnected",
    "NotInActor",
    "OtherChunkEvent",
    "PartitionSupervisor",
    "PubSub",
    "PuckstreamError",
    "Refuse",
    "Registry",
    "Reply",
    "Request",
    "Resources",
    "Response",
    "RetryingEvent",
    "Shutdown",
    "Snapshot",
    "StartFailed",
    "StartedEvent",
    "Stream",
    "StreamCancelled",
    "StreamError",
    "StreamEvent",
    "StreamExpired",
    "StreamNotFound",
    "StreamRunning",
    "Subscription",
    "Supervisor",
    "Task",
    "TaskDone",
    "TaskExists",
    "TaskFailed",
    "TaskReply",
    "TaskSupervisor",
    "ThinkingEvent",
    "ThreadActor",
    "Timeout",
    "TooManyChildren",
    "ToolCall",
    "ToolUseEvent",
    "Tree",
    "UnknownProvider",
    "Usage",
    "ancestors",
    "callers",
    "child",
    "get_all",
]
