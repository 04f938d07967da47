from __future__ import annotations

from collections.abc import Iterator

import pytest

from ravine import config


@pytest.fixture(autouse=True)
def restored_config() -> Iterator[None]:
    """Leave the instruction set and number of threads as they were."""
    isa = config.get_isa()
    yield
    config.set_isa(isa)
    config.set_num_threads(None)
