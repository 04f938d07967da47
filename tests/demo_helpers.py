"""The command `ravine demo digits`, for its tests: they are skipped where what it needs is not installed."""

from __future__ import annotations

import struct

import pytest
from ravine import cli

for extra in ("sklearn", "matplotlib", "tqdm", "threadpoolctl"):
    pytest.importorskip(extra)


def demo(*arguments):
    return cli.main(["demo", "digits", *map(str, arguments)])


def png_size(path):
    """Return width and height of a complete PNG file."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", content[16:24])
