"""Actors under Erlang-style supervision, for streaming the output of AI models.

The floors of the house, imports only descend:

====  =====================================  ==============================================
 5    `puckstream.cli`                       the command line
 4    `puckstream.testing`                   helpers for tests, the scripted model server
 4    `puckstream.otel`                      OpenTelemetry listens here
 3    `puckstream.node`                      wires one runtime together
 2    `puckstream.streams`                   the domain; above `puckstream.backends`
 1    `puckstream.supervision`               supervisors and their decisions
 0    `puckstream.actors`                    the engine, registry and pub/sub
 --   ``errors``, ``clock``, ``telemetry``   the ground
====  =====================================  ==============================================

This module only gathers the public names.
"""

from puckstream.actors.actor import Actor
from puckstream.actors.deferred import From
from puckstream.actors.entries import Entry, Registration
from puckstream.actors.feed import SubscriberStatistics
from puckstream.actors.groups import GroupChange, Groups
from puckstream.actors.info import Info
from puckstream.actors.inspector import Inspector
from puckstream.actors.listeners import Registered, Unregistered
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
    TimedOut,
)
from puckstream.actors.system_request import Status
from puckstream.actors.thread_actor import ThreadActor
from puckstream.actors.via import Via
from puckstream.actors.watch import Event, Statistics
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
    ConversationBusy,
    InvalidOption,
    InvalidSpec,
    MailboxFull,
    MissingKey,
    NameNotFound,
    NameTaken,
    NodeNotRunning,
    NoRequest,
    NothingToRetry,
    NotInActor,
    NotJoined,
    NotRegistered,
    PuckstreamError,
    Refuse,
    StartFailed,
    StartTimeout,
    StashFull,
    StateNotReplaced,
    StreamCancelled,
    StreamError,
    StreamExpired,
    StreamNotFound,
    StreamRunning,
    TaskExists,
    TooManyChildren,
    TooManyStreams,
    UnknownProvider,
)
from puckstream.node import Node
from puckstream.streams.client import Client
from puckstream.streams.context import Context
from puckstream.streams.conversation import Conversation
from puckstream.streams.events import (
    CancelledEvent,
    ContentEvent,
    DoneEvent,
    ErrorEvent,
    OtherChunkEvent,
    RetryingEvent,
    SkippedEvent,
    StartedEvent,
    StreamEvent,
    ThinkingEvent,
    ToolUseEvent,
)
from puckstream.streams.handle import Stream
from puckstream.streams.handler import Handler
from puckstream.streams.limits import Limits
from puckstream.streams.policy import Timeout
from puckstream.streams.progress import Progress
from puckstream.streams.response import Response, ToolCall
from puckstream.streams.retry import Retry
from puckstream.streams.snapshot import Snapshot
from puckstream.streams.source import Done
from puckstream.streams.subscription import Subscription
from puckstream.streams.turns import ConversationSnapshot
from puckstream.supervision.child import IGNORE, Backoff, ChildSpec, check_child_specs, child
from puckstream.supervision.dynamic import DynamicSupervisor
from puckstream.supervision.handle import DynamicSupervisorRef, SupervisorRef
from puckstream.supervision.job import ancestors, callers
from puckstream.supervision.partition import PartitionSupervisor, PartitionSupervisorRef
from puckstream.supervision.place import ChildRow, Counts
from puckstream.supervision.supervisor import Supervisor
from puckstream.supervision.task import Task, TaskReply
from puckstream.supervision.tasks import TaskSupervisor, TaskSupervisorRef
from puckstream.supervision.tree import Tree
from puckstream.telemetry import Telemetry

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
    "ChildRow",
    "ChildRunning",
    "ChildSpec",
    "Chunk",
    "Client",
    "Clock",
    "ContentEvent",
    "Context",
    "Conversation",
    "ConversationBusy",
    "ConversationSnapshot",
    "Counts",
    "Crash",
    "Custom",
    "Done",
    "DoneEvent",
    "Down",
    "DynamicSupervisor",
    "DynamicSupervisorRef",
    "Entry",
    "ErrorEvent",
    "Event",
    "Exit",
    "ExitReason",
    "From",
    "GroupChange",
    "Groups",
    "Handler",
    "Info",
    "Inspector",
    "InvalidOption",
    "InvalidSpec",
    "Killed",
    "Limits",
    "MailboxFull",
    "MissingKey",
    "NameNotFound",
    "NameTaken",
    "NoActor",
    "NoRequest",
    "Node",
    "NodeNotRunning",
    "Normal",
    "NotConnected",
    "NotInActor",
    "NotJoined",
    "NotRegistered",
    "NothingToRetry",
    "OtherChunkEvent",
    "PartitionSupervisor",
    "PartitionSupervisorRef",
    "Progress",
    "PubSub",
    "PuckstreamError",
    "Refuse",
    "Registered",
    "Registration",
    "Registry",
    "Reply",
    "Request",
    "Resources",
    "Response",
    "Retry",
    "RetryingEvent",
    "Shutdown",
    "SkippedEvent",
    "Snapshot",
    "StartFailed",
    "StartTimeout",
    "StartedEvent",
    "StashFull",
    "StateNotReplaced",
    "Statistics",
    "Status",
    "Stream",
    "StreamCancelled",
    "StreamError",
    "StreamEvent",
    "StreamExpired",
    "StreamNotFound",
    "StreamRunning",
    "SubscriberStatistics",
    "Subscription",
    "Supervisor",
    "SupervisorRef",
    "Task",
    "TaskDone",
    "TaskExists",
    "TaskFailed",
    "TaskReply",
    "TaskSupervisor",
    "TaskSupervisorRef",
    "Telemetry",
    "ThinkingEvent",
    "ThreadActor",
    "TimedOut",
    "Timeout",
    "TooManyChildren",
    "TooManyStreams",
    "ToolCall",
    "ToolUseEvent",
    "Tree",
    "UnknownProvider",
    "Unregistered",
    "Usage",
    "Via",
    "ancestors",
    "callers",
    "check_child_specs",
    "child",
    "get_all",
]
