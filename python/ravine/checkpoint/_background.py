"""Saving in the background: one file of a name at a time, and no error is lost."""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

_PAUSE = 1e-3  # seconds between two looks at whether a file has been written
_lock = threading.RLock()  # a signal's handler may save, in the middle of anything
_pending: dict[Saving, None] = {}  # what is being written, or whose error nobody has seen: one for a file


class Saving:
    """A file that is being written in the background, as `save(..., background=True)` returns it.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path, act: Callable[[], None]) -> None:
        self.path = path
        self._acts = [act]  # until somebody takes it
        self._done = False
        self._error: BaseException | None = None
        # No daemon: the interpreter waits for it before it ends.
        self._thread = threading.Thread(target=self._run, name=f"ravine.checkpoint {path.name}", daemon=False)

    @property
    def done(self) -> bool:
        """Whether it has ended, well or with an error."""
        return self._done

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the file is there.

        Args:
            timeout: for so many seconds at most; None for as long as it takes.

        Raises:
            TimeoutError: it has not ended by then; it goes on.
            OSError, ...: the error that has ended it. The file is the one that was there before.
        """
        until = math.inf if timeout is None else time.monotonic() + timeout
        # An event, or a thread's join, must not be asked again by the handler of a signal that comes meanwhile.
        while not self._done and time.monotonic() < until:
            time.sleep(_PAUSE)
        if not self._done:
            raise TimeoutError(f"checkpoint.save: {str(self.path)!r} is not written after {timeout} seconds.")
        self._forget()
        if self._error is not None:
            raise self._error

    def __repr__(self) -> str:
        state = "under way" if not self.done else "done" if self._error is None else f"failed: {self._error!r}"
        return f"Saving({str(self.path)!r}, {state})"

    def _run(self) -> None:
        try:
            act = self._acts.pop()
        except IndexError:
            return
        try:
            act()
        except BaseException as error:  # wait() raises it
            self._error = error
        else:
            self._forget()
        finally:
            del act  # what has been written needs no memory any longer
            self._done = True

    def _forget(self) -> None:
        _pending.pop(self, None)


def finish(path: Path) -> None:
    """Wait until nobody writes a file any longer, and raise the error that nobody has waited for."""
    while saving := next((each for each in list(_pending) if each.path == path), None):
        if saving._thread.ident is None:
            saving._run()  # Ctrl-C came before its thread began, or this is the handler of a signal that did
        saving.wait()


def begin(path: Path, act: Callable[[], None]) -> Saving:
    """Do something in the background, after what has been begun for the same file."""
    saving = Saving(path, act)
    while True:
        finish(path)
        with _lock:
            if all(each.path != path for each in list(_pending)):
                _pending[saving] = None
                break
    saving._thread.start()
    return saving


def _report() -> None:
    """Show the errors that nobody has waited for, as those of the program itself."""
    for saving in list(_pending):
        if saving._error is not None:
            sys.excepthook(type(saving._error), saving._error, saving._error.__traceback__)


def _forget_all() -> None:
    """In a child process, which has none of the threads."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    _pending.clear()


atexit.register(_report)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
