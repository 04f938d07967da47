"""Reading a checkpoint. Nothing in it is believed before it has been checked, and nothing in it is ever run."""

from __future__ import annotations

import json
import math
import mmap
import os
import re
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ravine.checkpoint._format import (
    ALIGNMENT,
    FOOTER_BYTES,
    NEWER,
    VERSION,
    Footer,
    Member,
    ending,
    local_header,
    read_footer,
)

Array = np.ndarray[Any, Any]

_PIECE = 1 << 20
_DTYPE = re.compile(r"[<>|][biufcSUmM]\d+(\[\w+\])?")


class Entry(NamedTuple):
    """An array in a file.

    Attributes:
        name: its name; that of its member of the zip has ".npy" after it.
        dtype, shape: its own.
        order: "C" or "F".
        offset: where its bytes begin in the file.
        head: how many bytes of the .npy are before them.
        nbytes: how many they are.
        crc: the CRC-32 of the whole .npy.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: Any
    offset: int
    head: int
    nbytes: int
    crc: int


class DamagedError(ValueError):
    """A file is no whole checkpoint, or not one of a version that can be read."""


class Contents:
    """What a file holds; its arrays as far as they have been asked for.

    Args:
        path: of the file.
        file: opened for reading; it is needed as long as arrays are.

    Attributes:
        manifest: all that is no array.
        version: of the format.
        entries: the arrays that there are.

    Raises:
        DamagedError: see there.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file = path, file
        footer = self._footer()
        self.version = footer.version
        self.manifest: Mapping[str, Any] = self._read_manifest(footer)
        self.entries = self._read_entries()
        self._check_structure(footer)

    # --- the structure

    def damaged(self, what: str) -> DamagedError:
        """Return the error that says what is wrong with the file."""
        return DamagedError(f"{str(self.path)!r} is damaged: {what}.")

    def damaged_arrays(self, names: Sequence[str]) -> DamagedError:
        """Return the error that lists arrays whose checksums are others."""
        return self.damaged(f"{len(names)} of its {len(self.entries)} arrays have other checksums: {', '.join(names)}")

    def _bytes(self, start: int, size: int) -> bytes:
        self._file.seek(start)
        return self._file.read(size)

    def _footer(self) -> Footer:
        size = os.fstat(self._file.fileno()).st_size
        last = self._bytes(max(0, size - 4096), 4096)
        newer = NEWER.search(last)
        if newer and int(newer[1]) != VERSION:
            raise DamagedError(
                f"{str(self.path)!r} is a checkpoint of format {int(newer[1])}; this version of ravine reads format "
                f"{VERSION}. Install the version that wrote it, or a later one."
            )
        footer = read_footer(last[-FOOTER_BYTES:])
        if footer is None:
            raise DamagedError(
                f"{str(self.path)!r} does not end as a checkpoint does: it is truncated or damaged, or another kind of "
                f"file ({size} bytes)."
            )
        if footer.file_size != size:
            raise self.damaged(f"it has {size} bytes; expected {footer.file_size}")
        if footer.manifest.start + footer.manifest.size > size:
            raise self.damaged("its manifest lies beyond its end")
        return footer

    def _read_manifest(self, footer: Footer) -> Mapping[str, Any]:
        text = self._bytes(footer.manifest.start, footer.manifest.size)
        if zlib.crc32(text) != footer.manifest.crc:
            raise self.damaged("the checksum of its manifest is another")
        try:
            manifest = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self.damaged(f"its manifest is no JSON: {error}") from None
        if not isinstance(manifest, dict):
            raise self.damaged("its manifest is no object")
        return manifest

    def _read_entries(self) -> dict[str, Entry]:
        entries = {}
        try:
            for name, described in self.manifest["arrays"].items():
                start, head, nbytes, crc = (described[key] for key in ("start", "head", "bytes", "crc32"))
                shape = tuple(described["shape"])
                if not all(type(each) is int and each >= 0 for each in (start, head, nbytes, crc, *shape)):
                    raise ValueError("a negative size")
                if not _DTYPE.fullmatch(described["dtype"]) or described["order"] not in ("C", "F"):
                    raise ValueError("an unknown dtype or order")
                dtype = np.dtype(described["dtype"])
                if math.prod(shape) * dtype.itemsize != nbytes or (start + head) % ALIGNMENT:
                    raise ValueError("another size than its shape")
                entries[name] = Entry(name, dtype, shape, described["order"], start + head, head, nbytes, crc)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise self.damaged(f"its manifest does not describe arrays: {error}") from None
        return entries

    def _check_structure(self, footer: Footer) -> None:
        """Compare all that is neither array nor manifest with what it has to be."""
        arrays = [
            Member(f"{entry.name}.npy", entry.offset - entry.head, entry.head + entry.nbytes, entry.crc)
            for entry in self.entries.values()
        ]
        position, headers = 0, []
        try:
            for member in (*arrays, footer.manifest):
                header = local_header(member.name, member.size, member.crc, position)
                if position + len(header) != member.start or self._bytes(position, len(header)) != header:
                    raise self.damaged(f"bytes {position} to {position + len(header)} do not begin {member.name!r}")
                headers.append(position)
                position = member.start + member.size
            expected = ending((*arrays, footer.manifest), headers, position)
        except (OverflowError, UnicodeEncodeError, struct.error) as error:
            raise self.damaged(f"its manifest cannot be: {error}") from None
        if position + len(expected) != footer.file_size or self._bytes(position, len(expected)) != expected:
            raise self.damaged("the zip's directory at its end is not that of its manifest")

    # --- the arrays

    def verify(self) -> list[str]:
        """Read every array and return the names of those whose checksum is another."""
        damaged = []
        for name, entry in self.entries.items():
            self._file.seek(entry.offset - entry.head)
            left, crc = entry.head + entry.nbytes, 0
            while left:
                piece = self._file.read(min(left, _PIECE))
                if not piece:
                    break
                crc = zlib.crc32(piece, crc)
                left -= len(piece)
            if left or crc != entry.crc:
                damaged.append(name)
        return damaged

    def arrays(self, *, mapped: bool, verify: bool) -> dict[str, Array]:
        """Return all arrays.

        Args:
            mapped: as read-only views of the file; otherwise in memory of their own.
            verify: whether to compare checksums.

        Raises:
            DamagedError: the checksum of an array is another; the message lists all of them.
        """
        if mapped:
            damaged = self.verify() if verify else []
            buffer = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            arrays = {name: self._array(entry, buffer, entry.offset) for name, entry in self.entries.items()}
        else:
            arrays, damaged = {}, []
            for name, entry in self.entries.items():
                memory = np.empty(entry.nbytes, np.uint8)
                head = self._bytes(entry.offset - entry.head, entry.head)
                whole = self._file.readinto(memory.data) == entry.nbytes  # type: ignore[attr-defined]
                if not whole or (verify and zlib.crc32(memory.data, zlib.crc32(head)) != entry.crc):
                    damaged.append(name)
                arrays[name] = self._array(entry, memory, 0)
        if damaged:
            raise self.damaged_arrays(damaged)
        return arrays

    def _array(self, entry: Entry, buffer: Any, offset: int) -> Array:
        try:
            array: Array = np.ndarray(entry.shape, entry.dtype, buffer, offset, order=entry.order)
            if entry.dtype.kind == "U" and entry.nbytes:
                code_points = np.frombuffer(buffer, entry.dtype.str[0] + "u4", entry.nbytes // 4, offset)
                if code_points.max() > sys.maxunicode:  # which NumPy looks at only where it makes text of it, too late
                    raise ValueError("it is no text")
            return array
        except (ValueError, TypeError, OverflowError) as error:
            raise self.damaged(f"array {entry.name!r} cannot be: {error}") from None
