"""One tree twice, real and as a model: the same things happen to both, and they are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.supervision.otp_model import Model
from tests.supervision.otp_procs import Bag
from tests.supervision.otp_spec import Op, Spec
from tests.supervision.otp_world import World

__all__ = ["Batches", "Divergence", "Play", "compare_journals", "compare_states", "step"]

Batches = list[list[Op]]


class Divergence(AssertionError):
    """The real tree did something else than the model."""


def compare(what: str, model: Any, real: Any) -> None:
    if model != real:
        msg = f"{what}\n  model: {model}\n  real:  {real}"
        raise Divergence(msg)


def compare_journals(model: Model, world: World) -> None:
    real, world.journal = world.journal, []
    expected, model.journal = model.journal, []
    loose, model.loose = model.loose, []
    apart = Counter(loose)
    ordered = [entry for entry in real if entry not in apart]
    compare("ends of orphans", apart, Counter(entry for entry in real if entry in apart))
    at = 0
    for item in expected:
        if isinstance(item, Bag):
            some = ordered[at : at + len(item)]
            compare(f"journal {expected}, at {item}", Counter(item), Counter(some))
            at += len(item)
        else:
            some = ordered[at : at + 1]
            compare(f"journal\n  model: {expected}\n  real:  {real}\nat {at}", [item], some)
            at += 1
    compare(f"journal {real}, further than {expected}", [], ordered[at:])


async def compare_states(model: Model, world: World) -> None:
    compare("time", model.now, world.clock.time)
    dues = {due for due, *_ in model.pending()}
    compare("delayed restarts", set(), dues - world.clock.dues())
    alive = {proc.key for proc in model.latest.values() if proc.alive}
    refs = {key for key, ref in world.refs.items() if ref.is_alive()}
    compare("not alive", set(), alive - refs)
    sups = [(sup, world.refs[sup.key]) for sup in model.sups()]
    asked = [(sup, ref, ref.which_children(), ref.count_children()) for sup, ref in sups]
    await world.settle()  # an answer given at once is no promise
    for sup, ref, rows, counts in asked:
        name = sup.spec.name
        compare(f"which_children of {name}", sup.rows(), world.answer_of(ref, rows))
        compare(f"count_children of {name}", sup.counts(), world.answer_of(ref, counts))
        compare(
            f"restarts in the window of {name}",
            sup.in_window(model.now),
            ref.tree().get().restarts_in_window,
        )
        compare(
            f"restarts of the children of {name}",
            sorted((slot.spec.name, slot.restarts) for slot in sup.slots),
            sorted((row.spec.id, row.restarts) for row in rows.get()),
        )


# --------------------------------------------------------------------------------------- playing


class Play:
    """A tree, what happens to it, and a record of that."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.record: Batches = []

    async def run(self, happenings: Callable[[Model], Iterable[list[Op]]]) -> None:
        """Build the tree twice and let the same things happen to both.

        Raises:
            Divergence: they did not become the same.
            Ambiguous: two supervisors would act at one time; this cannot be compared.
        """
        world = World(self.spec)
        try:
            model = Model(self.spec, world.clock.time)
            await world.start()
            compare_journals(model, world)
            await compare_states(model, world)
            for batch in happenings(model):
                self.record.append(batch)
                await step(model, world, batch)
            if model.top is not None and model.top.alive:
                await step(model, world, [("stop", self.spec.name, "normal")])
        finally:
            await world.close()


async def step(model: Model, world: World, batch: list[Op]) -> None:
    model.results = []
    possible = [op for op in batch if op[0] in ("advance", "plan") or op[1] in model.latest]
    for op in possible:
        if op[0] in ("noise", "ask", "stop") and not model.latest[op[1]].alive:
            return
    for op in possible:
        model.happen(op)
    model.run()
    for op in possible:
        await world.happen(op)
    await world.settle()
    compare_journals(model, world)
    compare(f"answers to {batch}", model.results, world.answers())
    await compare_states(model, world)
