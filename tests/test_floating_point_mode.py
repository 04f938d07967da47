"""A caller that flushes subnormal numbers to zero: helper threads do as it does."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
from contextlib import contextmanager

import numpy as np
import pytest
from ravine import config, nn, optim

FLUSH = 0x8040  # flush to zero, and subnormals taken for zero

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64") or platform.system() != "Linux",
    reason="sets the mode through the C library's fenv_t of x86-64",
)


@contextmanager
def flushing():
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    before = (ctypes.c_uint32 * 8)()
    libm.fegetenv(before)
    changed = (ctypes.c_uint32 * 8)(*before)
    changed[7] |= FLUSH
    libm.fesetenv(changed)
    try:
        yield
    finally:
        libm.fesetenv(before)


def test_the_mode_is_changed():
    small = np.full(4, 1e-310)
    with flushing():
        flushed = small * 0.5
    assert (flushed == 0).all()
    assert (small * 0.5 != 0).all()


@pytest.mark.parametrize("threading", config.available_threadings())
def test_any_number_of_threads_flushes_alike(threading):
    n = 300_000
    small = np.linspace(1, 50, n) * 1e-310
    results = []
    for threads in (1, 2, 3):
        config.set_threading(threading)
        config.set_num_threads(threads)
        p = np.ones(n) * 1e-309
        optimizer = optim.SGD([p], lr=0.5, momentum=0.9)
        dropout = nn.Dropout(0.5, seed=0)
        with flushing():
            for _ in range(20):
                optimizer.step([small])
                y = dropout(small)
        results.append((p.tobytes(), y.tobytes()))
        plain = np.full(n, 1e-310)
        optim.SGD([plain], lr=0.5).step([plain.copy()])
        assert (plain != 0).all(), "a helper has kept the mode of an earlier caller"
    assert results[0] == results[1] == results[2]
