"""Files that are whole at every moment: written beside the old one, flushed, and put in its place.

A temporary file is locked as long as its writer lives. So one that can be locked is left over from a writer that was
killed, whatever has become of its process number, and the next writer removes it.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ravine._arrays import describe
from ravine._hyper import shown

try:
    import fcntl
except ImportError:  # Windows, which deletes no file that is open
    fcntl = None  # type: ignore[assignment]


def real_path(where: str, path: object) -> Path:
    """Return a path with all links followed.

    Args:
        where: how error messages begin.
        path: as it came.

    Raises:
        TypeError, ValueError: it is none.
    """
    try:
        return Path(os.path.realpath(os.fsdecode(path)))  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{where}: path={shown(path)} is a {describe(path)}; expected a str or a path.") from None
    except ValueError as error:  # of characters that no name can have
        raise ValueError(f"{where}: path={shown(path)} cannot be the name of a file: {error}.") from None


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises:
        OSError: it cannot be read, or is no regular file: opening a pipe waits until somebody writes to it.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "this is no regular file", str(path))
    return path.open("rb")


def target(where: str, path: object) -> Path:
    """Return where a file of this name is to be: links are followed.

    Args:
        where: how error messages begin.
        path: as it came.

    Raises:
        TypeError, ValueError: it is no path.
        OSError: there cannot be a file; the message says why.
    """
    result = real_path(where, path)
    if not result.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", str(result.parent))
    if result.exists() and not result.is_file():
        raise OSError(errno.EINVAL, "this is no regular file, which could be replaced", str(result))
    return result


def replace(path: Path, write: Callable[[BinaryIO], None], keep: int | None) -> None:
    """Write a file and put it in the place of another, or of none; at every moment one of them is there, whole.

    Args:
        path: of the file, as `target` returned it.
        write: writes the content to an open file. Where it raises, nothing has changed.
        keep: how many files to keep, the new one included: those before it get numbers. None keeps none and leaves
            numbered ones alone.
    """
    _remove_leftovers(path)
    if keep is not None and keep > 1:
        _put_in_place(path, write, lambda: _number(path))
    else:
        _put_in_place(path, write, lambda: None)
    if keep is not None:
        for _, older in numbered(path)[: 1 - keep or None]:  # all but the last keep - 1
            with suppress(FileNotFoundError):
                older.unlink()


def numbered(path: Path) -> list[tuple[int, Path]]:
    """Return the earlier files of this name with their numbers, the oldest first: run.ckpt, run.000001.ckpt, ..."""
    form = re.compile(re.escape(path.stem) + r"\.(\d{6,})" + re.escape(path.suffix))
    found = ((form.fullmatch(each.name), each) for each in path.parent.iterdir())
    return sorted((int(match[1]), each) for match, each in found if match and each.is_file())


def _number(path: Path) -> None:
    """Give the file at `path` a number too, beside its name."""
    if not path.exists():
        return
    others = numbered(path)
    if others and others[-1][1].samefile(path):  # a writer was killed after this
        return
    number = others[-1][0] if others else 0
    while True:
        number += 1
        name = path.with_name(f"{path.stem}.{number:06d}{path.suffix}")
        try:
            os.link(path, name)
        except FileExistsError:
            continue
        except OSError:  # a file system without such links
            _put_in_place(name, lambda file: _copy(path, file), lambda: None)
        return


def _copy(path: Path, file: BinaryIO) -> None:
    with path.open("rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)


def _put_in_place(path: Path, write: Callable[[BinaryIO], None], before: Callable[[], None]) -> None:
    """Write beside `path`, flush, call `before`, rename, flush the directory."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        try:
            with open(os.open(temporary, _FLAGS, 0o666), "w+b") as file:  # noqa: PTH123  (Path.open has no such flags)
                if not _is_ours(temporary, file):
                    continue
                if path.exists() and fcntl is not None:
                    with suppress(PermissionError):
                        os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
                write(file)
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:  # where no file is renamed that is open
                    file.close()
                before()
                temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _flush_directory(path.parent)
        return


_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def _is_ours(temporary: Path, file: BinaryIO) -> bool:
    """Lock a new file; return False where another writer has taken it for a leftover in between."""
    if fcntl is None:
        return True
    with suppress(OSError):  # a file system without locks, where nobody takes anything for a leftover
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        return temporary.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _remove_leftovers(path: Path) -> None:
    form = re.compile(rf"\.{re.escape(path.stem)}(\.\d{{6,}})?{re.escape(path.suffix)}\.[0-9a-f]{{16}}\.tmp")
    for each in path.parent.iterdir():
        if form.fullmatch(each.name) and each.is_file():
            with suppress(OSError):  # it is locked, or another has removed it
                if fcntl is not None:
                    with each.open("rb") as file:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        each.unlink()
                else:
                    each.unlink()


def _flush_directory(directory: Path) -> None:
    if fcntl is None:
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that flushes no directories
            raise
    finally:
        os.close(descriptor)
