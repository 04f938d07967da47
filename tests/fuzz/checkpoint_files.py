"""Files that are no checkpoints any more, or other ones: changed bytes, made-up manifests, zips of other tools."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from ravine.checkpoint import _format

from fuzz.choices import Choices

_JUNK = [
    None, True, -1, 0, 3, 2**31, 2**63, 2**70, -(2**70), 0.5, float("nan"), float("inf"), "", "O", "<f8", "|O8", "<U0",
    "|S0", "<M8[D]", "\ud800", "\x1b[2J", "Adam", [], [[1]], [0], [2**40, 0], {}, {"": 1}, {"$array": "params/0"},
    {"$array": "nothing"}, {"$scalar": "params/0"}, {"$dict": 3}, {"$dict": [[[], 1]]}, {"$tuple": [1, 2]},
    {"$float": "nan"}, {"$float": "x"}, {"$unheard": 1}, "deep list", "deep dict",
]  # fmt: skip


def manifest_of(content: bytes) -> dict[str, Any]:
    """Return the manifest of a checkpoint."""
    footer = _format.read_footer(content[-_format.FOOTER_BYTES :])
    assert footer is not None
    manifest: dict[str, Any] = json.loads(content[footer.manifest.start :][: footer.manifest.size])
    return manifest


def with_text(content: bytes, text: bytes) -> bytes:
    """Return a checkpoint in which the bytes of the manifest are others; all checksums are right."""
    members, headers, position = [], [], 0
    for name, entry in manifest_of(content)["arrays"].items():
        members.append(_format.Member(f"{name}.npy", entry["start"], entry["head"] + entry["bytes"], entry["crc32"]))
        headers.append(position)
        position = members[-1].start + members[-1].size
    head = _format.local_header(_format.MANIFEST, len(text), zlib.crc32(text), position)
    members.append(_format.Member(_format.MANIFEST, position + len(head), len(text), zlib.crc32(text)))
    headers.append(position)
    end = members[-1].start + len(text)
    return content[:position] + head + text + _format.ending(members, headers, end)


def rebuilt(content: bytes, manifest: Any) -> bytes:
    """Return a checkpoint with another manifest; all checksums are right."""
    return with_text(content, json.dumps(manifest).encode())


def assembled(manifest: dict[str, Any], members: list[tuple[str, bytes]]) -> bytes:
    """Return a checkpoint with these members, `.npy` files without their ending; all places and checksums are right.

    The arrays of the manifest whose members are missing stay in it as they are.
    """
    content, listed, headers, arrays = b"", [], [], dict(manifest["arrays"])
    for name, npy in members:
        headers.append(len(content))
        content += _format.local_header(f"{name}.npy", len(npy), zlib.crc32(npy), len(content))
        listed.append(_format.Member(f"{name}.npy", len(content), len(npy), zlib.crc32(npy)))
        if name in arrays:
            arrays[name] = {**arrays[name], "start": len(content), "crc32": zlib.crc32(npy)}
        content += npy
    text = json.dumps({**manifest, "arrays": arrays}).encode()
    headers.append(len(content))
    content += _format.local_header(_format.MANIFEST, len(text), zlib.crc32(text), len(content))
    listed.append(_format.Member(_format.MANIFEST, len(content), len(text), zlib.crc32(text)))
    return content + text + _format.ending(listed, headers, len(content) + len(text))


def members_of(content: bytes) -> list[tuple[str, bytes]]:
    """Return the `.npy` files in a checkpoint."""
    arrays = manifest_of(content)["arrays"]
    return [(name, content[e["start"] :][: e["head"] + e["bytes"]]) for name, e in arrays.items()]


# --- bytes


def _changed(choose: Choices, content: bytes, other: bytes) -> bytes:
    result = bytearray(content)
    for _ in range(1 + choose.below(4)):
        result[choose.below(len(result))] ^= 1 + choose.below(255)
    return bytes(result)


def _cut(choose: Choices, content: bytes, other: bytes) -> bytes:
    begin = choose.of([0, choose.below(len(content)), len(content)])
    end = choose.of([begin + choose.of([1, 64, 106]), begin + choose.below(len(content)), len(content)])
    return content[: min(begin, end)] + content[end:] if begin < len(content) else content[: choose.below(begin)]


def _inserted(choose: Choices, content: bytes, other: bytes) -> bytes:
    begin = choose.of([0, choose.below(len(content)), len(content)])
    new = choose.of([b"\0", b"PK\x03\x04", bytes(64), b"\n", content[-106:], content, other])
    return content[:begin] + new + content[begin:]


def _swapped(choose: Choices, content: bytes, other: bytes) -> bytes:
    begin = choose.below(len(content))
    size = choose.of([1, 64, 106, choose.below(len(content)), len(content)])
    return content[:begin] + other[begin : begin + size] + content[begin + size :]


def _footer(choose: Choices, content: bytes, other: bytes) -> bytes:
    sizes = [0, 1, 64, len(content), 2**40, 2**63, 2**64 - 1, choose.below(len(content))]
    manifest = _format.Member(_format.MANIFEST, choose.of(sizes), choose.of(sizes), choose.below(2**32))
    made_up = _format._footer(manifest, choose.of([len(content), *sizes]))
    if choose.one_in(3):
        made_up = re.sub(rb"\d{4}", b"%04d" % choose.below(9999), made_up, count=1)
    return content[: -_format.FOOTER_BYTES] + made_up


def _of_other_tools(choose: Choices, content: bytes, other: bytes) -> bytes:
    kind = choose.below(5)
    if kind == 0:
        return choose.of([b"", b"\0", b"\x80\x05]\x94.", b"text\n", np.random.default_rng(0).bytes(5000)])
    file = io.BytesIO()
    if kind == 1:
        np.savez(file, **{name: np.ones(2) for name, _ in members_of(content)})
    else:
        how = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED][kind % 2]
        with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(file, "w", how) as made:
            for name in source.namelist():
                made.writestr(name, source.read(name))
            made.comment = choose.of([b"", content[-_format.FOOTER_BYTES :]])
    return file.getvalue()


# --- what is in them, with right checksums


def changed_somewhere(choose: Choices, value: Any) -> Any:
    """Return a JSON value in which one place is something else."""
    if isinstance(value, dict | list) and value and not choose.one_in(7):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = choose.of(keys)
        changed: Any = value.copy()
        kind = choose.below(10)
        if kind == 0:
            del changed[key]
        elif kind == 1:
            changed[key] = value[choose.of(keys)]
        elif kind == 2 and isinstance(value, dict):
            changed[choose.of(["", "$array", "$dict", "\ud800", "extra", "0"])] = changed.pop(key)
        else:
            changed[key] = changed_somewhere(choose, value[key])
        return changed
    return choose.of(_JUNK)


def _made_up(choose: Choices, content: bytes, other: bytes) -> bytes:
    manifest: Any = manifest_of(content)
    if choose.one_in(10):
        text = json.dumps(manifest)[: choose.of([0, 1, 100])] + choose.of(["", "{", "]", "1e999", "\\", "9" * 5000])
        return with_text(content, text.encode())
    if choose.one_in(10):
        key = choose.of(["parts", "classes", "arrays", "step", "created", "ravine", "unheard_of"])
        manifest[key] = choose.of([None, [], {}, 3, "x", True, manifest["parts"], [["optimizer", "Adam"]], [[[], 1]]])
    else:
        for _ in range(1 + choose.below(2)):
            manifest = changed_somewhere(choose, manifest)
    depth = choose.of([100, 600, 900, 960, 980, 100_000])
    text = json.dumps(manifest)
    text = text.replace('"deep list"', "[" * depth + "]" * depth)
    text = text.replace('"deep dict"', '{"a":' * depth + "1" + "}" * depth)
    return with_text(content, text.encode())


def _values(choose: Choices, content: bytes, other: bytes) -> bytes:
    """Other numbers in the arrays."""
    members = members_of(content)
    if not members:
        return content
    i = choose.below(len(members))
    name, npy = members[i]
    begin = choose.of([0, max(0, len(npy) - 1 - choose.below(64))])
    members[i] = name, npy[:begin] + bytes([choose.below(256)]) + npy[begin + 1 :]
    return assembled(manifest_of(content), members)


def _members(choose: Choices, content: bytes, other: bytes) -> bytes:
    """Members renamed, twice there, left out, in another order, or of another file."""
    manifest, members = manifest_of(content), members_of(content)
    if not members:
        return content
    i, j = choose.below(len(members)), choose.below(len(members))
    kind = choose.below(6)
    if kind == 0:
        new = choose.of(["", "/etc/x", "../x", "extra", "manifest.json", "\x00", "x" * 70_000, members[j][0], "é"])
        old, npy = members[i]
        members[i] = new, npy
        if choose.one_in(2):
            manifest["arrays"] = {new if key == old else key: entry for key, entry in manifest["arrays"].items()}
    elif kind == 1:
        members.insert(j, members[i])
    elif kind == 2:
        del members[i]
    elif kind == 3:
        members[i], members[j] = members[j], members[i]
    elif kind == 4:
        members[i] = members[i][0], members[j][1]
    else:
        members = members_of(other)
    try:
        return assembled(manifest, members)
    except struct.error:  # no zip can have such a name
        return content


Damage = Callable[[Choices, bytes, bytes], bytes]
# Whether bytes are changed, which is always found, or another file is made, which may be one to load; by name.
DAMAGES: list[tuple[str, bool, Damage]] = [
    ("bytes changed", True, _changed),
    ("bytes cut out", True, _cut),
    ("bytes inserted", True, _inserted),
    ("bytes of another file", True, _swapped),
    ("a footer made up", True, _footer),
    ("a file of other tools", True, _of_other_tools),
    ("a manifest made up", False, _made_up),
    ("a manifest made up", False, _made_up),
    ("a manifest made up", False, _made_up),
    ("other values", False, _values),
    ("other members", False, _members),
]
