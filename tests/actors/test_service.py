"""The address of an actor that may be replaced: what waits, what is repeated, what is refused."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

import pytest

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.scheduler import Scheduler
from puckstream.actors.service import Service
from puckstream.errors import ActorDead, NodeNotRunning, Refuse
from puckstream.testing.gate import Gate


class Clerk(Actor):
    """Provides a service; does with a message what it says."""

    def __init__(self, service: Service, got: list[Any]) -> None:
        super().__init__()
        self.service, self.got = service, got

    def on_start(self) -> None:
        self.service.provided_by(self.actor_ref)

    def on_receive(self, message: Any) -> Any:
        self.got.append(message)
        match message:
            case BaseException():
                raise message
            case Gate():
                return message.wait()
            case _:
                return message


class Office:
    """An engine, a service, and whoever provides it."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def __aenter__(self) -> Self:
        self.system = Scheduler(asyncio.get_running_loop())
        self.service = Service(self.system, "office")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.system.close()

    def open(self) -> Any:
        return lifecycle.spawn(self.system, Clerk, (self.service, self.got), {})


async def test_what_is_sent_while_nobody_is_there_waits_in_order() -> None:
    async with Office() as office:
        office.service.tell(1)
        two = office.service.call(2)
        office.service.tell(3)
        assert not two.done
        office.open()
        assert await two == 2
        assert await office.service.call(4) == 4
        assert office.got == [1, 2, 3, 4]


async def test_what_is_sent_between_two_providers_waits_for_the_next() -> None:
    async with Office() as office:
        first = office.open()
        first.kill()
        office.service.tell("told")
        asked = office.service.call("asked")
        assert not asked.done
        second = office.open()
        assert await asked == "asked"
        assert (office.got, office.service.ref) == (["told", "asked"], second)


async def test_a_request_that_died_with_its_provider_is_sent_to_the_next() -> None:
    async with Office() as office:
        first = office.open()
        gate = Gate()
        handled = office.service.call(gate)
        queued = office.service.call("queued")
        first.kill()
        assert not handled.done
        gate.open()
        office.open()
        await handled
        assert await queued == "queued"
        # Those that waited in its mailbox come before the one it was busy with.
        assert office.got == [gate, "queued", gate]


async def test_a_request_that_kills_its_provider_is_not_sent_again() -> None:
    async with Office() as office:
        first = office.open()
        error = RuntimeError("poison")
        with pytest.raises(RuntimeError, match="poison"):
            await office.service.call(error)
        assert not first.is_alive()
        office.open()
        assert await office.service.call("well") == "well"
        assert office.got == [error, "well"]


async def test_a_refusal_reaches_the_asker() -> None:
    async with Office() as office:
        ref = office.open()
        with pytest.raises(LookupError):
            await office.service.call(Refuse(LookupError("no")))
        assert ref.is_alive()


async def test_an_answer_that_somebody_else_is_dead_is_an_answer() -> None:
    async with Office() as office:
        office.open()
        with pytest.raises(ActorDead):
            await office.service.call(Refuse(ActorDead("somebody else")))
        assert len(office.got) == 1


async def test_messages_from_a_thread_arrive_in_order() -> None:
    async with Office() as office:
        office.open()

        def send() -> Any:
            for number in range(100):
                office.service.tell(number)
            return office.service.call("last").get(timeout=10.0)

        assert await asyncio.to_thread(send) == "last"
        assert office.got == [*range(100), "last"]


async def test_a_closed_service_refuses_what_waits_and_what_comes() -> None:
    async with Office() as office:
        ref = office.open()
        ref.kill()
        waiting = office.service.call("waiting")
        office.service.tell("told")
        office.service.close()
        for call in (waiting, office.service.call("late")):
            with pytest.raises(NodeNotRunning, match="office"):
                await call
        office.service.tell("late")
        assert (office.got, office.service.closed) == ([], True)


async def test_a_request_in_the_hands_of_the_last_provider_is_refused_when_it_dies() -> None:
    async with Office() as office:
        ref = office.open()
        asked = office.service.call(Gate())
        office.service.close()
        ref.kill()
        with pytest.raises(NodeNotRunning):
            await asked


async def test_a_thread_that_comes_after_the_engine_has_closed_is_told_so() -> None:
    async with Office() as office:
        office.open()
    raised: list[BaseException] = []

    def send() -> None:
        for use in (office.service.tell, office.service.call):
            try:
                use("late")
            except NodeNotRunning as error:
                raised.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(raised) == 2


async def test_who_closes_it_can_be_told() -> None:
    async with Office() as office:
        closed: list[str] = []
        service = Service(office.system, "other", lambda: closed.append("now"))
        service.close()
        assert closed == ["now"]


async def test_a_request_that_kills_its_provider_by_an_actor_dead_is_not_sent_again() -> None:
    """What waited behind it is."""
    async with Office() as office:
        first, gate = office.open(), Gate()
        error = ActorDead("poison")
        office.service.tell(gate)
        poison, queued = office.service.call(error), office.service.call("queued")
        gate.open()
        with pytest.raises(ActorDead, match="poison"):
            await poison
        assert not first.is_alive()
        second = office.open()
        assert await queued == "queued"
        assert second.is_alive()
        assert office.got == [gate, error, "queued"]
