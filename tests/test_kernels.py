"""The kernels equal reference/ bit for bit: every rule, dtype, instruction set, number of threads and awkward size."""

from __future__ import annotations

import copy
import itertools
import os

import numpy as np
import pytest
from cases import CASES, Case, Config, id_of
from ravine import _core, config, optim, reference

DTYPES = [np.float32, np.float64]
THREADS = [("pool", 1), ("pool", 2), ("pool", 3), ("pool", 8), ("openmp", 2), ("openmp", 8)]
THREADS = [(threading, threads) for threading, threads in THREADS if threading in config.available_threadings()]
# Around the numbers of lanes (4, 8, 16), odd, and large enough for eight threads.
SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 65, 1001, 70_001]
GUARD = 64
# All but those with matrix products, which have tests of their own.
EXACT = [case for case in CASES if not case.matrices]
CONFIGS = [(case, settings) for case in EXACT for settings in case.configs]
CONFIG_IDS = [f"{case.name}-{id_of(settings)}" for case, settings in CONFIGS]
GUARD_VALUE = 12345.0


class Guarded:
    """Arrays side by side in one buffer, each starting one element later against the cache lines, guards between."""

    LENGTH = sum(SIZES) + (GUARD + 1) * (len(SIZES) + 1)
    STARTS = np.cumsum([GUARD, *(size + GUARD + 1 for size in SIZES[:-1])]).tolist()

    def __init__(self, buffer):
        self.buffer = buffer
        self.arrays = [buffer[start : start + size] for start, size in zip(self.STARTS, SIZES, strict=True)]

    @classmethod
    def random(cls, dtype, rng):
        scales = 10.0 ** np.arange(-3, 3)
        self = cls(rng.permuted(np.resize(scales, cls.LENGTH)).astype(dtype))
        self.buffer *= rng.standard_normal(cls.LENGTH, dtype)
        end = 0
        for start, size in zip(self.STARTS, SIZES, strict=True):
            self.buffer[end:start] = GUARD_VALUE
            end = start + size
        self.buffer[end:] = GUARD_VALUE
        return self

    def copy(self):
        return Guarded(self.buffer.copy())

    def untouched(self):
        ends = [0, *(start + size for start, size in zip(self.STARTS, SIZES, strict=True))]
        return all(
            (self.buffer[end:start] == GUARD_VALUE).all() for end, start in zip(ends, [*self.STARTS, None], strict=True)
        )


def run_reference(case: Case, settings: Config, params, gradients):
    params = [p.copy() for p in params]
    states = [{} for _ in params]
    case.run_reference(settings, params, gradients, states)
    return params, states


def assert_same_bits(optimizer, arrays, params, states, message):
    for array, p, state in zip(arrays, params, states, strict=True):
        np.testing.assert_array_equal(array, p, err_msg=message)
        ours = optimizer.state[array]
        assert ours["step"] == state["step"], message
        for name, value in state.items():
            np.testing.assert_array_equal(ours[name], value, err_msg=f"{message}: {name}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("case", "settings"), CONFIGS, ids=CONFIG_IDS)
def test_bits_equal_the_reference(case, settings, dtype):
    rng = np.random.default_rng(1)
    start = Guarded.random(dtype, rng)
    gradients = [Guarded.random(dtype, rng) for _ in range(3)]
    params, states = run_reference(case, settings, start.arrays, [g.arrays for g in gradients])
    for isa, (threading, threads) in itertools.product(config.available_isas(), THREADS):
        config.set_isa(isa)
        config.set_threading(threading)
        config.set_num_threads(threads)
        assert _core.threads_for(start.buffer.nbytes) == threads
        ours = start.copy()
        optimizer = case.optimizer(ours.arrays, **settings)
        for grads in gradients:
            optimizer.step(grads.arrays)
        assert_same_bits(optimizer, ours.arrays, params, states, f"{isa}, {threading} {threads}")
        assert ours.untouched(), f"{isa}, {threading} {threads} wrote outside the arrays"
    assert all(g.untouched() for g in gradients)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.name)
def test_extreme_values(case, dtype):
    """Overflow, denormals, infinities and NaN stand where they arise, and nowhere else."""
    info = np.finfo(dtype)
    special = [0.0, -0.0, info.tiny, info.smallest_subnormal, info.max, -info.max, np.inf, -np.inf, np.nan, 1.0, 1e-20]
    p, g = (np.array(x, dtype).ravel() for x in np.meshgrid(special, special))
    for settings in case.configs:
        with np.errstate(all="ignore"):
            params, states = run_reference(case, settings, [p], [[g]] * 3)
        for isa in config.available_isas():
            config.set_isa(isa)
            ours = p.copy()
            optimizer = case.optimizer([ours], **settings)
            for _ in range(3):
                optimizer.step([g])
            assert_same_bits(optimizer, [ours], params, states, f"{isa} {id_of(settings)}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_centered_variance_is_never_negative(momentum, dtype):
    """RMSprop of constant gradients, whose mean square and squared mean differ by rounding alone in the end."""
    g = np.random.default_rng(5).standard_normal(1000).astype(dtype)
    p, expected, state = np.zeros_like(g), np.zeros_like(g), {}
    settings = {"alpha": 0.5, "momentum": momentum, "centered": True}
    optimizer = optim.RMSprop([p], **settings)
    for _ in range(100):
        optimizer.step([g])
        reference.rmsprop(expected, g, state, **settings)
    assert (state["square_avg"] < state["grad_avg"] ** 2).any()
    np.testing.assert_array_equal(p, expected)
    assert np.isfinite(p).all()


@pytest.mark.parametrize("step", [254, 2**24 - 1, 2**31 - 2, 2**53 - 1])
@pytest.mark.parametrize("case", EXACT, ids=lambda case: case.name)
def test_large_step_counts(case, step):
    rng = np.random.default_rng(2)
    p, g = rng.standard_normal((2, 33))
    ours = p.copy()
    for settings in case.configs:
        optimizer = case.optimizer([ours], **settings)
        optimizer.step([g])
        saved = optimizer.state_dict()
        saved["state"][0]["step"] = step
        optimizer.load_state_dict(saved)
        state = copy.deepcopy(dict(optimizer.state[ours]))
        theirs = ours.copy()
        changed = {key: value for key, value in optimizer.param_groups[0].items() if key == "sgd_scale"}
        optimizer.step([g])
        case.run_reference({**settings, **changed}, [theirs], [[g]], [state])
        assert optimizer.state[ours]["step"] == state["step"] == step + 1
        np.testing.assert_array_equal(ours, theirs)


def test_each_instruction_set_really_runs():
    """What was forced is what is in use; tests/test_binaries.py looks into the compiled files themselves."""
    for isa in config.available_isas():
        config.set_isa(isa)
        assert config.get_isa() == isa
    with pytest.raises(ValueError, match=r"'mmx' is not available here; choose one of 'baseline'"):
        config.set_isa("mmx")
    assert config.get_isa() == config.available_isas()[-1]


@pytest.mark.parametrize("threading", config.available_threadings())
def test_steps_too_small_to_wake_a_thread(threading):
    """One after the other at once, so that threads are sometimes awake and sometimes not."""
    _core.share_from(1 << 40)
    config.set_threading(threading)
    rng = np.random.default_rng(4)
    p, g = rng.standard_normal((2, 100_000), dtype=np.float32)
    expected, state = p.copy(), {}
    optimizer = optim.Adam([p])
    for threads in range(1, 101):
        config.set_num_threads(threads % 5 + 1)
        optimizer.step([g])
        reference.adam(expected, g, state)
    np.testing.assert_array_equal(p, expected)


@pytest.mark.parametrize("size", [0, 1, 100, 8191, 8193])
def test_steps_shared_however_small(size):
    _core.share_from(0)
    config.set_num_threads(3)
    p = np.zeros(size)
    optimizer = optim.SGD([p], lr=1)
    optimizer.step([np.ones(size)])
    assert (p == -1).all()


@pytest.mark.skipif("RAVINE_TEST_HUGE" not in os.environ, reason="takes 18 GB of memory: set RAVINE_TEST_HUGE=1")
def test_more_elements_than_32_bits_count():
    n = 2**31 + 17
    p, g = np.zeros(n, np.float32), np.ones(n, np.float32)
    optim.SGD([p], lr=1).step([g])
    del g
    assert p.min() == p.max() == -1


def test_many_tensors_of_many_kinds_in_one_step():
    """Groups with different rules, dtypes mixed, gradients missing: each parameter as if alone."""
    rng = np.random.default_rng(3)
    params = [rng.standard_normal(n).astype(d) for n in (5, 40_000, 0, 70_001, 3) for d in DTYPES]
    grads = [rng.standard_normal(p.size).astype(p.dtype) for p in params]
    groups = [
        {"params": params[:3], "momentum": 0.9, "nesterov": True},
        {"params": params[3:7], "weight_decay": 0.1, "maximize": True},
        {"params": params[7:], "momentum": 0.5, "dampening": 0.5},
    ]
    expected = [p.copy() for p in params]
    states = [{} for _ in params]
    optimizer = optim.SGD(groups, lr=0.1)
    for step in range(4):
        given = [None if (i + step) % 3 == 0 else g for i, g in enumerate(grads)]
        for i, (p, g, state) in enumerate(zip(expected, given, states, strict=True)):
            group = groups[0] if i < 3 else groups[1] if i < 7 else groups[2]
            settings = {key: value for key, value in group.items() if key != "params"}
            if g is not None:
                reference.sgd(p, g, state, lr=0.1, **settings)
        config.set_num_threads(step + 1)
        optimizer.step(given)
    for p, q in zip(params, expected, strict=True):
        np.testing.assert_array_equal(p, q)
