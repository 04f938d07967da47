"""The measurements: steps by themselves, and steps within a training loop."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ravine import config
from ravine.benchmark.timing import interleaved, quartiles

from . import PEERS
from .worker import LIMIT, NO_STEP, Contender, Elsewhere, Here, PeerError, Task, environment

if TYPE_CHECKING:
    from ravine.benchmark.session import Effort

# Of a training loop: arrays of a step, and batch, inputs and outputs of the layer whose products are done.
TENSORS = 8
PRODUCTS = {
    "small": (32, 128, 64),
    "medium": (256, 784, 256),
    "large": (512, 2048, 1024),
}
PARAMETERS = (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 30_000_000)
SERIAL = "ravine_serial"
# A loop's turn takes so many times as long as that of a step: its threads have slept, and for its first milliseconds
# the scheduler may have them share a core.
LONGER = 20
LOOPS = (NO_STEP, "ravine", "numpy_inplace", "numba", "torch_fused", "deepspeed")


@dataclass(frozen=True)
class Ratio:
    """A ratio of two times that were measured in turn.

    Attributes:
        median: over the rounds.
        lower: the first quartile.
        upper: the third quartile.
    """

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, times: list[float], others: list[float]) -> Ratio:
        """Return the ratio of two contenders' times, round by round."""
        lower, median, upper = quartiles(times, others)
        return cls(median, lower, upper)


@dataclass(frozen=True)
class StepResult:
    """A peer's step beside ravine's.

    Attributes:
        threads: of everyone.
        workload: its name.
        rule: its name.
        peer: one of `PEERS`, or "limit".
        seconds: the peer's time, median.
        ravine_seconds: ravine's in the same rounds, median.
        ratio: the peer's time divided by ravine's.
    """

    threads: int
    workload: str
    rule: str
    peer: str
    seconds: float
    ravine_seconds: float
    ratio: Ratio


@dataclass(frozen=True)
class LoopResult:
    """An iteration of a training loop beside that with ravine on one thread.

    Attributes:
        parameters: how many the step updates.
        products: one of `PRODUCTS`.
        rule: its name.
        peer: one of `PEERS`, "ravine_serial", or "none" for the loop without a step.
        seconds: of an iteration, median.
        ratio: that divided by the one with ravine on one thread.
    """

    parameters: int
    products: str
    rule: str
    peer: str
    seconds: float
    ratio: Ratio


Failure = tuple[str, str]


class Contenders:
    """All who were asked so far, each kept for the next question. Use it in a `with` statement.

    By default each has a process of its own. What runs a step does not end with it: OpenMP's threads, of which torch
    and numba each bring their own, wait for more work at full speed; JAX keeps a pool of threads, and learns their
    number when it starts, never after. In one process a peer is timed among the others' remains. A process that waits
    at a pipe sleeps, and turns are still taken one by one, A B A B. What another's turn takes away, the contents of
    the caches, it takes away in one process too: every turn begins with a step that does not count.

    Args:
        threads: of everyone; None leaves them to the user's settings.
        one_process: do everything here. JAX cannot be told its threads then.
    """

    def __init__(self, threads: int | None, one_process: bool = False) -> None:
        self._threads = threads
        self._one_process = one_process
        self._contenders: dict[str, Contender] = {}
        self._before = config.get_num_threads()

    def __enter__(self) -> Contenders:
        if self._threads:
            config.set_num_threads(self._threads)
        return self

    def __exit__(self, *exception: object) -> None:
        for contender in self._contenders.values():
            contender.close()
        config.set_num_threads(self._before)

    def pairs(
        self, base: str, others: Sequence[str], task: Task, rounds: int, failed: Callable[[Failure], None]
    ) -> Iterator[tuple[str, list[float], list[float]]]:
        """Measure each in turn with the same other, A B A B, and yield its name and both's times.

        No more than two hold arrays at a time.

        Args:
            base: who is compared with all.
            others: who is compared with it.
            task: what to time.
            rounds: how many turns each has.
            failed: told who could not do it, and why; the others go on.

        Raises:
            PeerError: base cannot do it.
        """
        self._get(base).begin(task)
        for name in others:
            try:
                contender = self._get(name)
                contender.begin(task)
                times = interleaved({"base": self._get(base).measure, "other": contender.measure}, rounds, settle=True)
                contender.end()
            except PeerError as error:
                failed((name, str(error)))
                self._contenders.pop(name).close()
                continue
            yield name, times["base"], times["other"]
        self._get(base).end()

    def _get(self, name: str) -> Contender:
        if name not in self._contenders:
            peer, threads = ("ravine", 1) if name == SERIAL else (name, self._threads)
            if self._one_process:
                self._contenders[name] = Here(peer)
            else:
                # A serial step leaves BLAS its threads.
                variables = {"RAVINE_THREADS": "1"} if name == SERIAL else environment(threads) if threads else {}
                self._contenders[name] = Elsewhere(peer, variables)
        return self._contenders[name]


def steps(
    work: Sequence[tuple[str, str]],
    peers: Sequence[str],
    threads: int,
    effort: Effort,
    failed: Callable[[Failure], None],
    one_process: bool = False,
) -> Iterator[StepResult]:
    """Measure steps by themselves.

    Args:
        work: pairs of a workload and a rule.
        peers: whom to compare with ravine, of `PEERS` and "limit"; passed over where they do not have a rule,
            or not the memory.
        threads: of everyone.
        effort: how long to measure.
        failed: told who could not do it, and why.
        one_process: do everything in this process.
    """
    with Contenders(threads, one_process) as contenders:
        for workload, rule in work:
            task = Task(rule, workload, effort.seconds)
            others = [name for name in peers if name == LIMIT or PEERS[name].does(rule, workload)]
            for name, ravine, other in contenders.pairs("ravine", others, task, effort.rounds, failed):
                yield StepResult(
                    threads,
                    workload,
                    rule,
                    name,
                    statistics.median(other),
                    statistics.median(ravine),
                    Ratio.of(other, ravine),
                )


def loops(
    parameters: Sequence[int],
    products: Sequence[str],
    peers: Sequence[str],
    rule: str,
    effort: Effort,
    failed: Callable[[Failure], None],
) -> Iterator[LoopResult]:
    """Measure iterations of a training loop: a layer's products in NumPy, then a step, on the user's own threads.

    Each loop has a process of its own: what matters is how a step's threads and those of BLAS get on in it.

    Args:
        parameters: how many the step updates, in `TENSORS` arrays of equal size.
        products: names in `PRODUCTS`.
        peers: whose step, of `PEERS` and "none".
        rule: its name.
        effort: how long to measure.
        failed: told who could not do it, and why.
    """
    with Contenders(None) as contenders:
        for size in products:
            for count in parameters:
                task = Task(rule, f"flat:{TENSORS}x{count // TENSORS}", LONGER * effort.seconds, PRODUCTS[size])
                for name, serial, other in contenders.pairs(SERIAL, peers, task, effort.rounds, failed):
                    yield LoopResult(count, size, rule, name, statistics.median(other), Ratio.of(other, serial))
