"""Saving in the background: one file of a name at a time, and no error is lost."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

_lock = threading.Lock()
_last: dict[Path, Saving] = {}  # of each file that is being written, or whose error nobody has seen


class Saving:
    """A file that is being written in the background, as `save(..., background=True)` returns it.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path, act: Callable[[], None]) -> None:
        self.path = path
        self._act: Callable[[], None] | None = act
        self._error: BaseException | None = None
        # No daemon: the interpreter waits for it before it ends.
        self._thread = threading.Thread(target=self._run, name=f"ravine.checkpoint {path.name}", daemon=False)

    @property
    def done(self) -> bool:
        """Whether it has ended, well or with an error."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the file is there.

        Args:
            timeout: for so many seconds at most; None for as long as it takes.

        Raises:
            TimeoutError: it has not ended by then; it goes on.
            OSError, ...: the error that has ended it. The file is the one that was there before.
        """
        self._thread.join(timeout)
        if not self.done:
            raise TimeoutError(f"checkpoint.save: {str(self.path)!r} is not written after {timeout} seconds.")
        self._forget()
        if self._error is not None:
            raise self._error

    def __repr__(self) -> str:
        state = "under way" if not self.done else "done" if self._error is None else f"failed: {self._error!r}"
        return f"Saving({str(self.path)!r}, {state})"

    def _run(self) -> None:
        try:
            if self._act is not None:
                self._act()
        except BaseException as error:  # wait() raises it
            self._error = error
        finally:
            self._act = None  # what has been written needs no memory any longer
        if self._error is None:
            self._forget()

    def _forget(self) -> None:
        with _lock:
            if _last.get(self.path) is self:
                del _last[self.path]


def finish(path: Path) -> None:
    """Wait until nobody writes a file any longer, and raise the error that nobody has waited for."""
    while (saving := _last.get(path)) is not None:
        with _lock:  # until it is under way
            if saving._thread.ident is None:  # Ctrl-C came before it was
                _last.pop(path, None)
                continue
        saving.wait()


def begin(path: Path, act: Callable[[], None]) -> Saving:
    """Do something in the background, after what has been begun for the same file."""
    saving = Saving(path, act)
    while True:
        finish(path)
        with _lock:
            if path not in _last:
                _last[path] = saving
                saving._thread.start()
                return saving


def _report() -> None:
    """Show the errors that nobody has waited for, as those of the program itself."""
    for saving in list(_last.values()):
        if saving._error is not None:
            sys.excepthook(type(saving._error), saving._error, saving._error.__traceback__)


def _forget_all() -> None:
    """In a child process, which has none of the threads."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _last.clear()


atexit.register(_report)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
