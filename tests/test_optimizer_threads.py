"""Steps in several processes and threads."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import numpy as np
import pytest
from ravine import config, nn, optim


def step_in_child(connection, optimizer, w):
    if optimizer is None:
        optimizer = optim.SGD([w], lr=1)
    optimizer.step([np.ones_like(w)])
    connection.send(w.sum())
    connection.send(threads_now())


def threads_now():
    """Return how many threads this process has; 0 where the system does not say."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.is_dir() else 0


class TestProcessesAndThreads:
    N = 200_000

    @pytest.mark.parametrize("backend", config.available_threadings())
    @pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
    def test_a_child_can_step_after_a_parallel_step(self, method, backend):
        config.set_threading(backend)
        config.set_num_threads(2)
        w = np.zeros(self.N, np.float32)
        optimizer = optim.SGD([w], lr=1)
        optimizer.step([np.ones_like(w)])
        context = multiprocessing.get_context(method)
        receive, send = context.Pipe()
        # A forked child goes on with the optimizer it inherits; the others start with arrays alone.
        child = context.Process(target=step_in_child, args=(send, optimizer if method == "fork" else None, w))
        child.start()
        try:
            assert receive.poll(60), "the child hangs"
            assert receive.recv() == -2 * self.N
            threads = receive.recv()
            if threads and method == "fork" and backend == "pool":
                assert threads > 1, "the child has none of the pool's helpers, and started no other"
        finally:
            child.kill()
            child.join()

    def test_threads_with_optimizers_of_their_own(self):
        rng = np.random.default_rng(0)
        grads = rng.standard_normal((20, 70_000))
        expected = np.zeros(70_000)
        alone = optim.Adam([expected])
        for g in grads:
            alone.step([g])
        params = [np.zeros(70_000) for _ in range(4)]

        def train(p):
            optimizer = optim.Adam([p])
            for g in grads:
                optimizer.step([g])

        threads = [threading.Thread(target=train, args=(p,)) for p in params]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for p in params:
            np.testing.assert_array_equal(p, expected)

    def test_two_threads_cannot_step_one_optimizer(self):
        inside, leave = threading.Event(), threading.Event()
        p = nn.Parameter(np.zeros(1))
        optimizer = optim.SGD([p], lr=1)

        def closure():
            inside.set()
            leave.wait(30)

        thread = threading.Thread(target=optimizer.step, kwargs={"closure": closure})
        thread.start()
        assert inside.wait(30)
        with pytest.raises(RuntimeError, match="in the middle of a step"):
            optimizer.step()
        leave.set()
        thread.join()
        optimizer.step()


def test_the_floating_point_mode_is_left_alone():
    """Denormals stay denormal after importing and stepping, in this thread."""
    w = np.full(200_000, 1e-310)
    optim.SGD([w], lr=0.0).step([np.zeros_like(w)])
    assert (w == 1e-310).all()
    assert np.float64(1e-310) * np.float64(0.5) != 0
