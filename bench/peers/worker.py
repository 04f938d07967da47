"""Contenders that can be asked for a time again and again, in a process of their own or in this one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol

from ravine.benchmark import workloads
from ravine.benchmark.cases import CASES
from ravine.benchmark.timing import counted

from . import PEERS, competitors, whole
from .memory import StreamingLimit
from .peer import Steps, Work
from .products import Products

# What can be measured beside the peers.
LIMIT = "limit"  # the traffic of a step by itself
NO_STEP = "none"  # of a training loop: the products by themselves

_THREADS = ("RAVINE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_JAX_THREADS = "NPROC"  # JAX's pool has no other setting


class PeerError(Exception):
    """A contender could not do what it was asked for."""


@dataclass(frozen=True)
class Task:
    """What to time.

    Attributes:
        rule: one of `peer.RULES`.
        workload: its name.
        seconds: how long a turn takes, about.
        products: batch, inputs and outputs of a layer whose products come before each step, or None.
        whole: what is done beside the update, one of `whole.BYTES`; or None, and then the peer's plain step.
    """

    rule: str
    workload: str
    seconds: float
    products: tuple[int, int, int] | None = None
    whole: str | None = None


class Contender(Protocol):
    """Someone who takes turns."""

    def begin(self, task: Task) -> None:
        """Make arrays, plans and compiled code."""

    def measure(self) -> float:
        """Take a turn and return the time of a step."""

    def end(self) -> None:
        """Let the arrays go."""

    def close(self) -> None:
        """Leave for good."""


class Here:
    """A contender in this process.

    Args:
        name: one of `PEERS`, or `LIMIT`, or `NO_STEP`.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._measure: Callable[[], float] | None = None

    def begin(self, task: Task) -> None:
        """Make arrays, plans and compiled code."""
        if self._name == LIMIT:
            limit = StreamingLimit(workloads.count(task.workload), competitors.states(CASES[task.rule]))
            self._measure = lambda: limit.seconds(task.seconds)
        elif task.whole is not None:
            self._measure = whole.measuring(self._name, task.whole, Work.of("adam", task.workload), task.seconds)
        else:
            self._measure = counted(self._steps(task), task.seconds)

    def _steps(self, task: Task) -> Steps:
        steps: Steps = lambda count: None  # noqa: ARG005, E731
        if self._name != NO_STEP:
            steps = PEERS[self._name].start(Work.of(task.rule, task.workload)).steps
        if task.products is None:
            return steps
        products = Products(*task.products)

        def iterations(count: int) -> None:
            for _ in range(count):
                products()
                steps(1)

        return iterations

    def measure(self) -> float:
        """Take a turn and return the time of a step."""
        if self._measure is None:
            raise PeerError(f"{self._name}: measure comes after begin")
        return self._measure()

    def end(self) -> None:
        """Let the arrays go."""
        self._measure = None

    def close(self) -> None:
        """Leave for good."""
        self.end()


class Elsewhere:
    """A contender in a process of its own, which sleeps until it is told over a pipe to take a turn.

    Args:
        name: as for `Here`.
        environment: variables that differ from this process's.
    """

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self._name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name), daemon=True)
        with _set(environment):  # the new process reads it before it imports anything
            self._process.start()
        theirs.close()

    def begin(self, task: Task) -> None:
        """Make arrays, plans and compiled code."""
        self._ask("begin", task)

    def measure(self) -> float:
        """Take a turn and return the time of a step."""
        seconds = self._ask("measure")
        assert isinstance(seconds, float)
        return seconds

    def end(self) -> None:
        """Let the arrays go."""
        self._ask("end")

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()

    def _ask(self, method: str, *arguments: object) -> object:
        try:
            self._pipe.send((method, arguments))
            failed, answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(timeout=10)
            raise PeerError(f"{self._name}: its process has ended, with status {self._process.exitcode}.") from None
        if failed:
            raise PeerError(f"{self._name}: {answer}")
        return answer


def environment(threads: int) -> dict[str, str]:
    """Return the variables that give every peer, and BLAS, so many threads."""
    return dict.fromkeys((*_THREADS, _JAX_THREADS), str(threads))


def _serve(pipe: Connection, name: str) -> None:
    """Do what the pipe says until it is closed."""
    contender = Here(name)
    while True:
        try:
            method, arguments = pipe.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            pipe.send((False, getattr(contender, method)(*arguments)))
        except Exception as error:
            traceback.print_exc()
            pipe.send((True, f"{type(error).__name__}: {error}"))


@contextlib.contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
