from __future__ import annotations

from collections.abc import Iterator

import pytest

from ravine import config


@pytest.fixture(autouse=True)
def restored_config() -> Iterator[None]:
    """Leave the instruction set and the threads as they were."""
    isa, threading = config.get_isa(), config.get_threading()
    yield
    config.set_isa(isa)
    config.set_threading(threading)
    config.set_num_threads(None)
