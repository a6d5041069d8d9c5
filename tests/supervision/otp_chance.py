"""Random trees, and random things that happen to them. Every choice comes from one `Random`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.supervision.otp_model import Model
from tests.supervision.otp_procs import Proc, Sup
from tests.supervision.otp_spec import Delay, Op, Spec

__all__ = ["batches", "random_tree"]

REASONS = ("crash", "crash", "crash", "normal", "shutdown", "shutdown:term", "killed")
MOMENTS = (0.001953125, 0.009765625, 0.021484375, 0.044921875)
TIMES = (0.5, 1.0, 3.0, 5.0, 7.0, 11.0)


class Chance:
    """Names and specs."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.numbers = itertools.count(1)

    def name(self, letter: str) -> str:
        return f"{letter}{next(self.numbers)}"

    def one_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0

    def common(self, boss_shutdown: str) -> dict[str, Any]:
        """Return the options any child has; ``boss_shutdown`` is its supervisor's flag."""
        restart = self.random.choice(["permanent", "permanent", "transient", "temporary"])
        may_be = boss_shutdown != "never" and restart != "permanent"
        return {
            "restart": restart,
            "significant": may_be and not self.one_in(3),
            "backoff": Delay(1.0, 4.0, self.random.choice([1.0, 3.0])) if self.one_in(4) else None,
        }

    def worker(self, boss_shutdown: str = "never") -> Spec:
        traps = not self.one_in(3)
        return Spec(
            self.name("w"),
            **self.common(boss_shutdown),
            shutdown=self.random.choice([5.0, 5.0, 5.0, 0.03125, 0, None, "brutal_kill"]),
            start=self.random.choice(["class", "class", "slow class", "function", "slow function"]),
            traps=traps,
            linger=self.random.choice([0.0, 0.015625, 0.0625]) if traps else 0.0,
            stumbles=traps and self.one_in(6),
        )

    def supervisor(self, depth: int, boss_shutdown: str = "never", *, top: bool = False) -> Spec:
        random = self.random
        flags: dict[str, Any] = {
            "intensity": random.choice([5, 8, 12] if top else [0, 1, 2, 3, 4]),
            "period": random.choice([1.0, 5.0]),
            "classify": self.one_in(5),
        }
        if not top:
            flags |= self.common(boss_shutdown)
            flags["shutdown"] = random.choice([None, None, None, 100.0, "brutal_kill"])
        if not top and self.one_in(3):
            limit = random.choice([None, None, 0, 2, 3])
            return Spec(self.name("d"), "dynamic", max_children=limit, **flags)
        never = ["never"] * (5 if top else 2)
        auto_shutdown = random.choice([*never, "any_significant", "all_significant"])
        return Spec(
            self.name("s"),
            "static",
            strategy=random.choice(["one_for_one", "one_for_all", "rest_for_one"]),
            auto_shutdown=auto_shutdown,
            children=tuple(
                self.child(depth, auto_shutdown) for _ in range(random.choice([0, 1, 2, 3, 3, 4]))
            ),
            **flags,
        )

    def child(self, depth: int, boss_shutdown: str) -> Spec:
        if depth and self.one_in(3):
            return self.supervisor(depth - 1, boss_shutdown)
        return self.worker(boss_shutdown)


def random_tree(random: Random) -> Spec:
    """Return a static supervisor with up to two more floors below it."""
    return Chance(random).supervisor(2, top=True)


class Happenings:
    """What can happen to a model as it stands; see `batches`."""

    def __init__(self, random: Random, model: Model) -> None:
        self.random, self.model = random, model
        self.chance = Chance(random)
        self.chance.numbers = itertools.count(100)

    def batch(self) -> list[Op]:
        sups = self.model.sups()
        sup = self.random.choice(sups)
        workers = [name for name in self.model.latest if name.startswith("w")]
        match self.random.randrange(24):
            case 0 | 1 | 2:
                return [("advance", self.random.choice(TIMES))]
            case 3 | 4 | 5 if workers:
                return [self.plan(self.random.choice(workers)), *self.several(sup)]
            case 6 if workers:
                return [("signal", self.random.choice(workers), self.random.choice(REASONS[2:-1]))]
            case 7 if len(sups) > 1:
                name = self.random.choice(sups[1:]).spec.name
                return [self.random.choice([("end", name, "killed"), ("stop", name, "normal")])]
            case 8 if self.chance.one_in(10):
                name = sups[0].spec.name
                how = self.random.choice(REASONS[2:])
                return [("end", name, how) if how == "killed" else ("stop", name, how)]
            case 9 | 10 | 11 | 12:
                return [self.request(sup)]
            case 13 | 14 if not sup.dynamic and (doomed := self.dooms(sup)):
                return [*doomed, *self.several(sup)]
            case _:
                return self.several(sup)

    def dooms(self, sup: Sup) -> list[Op]:
        """Have some workers end by themselves in a moment, while their supervisor is at work."""
        procs = [slot.proc for slot in sup.slots if slot.proc is not None and slot.proc.alive]
        workers = [proc for proc in procs if not isinstance(proc, Sup)]
        moments = self.random.sample(MOMENTS, min(len(workers), 2))
        return [
            ("doom", proc.spec.name, moment, self.random.choice(REASONS))
            for proc, moment in zip(self.random.sample(workers, len(moments)), moments, strict=True)
        ]

    def plan(self, name: str) -> Op:
        outcomes = ("fail", "fail", "fail", "ignore", "start")
        count = self.random.choice([1, 1, 2, 3, 5])
        return ("plan", name, *(self.random.choice(outcomes) for _ in range(count)))

    def several(self, sup: Sup) -> list[Op]:
        """Return some things that reach one supervisor before it looks at any of them."""
        some = [self.incident(sup) for _ in range(self.random.choice([1, 1, 2, 3, 5]))]
        return [("noise", sup.spec.name), *some]

    def incident(self, sup: Sup) -> Op:
        procs = [slot.proc for slot in sup.slots if slot.proc is not None]
        if not procs or self.chance.one_in(3):
            return self.request(sup)
        proc: Proc = self.random.choice(procs)
        if isinstance(proc, Sup):
            return ("end", proc.spec.name, "killed")
        if proc.alive and proc.linked and self.chance.one_in(12):
            return ("unlink", proc.spec.name)
        reasons = [*REASONS, "fatal", "boom"] if sup.spec.classify else REASONS
        return ("end", proc.spec.name, self.random.choice(reasons))

    def request(self, sup: Sup) -> Op:
        name = sup.spec.name
        kinds = ["which_children", "count_children", "start_child", "start_child"]
        if not sup.slots or sup.dynamic:
            kinds += ["start_child"] * 5
        if sup.slots or self.chance.one_in(10):
            kinds += ["terminate_child"] * 2 + ["which_child", "get_child_spec"]
            if not sup.dynamic:
                kinds += ["restart_child", "restart_child", "delete_child"]
        kind = self.random.choice(kinds)
        if kind.endswith("_children"):
            return ("ask", name, kind, None)
        slot = self.random.choice(sup.slots) if sup.slots else None
        if kind == "start_child":
            if slot is not None and not sup.dynamic and self.chance.one_in(3):
                return ("ask", name, kind, slot.spec)
            flag = "never" if sup.dynamic else sup.spec.auto_shutdown
            return ("ask", name, kind, self.chance.child(1, flag))
        if slot is None or self.chance.one_in(8):
            return ("ask", name, kind, ("nobody", 1) if sup.dynamic else "nobody")
        looks = kind in {"which_child", "get_child_spec"}
        if not sup.dynamic and not (looks and self.chance.one_in(3)):
            return ("ask", name, kind, slot.spec.name)
        proc = slot.proc or slot.old
        return ("ask", name, kind, ("nobody", 1) if proc is None else proc.key)


def batches(random: Random, model: Model, count: int) -> Iterator[list[Op]]:
    """Yield things that happen, chosen as the model then stands; a batch happens at once."""
    happenings = Happenings(random, model)
    for _ in range(count):
        if model.top is None or not model.top.alive:
            return
        batch = happenings.batch()
        yield batch
        if any(op[0] == "doom" for op in batch):
            yield [("advance", 0.5)]
