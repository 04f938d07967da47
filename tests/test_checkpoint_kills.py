"""Writers that are killed, and full disks, in short; `python tests/fuzz/kills.py` does more of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parent / "fuzz/kills.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_killed_writers_and_full_disks_leave_whole_files():
    command = [sys.executable, KILLS, "--times", "40", "--seed", "1"]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert "writers killed: 40 (" in ended.stdout
    assert int(re.search(r"(\d+) while writing", ended.stdout)[1]) > 3
    assert re.search(r"limit of bytes: .*'did not fit': [1-9]", ended.stdout)
    assert ended.stdout.endswith("every file was whole, and nothing was left behind\n")
