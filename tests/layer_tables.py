"""What the commands that measure layers print and write."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ravine import config
from ravine.benchmark.layers import LAYERS


def check_layer_results(printed: str, path: Path, words: Iterable[str], keys: Iterable[str]) -> list[dict[str, Any]]:
    """Check what was printed and written of both layers for the shapes 4x3x5 and 6x2, and return the results.

    Args:
        printed: to the terminal.
        path: of the JSON file.
        words: what the table has to say besides the machine.
        keys: those of a result that are times or ratios.
    """
    info = config.info()
    for part in (info["numpy"], info["instruction set"], info["threads"], "float32", *words):
        assert part in printed
    for title in (
        "batch norm, 4x3x5 (60 elements), channels first\n",
        "batch norm, 4x3x5 (60 elements), channels last\n",
        "batch norm, 6x2 (12 elements)\n",
        "dropout, 4x3x5 (60 elements)\n",
        "dropout, 6x2 (12 elements)\n",
    ):
        assert title in printed

    written = json.loads(path.read_text(encoding="utf-8"))
    assert written["machine"] == info
    results: list[dict[str, Any]] = written["results"]
    measured = [tuple(result[key] for key in ("layer", "layout", "operation")) for result in results]
    assert measured == (
        [("batch_norm", layout, name) for layout in ("NCHW", "NHWC", "NCHW") for name in LAYERS["batch_norm"].passes]
        + [("dropout", "NCHW", name) for _ in range(2) for name in LAYERS["dropout"].passes]
    )
    for result in results:
        for key in keys:
            assert result[key] > 0
    return results
