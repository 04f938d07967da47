"""The command `ravine checkpoint`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine.checkpoint._files import open_regular
from ravine.checkpoint._reading import Contents


def add_parser(subparsers: Any) -> None:
    """Add the command to those of `ravine`."""
    parser = subparsers.add_parser("checkpoint", help="look into a checkpoint")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser(
        "show",
        help="print what is in a file, and verify its checksums",
        description="Print what is in a checkpoint: when and by which version it was written, its parts, and its "
        "arrays with shapes, dtypes and bytes. Every checksum is verified; a damaged file ends in exit status 1.",
    )
    show.add_argument("file", type=Path, metavar="FILE", help="as ravine.checkpoint.save has written it")
    show.set_defaults(run=_show)


def _show(arguments: argparse.Namespace) -> None:
    with open_regular(arguments.file) as file:
        contents = Contents(arguments.file, file)
        damaged = contents.verify()
    for line in _lines(contents, damaged):
        print(_printable(line))
    if damaged:
        raise contents.damaged_arrays(damaged)


def _printable(text: str) -> str:
    """Return text with an escape in place of what a terminal would obey, or no encoding has."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _lines(contents: Contents, damaged: list[str]) -> list[str]:
    manifest, entries = contents.manifest, contents.entries.values()
    facts = {
        "file": f"{contents.path} ({contents.path.stat().st_size:,} bytes)",
        "format": f"{contents.version}, by ravine {manifest.get('ravine')}",
        "created": manifest.get("created"),
        "step": manifest.get("step"),
    }
    parts = manifest.get("parts")
    classes = manifest.get("classes")
    for part in parts if isinstance(parts, Mapping) else ():
        own = [each for each in entries if each.name.split("/")[0] == part]
        names = _names(classes.get(part)) if isinstance(classes, Mapping) else ""
        facts[part] = f"{names + ', ' if names else ''}{len(own)} arrays, {sum(each.nbytes for each in own):,} bytes"
    rows = [("array", "dtype", "shape", "order", "bytes", "CRC-32", "")]
    rows += [
        (
            each.name,
            str(each.dtype),
            "x".join(map(str, each.shape)) or "0-d",
            each.order,
            f"{each.nbytes:,}",
            f"{each.crc:08x}",
            "DAMAGED" if each.name in damaged else "verified",
        )
        for each in entries
    ]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = [f"{name:12}{value}" for name, value in facts.items() if value is not None]
    if entries:
        lines.append("")
        lines += [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    return lines


def _names(classes: Any) -> str:
    if isinstance(classes, Mapping):
        return ", ".join(f"{name}: {each}" for name, each in classes.items())
    return ", ".join(map(str, classes)) if isinstance(classes, list) else str(classes or "")
