"""The file is the old one or the new one, whole, at every moment; what is left over goes; older ones are kept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from ravine import checkpoint, optim
from ravine.checkpoint import _background, _files, _save
from test_engine_interrupted import Interrupting


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.ckpt"


def names(path):
    return sorted(each.name for each in path.parent.iterdir())


def steps(path):
    """Return the step of each file, the one at `path` first."""
    return [checkpoint.load(each).step for each in sorted(path.parent.iterdir(), key=lambda p: (p != path, p.name))]


# --- one file in place of another


def test_an_error_while_it_is_written(path, monkeypatch):
    checkpoint.save(path, step=1)
    write = _save.write

    def failing(file, *args):
        write(file, *args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_save, "write", failing)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, step=2)
    assert names(path) == ["run.ckpt"]
    assert steps(path) == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a file that nobody could close
@pytest.mark.parametrize("keep", [None, 2])
@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
def test_an_interrupted_save(kind, keep, path):
    for n in range(1, 5000, 1 if kind == "setprofile" else 2):
        checkpoint.save(path, step=0, extra=np.ones(5), keep=keep)
        assert len(names(path)) <= (keep or 1)
        with suppress(KeyboardInterrupt), Interrupting(kind, n) as interrupting:
            checkpoint.save(path, step=n, extra=np.ones(5), keep=keep)
        if not interrupting.done:
            break
        assert checkpoint.load(path).step in (0, n)
        assert not [name for name in names(path) if name.endswith(".tmp")]
    assert n > 50
    assert checkpoint.load(path).step == n


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files are not known here")
def test_the_file_is_flushed_before_it_is_renamed_and_the_folder_after(path, monkeypatch):
    seen = []
    fsync, replace = os.fsync, _files.Path.replace

    def flushing(descriptor):
        seen.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    def renaming(one, other):
        seen.append("renamed")
        replace(one, other)

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(_files.Path, "replace", renaming)
    checkpoint.save(path)
    assert seen[0].endswith(".tmp")
    assert seen[1:] == ["renamed", str(path.parent)]


def test_an_array_that_changes_while_it_is_written(path, monkeypatch):
    """The file is whole all the same: its checksum is that of what was written."""
    table = np.zeros(500_000)
    write = _save.write

    class Changing:
        def __init__(self, file):
            self._file = file

        def write(self, content):
            table[:] += 1
            return self._file.write(content)

        def __getattr__(self, name):
            return getattr(self._file, name)

    monkeypatch.setattr(_save, "write", lambda file, *args: write(Changing(file), *args))
    checkpoint.save(path, extra=table)
    found = checkpoint.load(path).extra
    assert len(np.unique(found)) > 1


def test_permissions_stay(path):
    checkpoint.save(path)
    path.chmod(0o640)
    checkpoint.save(path)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_new_file_has_those_that_the_user_gives_to_new_files(path):
    before = os.umask(0o027)
    try:
        checkpoint.save(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.ckpt").symlink_to(tmp_path / "there/run.ckpt")
    for k in range(2):
        checkpoint.save(tmp_path / "link.ckpt", step=k)
    assert (tmp_path / "link.ckpt").is_symlink()
    assert checkpoint.load(tmp_path / "there/run.ckpt").step == 1


def test_places_where_there_can_be_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no such directory: .*nowhere"):
        checkpoint.save(tmp_path / "nowhere/run.ckpt")
    with pytest.raises(OSError, match=r"this is no regular file, which could be replaced"):
        checkpoint.save(tmp_path)
    with pytest.raises(OSError, match=r"this is no regular file"):
        checkpoint.save("/dev/null")
    assert list(tmp_path.iterdir()) == []


# --- leftovers


@pytest.mark.parametrize("act", [checkpoint.save, checkpoint.load])
@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        (None, TypeError, "path=None is a NoneType; expected a str or a path"),
        (3, TypeError, "path=3 is a int"),
        (["run.ckpt"], TypeError, "is a list"),
        ("a\0b", ValueError, "cannot be the name of a file"),
        ("\ud800", ValueError, "cannot be the name of a file"),
    ],
    ids=["None", "number", "list", "NUL", "surrogate"],
)
def test_what_is_no_path(act, path, error, message):
    with pytest.raises(error, match=rf"^checkpoint\.{act.__name__}: .*{message}"):
        act(path)


def test_a_path_in_bytes(path):
    checkpoint.save(os.fsencode(path), step=3)
    assert checkpoint.load(os.fsencode(path)).step == 3


@pytest.mark.parametrize("kind", ["folder", "link to nothing"])
def test_what_is_no_file_beside_it_is_none_of_those_kept(kind, path):
    """The new file was in its place already when the old code stumbled over it."""
    beside = path.with_name("run.000001.ckpt")
    if kind == "folder":
        beside.mkdir()
    else:
        beside.symlink_to("nothing")
    for k in range(4):
        checkpoint.save(path, step=k, keep=2)
    assert names(path) == ["run.000001.ckpt", "run.000004.ckpt", "run.ckpt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_that_is_named_as_a_leftover(path):
    pipe = path.with_name(".run.ckpt.0123456789abcdef.tmp")
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDWR)  # so that opening it would not wait
    try:
        checkpoint.save(path)
    finally:
        os.close(descriptor)
    assert pipe.is_fifo()


def leftover(path, name=".run.ckpt.0123456789abcdef.tmp"):
    there = path.with_name(name)
    there.write_bytes(b"x")
    return there


def test_what_a_killed_writer_left_over_goes(path):
    leftover(path)
    leftover(path, ".run.000001.ckpt.0123456789abcdef.tmp")
    others = [leftover(path, name) for name in (".other.ckpt.0123456789abcdef.tmp", ".run.ckpt.tmp", "run.ckpt.tmp")]
    checkpoint.save(path)
    assert names(path) == sorted(["run.ckpt", *(each.name for each in others)])


def test_what_a_living_writer_is_writing_stays(path, tmp_path):
    """A writer in another process, and one in this."""
    code = """
import sys, time
from ravine import checkpoint
from ravine.checkpoint import _save
def slow(file, *args):
    print(flush=True)
    time.sleep(100)
_save.write = slow
checkpoint.save(sys.argv[1])
"""
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        try:
            (temporary,) = names(path)
            checkpoint.save(path, step=1)
            assert names(path) == [temporary, "run.ckpt"]
        finally:
            writer.kill()
    checkpoint.save(path, step=2)
    assert names(path) == ["run.ckpt"]


def test_a_writer_whose_file_is_taken_for_a_leftover_begins_again(path, monkeypatch):
    """Between its creation and its lock, another writer removes it."""
    calls = []

    def removed(temporary, file):
        calls.append(temporary)
        if len(calls) == 1:
            _files._remove_leftovers(path)
            assert not temporary.exists()
        return is_ours(temporary, file)

    is_ours = _files._is_ours
    monkeypatch.setattr(_files, "_is_ours", removed)
    checkpoint.save(path, step=3)
    assert len(calls) == 2
    assert names(path) == ["run.ckpt"]
    assert steps(path) == [3]


# --- keep


def test_keep_keeps_so_many_the_newest_at_the_path(path):
    for k in range(6):
        checkpoint.save(path, step=k, keep=3)
        assert steps(path) == [k, *range(max(0, k - 2), k)]
    assert names(path) == ["run.000004.ckpt", "run.000005.ckpt", "run.ckpt"]
    checkpoint.save(path, step=6)  # without keep, the others stay
    assert steps(path) == [6, 3, 4]
    checkpoint.save(path, step=7, keep=2)
    assert steps(path) == [7, 6]
    checkpoint.save(path, step=8, keep=1)
    assert names(path) == ["run.ckpt"]


def test_keep_leaves_other_files_alone(path):
    others = ["run.1.ckpt", "run.000001.txt", "other.000001.ckpt", "run.000001.ckpt.bak"]
    for name in others:
        path.with_name(name).write_bytes(b"")
    for k in range(4):
        checkpoint.save(path, step=k, keep=2)
    assert names(path) == sorted([*others, "run.000003.ckpt", "run.ckpt"])


def test_keep_where_there_are_no_hard_links(path, monkeypatch):
    def no_links(*args):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    for k in range(5):
        checkpoint.save(path, step=k, keep=3)
        assert steps(path) == [k, *range(max(0, k - 2), k)]


def test_a_writer_killed_between_numbering_and_replacing(path, monkeypatch):
    """The old file has two names then; the next save does not count it twice."""
    for k in range(3):
        checkpoint.save(path, step=k, keep=3)
    replace = _files.Path.replace
    monkeypatch.setattr(_files.Path, "replace", lambda *args: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception, match="killed"):
        checkpoint.save(path, step=3, keep=3)
    monkeypatch.setattr(_files.Path, "replace", replace)
    assert steps(path) == [2, 0, 1, 2]
    checkpoint.save(path, step=4, keep=3)
    assert steps(path) == [4, 1, 2]


# --- in the background


@pytest.fixture
def gate(monkeypatch):
    """Hold up all writing until it is set."""
    opened = threading.Event()
    write = _save.write

    def waiting(*args):
        assert opened.wait(30)
        write(*args)

    monkeypatch.setattr(_save, "write", waiting)
    yield opened
    opened.set()


def test_a_snapshot_is_saved_whatever_comes_after(path, gate):
    w, table = np.zeros(3), np.arange(3)
    optimizer = optim.Adam([w])
    extra = {"table": table, "list": [1]}
    optimizer.step([np.ones(3)])
    state = optimizer.state_dict()
    saved = w.copy()
    saving = checkpoint.save(path, optimizer=optimizer, params=[w], extra=extra, background=True)
    assert not saving.done
    assert "under way" in repr(saving)
    optimizer.step([np.ones(3)])
    table[:] = 0
    extra["list"].append(2)
    with pytest.raises(TimeoutError, match=r"run\.ckpt' is not written after 0\.01 seconds"):
        saving.wait(0.01)
    gate.set()
    saving.wait()
    assert saving.done
    assert "done" in repr(saving)
    found = checkpoint.load(path)
    np.testing.assert_equal(found.optimizer, state)
    np.testing.assert_array_equal(found.params[0], saved)
    np.testing.assert_equal(found.extra, {"table": np.arange(3), "list": [1]})


@pytest.mark.parametrize("background", [False, True])
def test_saves_of_one_path_do_not_overtake_one_another(background, path, gate):
    first = checkpoint.save(path, step=1, background=True)
    seen = []

    def later():
        second = checkpoint.save(path, step=2, background=background)
        seen.append(first.done)
        if second is not None:
            second.wait()

    thread = threading.Thread(target=later)
    thread.start()
    time.sleep(0.1)
    assert not seen
    other = path.with_name("other.ckpt")
    checkpoint.save(other, step=3, background=True)  # of another path
    gate.set()
    thread.join()
    assert seen == [True]
    assert checkpoint.load(path).step == 2
    assert checkpoint.load(other).step == 3


@pytest.mark.parametrize("background", [False, True])
def test_there_is_one_copy_at_a_time(background, path, gate):
    """The next save copies nothing before the one under way is done."""

    class Counting(dict):
        def items(self):
            assert first.done
            return super().items()

    first = checkpoint.save(path, step=1, background=True)
    threading.Timer(0.1, gate.set).start()
    checkpoint.save(path, extra=Counting(a=1), background=background)
    assert checkpoint.load(path).extra == {"a": 1}


def test_loading_waits_for_the_file(path, gate):
    checkpoint.save(path, step=1, background=True)
    threading.Timer(0.1, gate.set).start()
    assert checkpoint.load(path).step == 1


@pytest.fixture
def broken(monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_save, "write", full)


def test_wait_raises_what_went_wrong(path, broken):
    saving = checkpoint.save(path, background=True)
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            saving.wait()
    assert saving.done
    assert "failed: OSError" in repr(saving)
    assert names(path) == []


def test_an_error_that_nobody_waits_for_is_raised_by_the_next_save(path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(_save, "write", lambda *args: 1 / 0)
        checkpoint.save(path, background=True)
        with pytest.raises(ZeroDivisionError):
            checkpoint.save(path, step=1)
    checkpoint.save(path, step=2)
    assert checkpoint.load(path).step == 2


AT_EXIT = """
import sys, time
from ravine import checkpoint
from ravine.checkpoint import _save
write = _save.write
def slow(*args):
    time.sleep(0.5)
    {then}
    write(*args)
_save.write = slow
checkpoint.save(sys.argv[1], step=7, background=True)
"""


def test_the_interpreter_ends_when_the_file_is_written(path):
    subprocess.run([sys.executable, "-c", AT_EXIT.format(then="pass"), path], check=True)
    assert checkpoint.load(path).step == 7


def test_at_the_end_errors_are_shown(path):
    code = AT_EXIT.format(then="raise OSError('the disk is full')")
    ended = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
    assert "OSError: the disk is full" in ended.stderr
    assert names(path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python warns of what is tested here
def test_a_forked_child_waits_for_no_thread_of_its_parent(path, gate):
    """Neither for one that writes, nor for one that holds the lock at that moment."""
    checkpoint.save(path, step=1, background=True)
    held, forked = threading.Event(), threading.Event()

    def hold():
        with _background._lock:
            held.set()
            forked.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    child = os.fork()
    forked.set()
    if child == 0:
        gate.set()
        checkpoint.save(path, step=2, background=True).wait()
        os._exit(0)
    deadline = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(child, 9)
        os.waitpid(child, 0)
    holder.join()
    assert ended == (child, 0)


def test_an_interruption_before_the_thread_is_there(path, monkeypatch):
    def interrupted(thread):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupting:
        interrupting.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(path, step=1, background=True)
    checkpoint.save(path, step=2)
    checkpoint.save(path, step=3, background=True).wait()
    assert checkpoint.load(path).step == 3


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer here")
def test_the_handler_of_a_signal_may_save(path):
    """Whatever it interrupts, a save of the same file in the background among others."""
    optimizer = optim.SGD([np.ones(3)], lr=0.1)
    handled = []

    def handler(*_):
        checkpoint.save(path, optimizer=optimizer, step=0)
        handled.append(None)

    before = signal.signal(signal.SIGALRM, handler)
    rng = np.random.default_rng(0)
    try:
        for step in range(100):
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 2e-3))
            checkpoint.save(path, optimizer=optimizer, step=step, background=True)
        signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert handled
    checkpoint.save(path, step=5)
    assert steps(path) == [5]
