"""What a checkpoint is, byte for byte: a zip file of `.npy` members and a manifest.

    member, member, ..., manifest.json, the zip's directory, its end with the footer as the zip's comment

Members are stored, not compressed. Each begins at a multiple of 64 bytes, and so does the array in it, since NumPy
pads the head of a .npy. The footer says where the manifest is, with its checksum and one of its own; the manifest
says where each array is, with its checksum. All other bytes follow from the manifest: the reader makes them again and
compares. So no byte of a file is uncovered.

All sizes are in 64 bits (zip64), whatever they are, so that there is one form of each record.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]

FORMAT = "ravine checkpoint"
VERSION = 1
MANIFEST = "manifest.json"
ALIGNMENT = 64

_NEEDED = 45  # the version of zip that has zip64
_UTF8 = 0x0800
_DATE = 0x0021  # 1 January 1980, the first there is: the manifest says when
_OF_ZIP64 = 0x0001
_OF_PADDING = 0xD935  # as zipalign has it
_IN_ZIP64 = 0xFFFFFFFF
_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")

_FOOTER = re.compile(
    rb"(ravine checkpoint (\d{4}) manifest ([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{8}) file ([0-9a-f]{16})) "
    rb"([0-9a-f]{8})\n\Z"
)
FOOTER_BYTES = 106
# Where a newer version, whose footer may be longer, says so.
NEWER = re.compile(rb"ravine checkpoint (\d{4}) [ -~]*\n\Z")


class Member(NamedTuple):
    """A file in the zip.

    Attributes:
        name: its name.
        start: where its content begins.
        size: of its content, in bytes.
        crc: the CRC-32 of its content.
    """

    name: str
    start: int
    size: int
    crc: int


class Footer(NamedTuple):
    """The last bytes of a file.

    Attributes:
        version: of the format.
        manifest: its member.
        file_size: of the whole.
    """

    version: int
    manifest: Member
    file_size: int


def npy_head(array: Array) -> bytes:
    """Return what a .npy has before the array's bytes."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    return head.getvalue()


def local_header(name: str, size: int, crc: int, position: int) -> bytes:
    """Return what stands before a member's content, which begins at a multiple of 64 bytes.

    Args:
        name: of the member.
        size: of its content.
        crc: of its content.
        position: of this header in the file.
    """
    encoded = name.encode()
    unpadded = position + _LOCAL.size + len(encoded) + 20 + 4
    padding = -unpadded % ALIGNMENT
    extra = struct.pack("<HHQQ", _OF_ZIP64, 16, size, size) + struct.pack("<HH", _OF_PADDING, padding) + bytes(padding)
    fields = (_NEEDED, _UTF8, 0, 0, _DATE, crc, _IN_ZIP64, _IN_ZIP64, len(encoded), len(extra))
    return _LOCAL.pack(0x04034B50, *fields) + encoded + extra


def ending(members: Iterable[Member], headers: Iterable[int], position: int) -> bytes:
    """Return all that follows the last member, the manifest.

    Args:
        members: all of them.
        headers: where the header of each is.
        position: where the last ends.
    """
    listed = list(members)
    directory = b"".join(_central_header(*each) for each in zip(listed, headers, strict=True))
    end = position + len(directory)
    size = end + _END64.size + _LOCATOR.size + _END.size + FOOTER_BYTES
    count = len(listed)
    return (
        directory
        + _END64.pack(0x06064B50, 44, _NEEDED, _NEEDED, 0, 0, count, count, len(directory), position)
        + _LOCATOR.pack(0x07064B50, 0, end, 1)
        + _END.pack(0x06054B50, 0, 0, 0xFFFF, 0xFFFF, _IN_ZIP64, _IN_ZIP64, FOOTER_BYTES)
        + _footer(listed[-1], size)
    )


def _central_header(member: Member, header: int) -> bytes:
    encoded = member.name.encode()
    extra = struct.pack("<HHQQQ", _OF_ZIP64, 24, member.size, member.size, header)
    made_by = 3 << 8 | _NEEDED  # Unix, whose permissions follow
    fields = (made_by, _NEEDED, _UTF8, 0, 0, _DATE, member.crc, _IN_ZIP64, _IN_ZIP64, len(encoded), len(extra))
    return _CENTRAL.pack(0x02014B50, *fields, 0, 0, 0, 0o100644 << 16, _IN_ZIP64) + encoded + extra


def _footer(manifest: Member, file_size: int) -> bytes:
    _, start, size, crc = manifest
    text = f"{FORMAT} {VERSION:04d} manifest {start:016x} {size:016x} {crc:08x} file {file_size:016x}".encode()
    return text + f" {zlib.crc32(text):08x}\n".encode()


def read_footer(last: bytes) -> Footer | None:
    """Return what the last bytes of a file say, or None where they are no whole footer of this version."""
    found = _FOOTER.search(last)
    if found is None or zlib.crc32(found[1]) != int(found[7], 16):
        return None
    version, start, size, crc, file_size = int(found[2]), *(int(found[i], 16) for i in (3, 4, 5, 6))
    return Footer(version, Member(MANIFEST, start, size, crc), file_size)
