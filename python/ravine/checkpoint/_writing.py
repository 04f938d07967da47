"""Writing a checkpoint: its bytes in order, each array with its checksum."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from ravine.checkpoint._format import MANIFEST, Member, ending, local_header, npy_head

Array = np.ndarray[Any, Any]

_PIECE = 1 << 20


def write(file: BinaryIO, manifest: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a checkpoint to an empty file.

    Args:
        file: at its beginning, and seekable.
        manifest: all that is no array. Where each array is, is added to it as "arrays".
        arrays: contiguous ones, in C or Fortran order.
    """
    members: list[Member] = []
    headers: list[int] = []
    entries: dict[str, Any] = {}
    for name, array in arrays.items():
        head = npy_head(array)
        _write_member(file, f"{name}.npy", head, _bytes_of(array), members, headers)
        entries[name] = {
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "order": "C" if array.flags.c_contiguous else "F",
            "start": members[-1].start,
            "head": len(head),
            "bytes": array.nbytes,
            "crc32": members[-1].crc,
        }
    text = json.dumps({**manifest, "arrays": entries}, allow_nan=False).encode()
    _write_member(file, MANIFEST, text, b"", members, headers)
    file.write(ending(members, headers, file.tell()))


def _bytes_of(array: Array) -> Any:
    return array.ravel(order="K").view(np.uint8).data if array.nbytes else b""


def _write_member(
    file: BinaryIO, name: str, head: bytes, content: Any, members: list[Member], headers: list[int]
) -> None:
    """Write a member of the zip, and add it and the place of its header to the lists."""
    position, size = file.tell(), len(head) + len(content)
    header = local_header(name, size, 0, position)
    file.write(header)
    file.write(head)
    crc = zlib.crc32(head)
    for begin in range(0, len(content), _PIECE):
        # A copy: what is summed up is what is written, also where somebody changes the array meanwhile.
        piece = bytes(content[begin : begin + _PIECE])
        crc = zlib.crc32(piece, crc)
        file.write(piece)
    end = file.tell()
    file.seek(position)
    file.write(local_header(name, size, crc, position))
    file.seek(end)
    headers.append(position)
    members.append(Member(name, position + len(header), size, crc))
