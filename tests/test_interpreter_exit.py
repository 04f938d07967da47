"""The interpreter ends while a daemon thread is inside a step or a layer: the process exits all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

SETUP = "import sys, threading, time; import numpy as np; from ravine import nn, optim\n"
# Objects of its own for each thread, and a function to call on and on.
WORK = {
    "step": "p = np.ones(1 << 20); g = np.ones(1 << 20); o = optim.Adam([p]); return lambda: o.step([g])",
    "Muon": "p = np.ones((300, 300)); o = optim.Muon([p]); return lambda: o.step([p.copy()])",
    "batch norm": "x = np.ones((64, 64, 256)); bn = nn.BatchNorm1d(64, dtype=np.float64); "
    "return lambda: bn.backward(bn(x))",
    "dropout": "x = np.ones(1 << 20); dropout = nn.Dropout(); return lambda: dropout.backward(dropout(x))",
}
END = """
entered = threading.Event()
def loop():
    work = make()
    while True:
        work()
        entered.set()
for _ in range(2):
    threading.Thread(target=loop, daemon=True).start()
entered.wait()
time.sleep(DELAY)
print("ending", flush=True)
"""


@pytest.mark.parametrize("name", WORK)
def test_a_daemon_thread_at_work(name):
    for delay in (0.0, 0.003):
        code = f"{SETUP}def make(): {WORK[name]}\n{END.replace('DELAY', str(delay))}"
        ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ending\n", "")
