from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ravine import _core, config

if build := os.environ.get("RAVINE_BUILD_DIR"):
    assert Path(build) in Path(_core.__file__).parents, f"testing {_core.__file__} instead of the build in {build}"

# A shell without job control starts what is to run in the background with Ctrl-C ignored, also in its children.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def restored_config() -> Iterator[None]:
    """Share small steps among threads too; leave what a test may choose as it was."""
    isa, threading, shared = config.get_isa(), config.get_threading(), _core.share_from(1 << 16)
    prefetch = _core.prefetch()
    yield
    _core.share_from(shared)
    _core.set_prefetch(prefetch)
    config.set_isa(isa)
    config.set_threading(threading)
    config.set_num_threads(None)
