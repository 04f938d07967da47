"""What a peer is: somebody's optimizer, ready to do steps on arrays that it is given."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES, Case
from ravine.benchmark.timing import calling

from . import competitors

Array = np.ndarray[Any, Any]
Steps = Callable[[int], object]

# Those that the table compares, which NumPy has in place; each is one of `ravine.benchmark.cases.CASES`.
RULES = tuple(competitors.IN_PLACE)


@dataclass(frozen=True)
class Work:
    """What is to be done.

    Attributes:
        rule: one of `RULES`.
        params: float32, C-contiguous; the peer may update them where they are, or copy them at the start.
        grads: of the same shapes; nobody writes to them.
    """

    rule: str
    params: list[Array]
    grads: list[Array]

    @classmethod
    def of(cls, rule: str, workload: str) -> Work:
        """Return work on arrays of a workload's shapes, of the size they have in training."""
        return cls(rule, *workloads.make(workload, "float32"))

    @property
    def case(self) -> Case:
        """The rule's configuration."""
        return CASES[self.rule]

    @cached_property
    def hyper(self) -> Mapping[str, Any]:
        """The hyper-parameters, the same for every peer."""
        return competitors.hyper(self.case)

    @cached_property
    def states(self) -> int:
        """How many arrays are kept beside each parameter."""
        return competitors.states(self.case)


@dataclass(frozen=True)
class Running:
    """A peer at work.

    Attributes:
        steps: does so many steps, and returns when they are done.
        results: returns the parameters as they are now.
    """

    steps: Steps
    results: Callable[[], Sequence[Array]]

    @classmethod
    def step_by_step(cls, step: Callable[[], object], results: Callable[[], Sequence[Array]]) -> Running:
        """Return a peer whose user calls it once a step."""
        return cls(calling(step), results)


@dataclass(frozen=True)
class Peer:
    """Somebody's optimizer.

    Attributes:
        title: its name in tables.
        start: makes it ready for work; its docstring says what a step consists of.
        rules: those it has.
        distribution: the package that brings it, empty for what is always here.
        brings: packages beside it that matter to its speed.
        install: how to install that.
        most: the parameters it is measured with at the most; with more it would take too much memory.
        tolerance: how far its parameters may lie from ravine's after a few steps, as part of how far they have gone.
    """

    title: str
    start: Callable[[Work], Running]
    rules: Sequence[str] = RULES
    distribution: str = ""
    brings: Sequence[str] = ()
    install: str = "pip install '.[peers]'"
    most: float = math.inf
    tolerance: float = 1e-4

    @property
    def version(self) -> str | None:
        """The version installed; empty where nothing has to be, None where it is not."""
        return version(self.distribution) if self.distribution else ""

    def does(self, rule: str, workload: str) -> bool:
        """Whether it is measured with a rule on a workload."""
        return rule in self.rules and workloads.count(workload) <= self.most

    @property
    def installed(self) -> bool:
        """Whether it can be measured here."""
        return self.version is not None


def version(distribution: str) -> str | None:
    """Return which version of a package is installed, None for none."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
