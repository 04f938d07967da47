"""Attacks on checkpoints: damaged and made-up files, objects that do not fit, bad arguments."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from checkpoint_cases import Training, outcome, trainings
from ravine import checkpoint, nn
from ravine.checkpoint import _generators, command

from fuzz.checkpoint_files import DAMAGES, with_text
from fuzz.choices import Choices
from fuzz.memory import frozen
from fuzz.oracle import Case, Ended
from fuzz.splitting import same, value

Array = np.ndarray[Any, Any]
# In memory, where flushing takes no time.
FOLDER = next((place for place in ("/dev/shm",) if os.access(place, os.W_OK)), None)
TRAININGS = {name: make for name, make in trainings().items() if name != "layers"}  # a case brings its own
RNGS: list[Callable[[int], Any]] = [
    np.random.default_rng, np.random.RandomState, random.Random, np.random.PCG64DXSM,
    lambda seed: np.random.Generator(np.random.MT19937(seed)), lambda seed: np.random.Generator(np.random.Philox(seed)),
    lambda seed: np.random.Generator(np.random.SFC64(seed)),
]  # fmt: skip
GARBAGE = [
    None, "x", -1, 0, 2.5, float("nan"), [], [None], (), {}, {"a": None}, {1: 2}, b"x", 1j, True, 1 << 70, object, ...,
    10**5000, np.zeros(2), np.array(1), "\ud800", [[1, 2]], {"params": 3}, [{"params": None}], [("a",)], [(1, 2)],
]  # fmt: skip
PARTS = ["optimizer", "scheduler", "params", "layers", "rng", "extra", "step"]
COMMAND = argparse.ArgumentParser()
command.add_parser(COMMAND.add_subparsers())


class Subject:
    """What is saved, or what loads: a training of the table, layers, generators."""

    def __init__(self, plan: Plan, steps: int) -> None:
        self.training: Training = TRAININGS[plan.name]()
        self.layers = {"bn": nn.BatchNorm1d(3, dtype=np.float64), "drop": nn.Dropout(0.5, seed=steps)}
        self.rngs = [RNGS[i](steps) for i in plan.rngs]
        for k in range(steps):
            self.training.step(k)
            self.layers["bn"](self.layers["drop"](np.random.default_rng(k).standard_normal((4, 3))))
        self.parts: dict[str, Any] = self.training.parts()
        if plan.layers:
            self.parts["layers"] = self.layers if plan.by_name else list(self.layers.values())
        if self.rngs:
            self.parts["rng"] = self.rngs if len(self.rngs) > 1 else self.rngs[0]
        if plan.by_name:
            self.parts["optimizer"] = {"it": self.training.optimizer}

    def outcome(self) -> list[Any]:
        """Return everything that a refused load leaves, and that an accepted one takes over."""
        return [
            outcome(self.training),
            [layer.state_dict() for layer in self.layers.values()] if "layers" in self.parts else None,
            [_generators.state_of(rng) for rng in self.rngs],
        ]

    def use(self, case: Case, bad: str, mutation: str) -> None:
        """Go on with objects that have loaded something made up: they may refuse it, no more."""
        owners = (type(self.training.optimizer).__name__, *(type(s).__name__ for s in self.training.schedules), "drop")
        options: dict[str, Any] = {"bad": bad, "mutation": f"loaded: {mutation}", "may_change": True}
        # Not where something endless may have been loaded: a number of iterations, or of steps to catch up with.
        case.attempt("Optimizer.state_dict", self.training.optimizer.state_dict, owners=owners, **options)
        x = np.ones((4, 3))
        for layer in self.layers.values():
            case.attempt(f"{type(layer).__name__}()", lambda layer=layer: layer(x), owners=("Batch", "Drop"), **options)
        for rng in self.rngs:
            case.attempt(f"{type(rng).__name__}", lambda rng=rng: drawn(rng), expected="accept", **options)


class Plan:
    """How a subject is made, so that another that fits can be made too."""

    def __init__(self, choose: Choices) -> None:
        self.name = choose.of(list(TRAININGS))
        self.layers, self.by_name = choose.one_in(2), choose.one_in(2)
        self.rngs = [choose.below(len(RNGS)) for _ in range(choose.below(3))]


def drawn(rng: Any) -> Any:
    if isinstance(rng, random.Random):
        return [rng.gauss(0, 1), rng.random()]
    if isinstance(rng, np.random.BitGenerator):
        return rng.random_raw(700)
    return [rng.standard_normal(3), rng.bytes(3000)]


class Attack:
    """A folder with a file, saved from objects of a case."""

    def __init__(self, case: Case, folder: Path) -> None:
        choose = case.choose
        self.case, self.folder, self.path = (
            case,
            folder,
            folder / choose.of(["run.ckpt", "run.ckpt", "é", ".x", "a.b.c"]),
        )
        self.plan = Plan(choose)
        self.saved = Subject(self.plan, choose.below(4))
        self.step = choose.of([None, 0, 7, 1 << 53])
        self.extra, _ = value(choose, 0, False)
        self.owners = ("checkpoint.", "flatten", self.path.name, "params", str(folder))
        case.watch(self.saved.outcome)
        case.watch(self.look)
        accepted, _ = case.attempt("save", self.save, expected="accept", may_change=True)
        if not accepted:
            raise Ended
        self.content = self.path.read_bytes()

    def save(self, **options: Any) -> Any:
        arguments = {**self.saved.parts, "extra": self.extra, "step": self.step, **options}
        return checkpoint.save(self.path, **arguments)

    def look(self) -> Any:
        """Return all that is in the folder."""
        found = {}
        for each in sorted(self.folder.rglob("*")):
            found[str(each.relative_to(self.folder))] = each.read_bytes() if each.is_file() else None
        return found

    def load(self, entry: str, subject: Subject, arguments: dict[str, Any], **options: Any) -> tuple[bool, Any]:
        """Load the file into objects; a file whose bytes have changed is refused as damaged, and nothing changes."""
        damaged = options.pop("damaged", False)
        case, watched, errors = self.case, list(self.case.watched), []
        case.watch(subject.outcome)

        def call() -> Any:
            try:
                return checkpoint.load(self.path, **arguments)
            except Exception as error:
                errors.append(error)
                raise

        try:
            result = case.attempt(entry, call, owners=self.owners, quotes=True, **options)
        finally:
            case.watched[:] = watched
        if damaged and errors and not isinstance(errors[0], checkpoint.DamagedError):
            case.fail("WRONG", entry, options["bad"], "-", f"no DamagedError: {errors[0]!r:.200}")
        return result

    def check(self, entry: str, one: Any, other: Any) -> None:
        if frozen(one, False) != frozen(other, False):
            self.case.fail("WRONG", entry, "-", "-", f"{other!r:.200} instead of {one!r:.200}")
            raise Ended


def reading(choose: Choices) -> dict[str, Any]:
    return {"mmap": choose.one_in(3), "verify": not choose.one_in(4)}


def load_again(it: Attack) -> None:
    """What was saved comes back bit for bit, in objects of any other state."""
    choose = it.case.choose
    subject = Subject(it.plan, choose.below(4))
    accepted, found = it.load("load", subject, {**subject.parts, **reading(choose)}, expected="accept")
    if accepted:
        it.check("load", it.saved.outcome(), subject.outcome())
        if not same(found.extra, it.extra) or found.step != it.step:
            it.case.fail("WRONG", "load", "-", "-", f"extra {found.extra!r:.200} instead of {it.extra!r:.200}")


def load_damaged(it: Attack) -> None:
    """A file of which something has been changed, or that somebody has made up."""
    choose = it.case.choose
    name, is_found, damage = choose.of(DAMAGES)
    other = it.content
    if choose.one_in(2):
        other_path = it.folder / "other.ckpt"
        checkpoint.save(other_path, **Subject(Plan(choose), 1).parts, extra=np.arange(choose.below(40)))
        other = other_path.read_bytes()
        other_path.unlink()
    content = damage(choose, it.content, other)
    if content in (it.content, other):
        return
    it.path.write_bytes(content)
    subject = Subject(it.plan, choose.below(3))
    how = {**subject.parts, **reading(choose)}
    if choose.one_in(4):
        how = reading(choose)
    sure = is_found and how["verify"]
    accepted, found = it.load("load", subject, how, bad=name, expected="refuse" if sure else "either", damaged=is_found)
    if accepted:
        for part in ("extra", "params", "optimizer"):
            with suppress(ValueError):  # NumPy writes no dates without units
                repr(getattr(found, part))
        if len(how) > 2:
            subject.use(it.case, "-", name)
    show_file(it.case, it.path, "refuse" if is_found else "either", name)
    it.path.write_bytes(it.content)


def show(it: Attack) -> None:
    show_file(it.case, it.path, "accept")


def show_file(case: Case, path: Path, expected: str = "either", bad: str = "-") -> None:
    """The command prints what is in the file, or says in one line what is wrong."""

    def call() -> str:
        output = io.TextIOWrapper(io.BytesIO(), "utf-8")  # which refuses what a terminal would
        arguments = COMMAND.parse_args(["checkpoint", "show", str(path)])
        with contextlib.redirect_stdout(output):
            arguments.run(arguments)
        output.seek(0)
        return output.read()

    accepted, text = case.attempt("checkpoint show", call, bad=bad, owners=(path.name,), expected=expected, quotes=True)
    if accepted and not all(c.isprintable() or c == "\n" for c in text):
        case.fail("WRONG", "checkpoint show", bad, "-", "it prints control characters")


def load_elsewhere(it: Attack) -> None:
    """The file is whole, and what is to load it is something else."""
    choose = it.case.choose
    subject = Subject(it.plan if choose.one_in(2) else Plan(choose), choose.below(3))
    arguments: dict[str, Any] = {**subject.parts, **reading(choose)}
    key = choose.of([*PARTS[:5], "mmap", "verify"])
    kind = choose.of(["left out", "garbage", "another form", "as it is"])
    bad = f"{key} {kind}"
    if kind == "left out":
        arguments.pop(key, None)
    elif kind == "garbage":
        arguments[key] = choose.of(GARBAGE)
    elif kind == "another form" and key in arguments:
        given = arguments[key]
        arguments[key] = choose.of(
            [[given], (given,), {"x": given}, {0: given}, {"": given, "$a": given}, iter([given])]
        )
    accepted, _ = it.load("load", subject, arguments, bad=bad)
    if accepted and subject.parts.keys() <= arguments.keys() and kind == "as it is":
        it.check("load", outcome(it.saved.training), outcome(subject.training))


def bad_places(it: Attack) -> tuple[Any, str]:
    """Return a path that is none, or one where no file can be, and its name."""
    folder = it.folder
    places: dict[str, Callable[[], Any]] = {
        "None": lambda: None, "number": lambda: 10**6, "bytes": lambda: os.fsencode(folder / "bytes"),
        "list": lambda: [str(folder)], "empty": lambda: "", "NUL": lambda: str(folder / "a\0b"),
        "folder": lambda: folder,
        "no folder": lambda: folder / "none" / "run.ckpt", "below a file": lambda: it.path / "run.ckpt",
        "long": lambda: folder / ("x" * 300), "nearly too long": lambda: folder / ("x" * 240),
        "surrogate": lambda: str(folder / "\ud800"), "no text": lambda: os.fsdecode(os.fsencode(folder) + b"/\xff"),
        "device": lambda: "/dev/null", "full": lambda: "/dev/full", "open file": io.BytesIO,
        "loop": lambda: made("loop"),
        "fifo": lambda: made("fifo"), "PathLike": Strange,
    }  # fmt: skip

    def made(kind: str) -> Path:
        place = folder / kind
        if kind == "loop" and not place.is_symlink():
            place.symlink_to(place)
        elif kind == "fifo" and not place.exists():
            os.mkfifo(place)
        return place

    name = it.case.choose.of(list(places))
    return places[name](), name


class Strange:
    """What says that it is a path, and is none."""

    def __fspath__(self) -> Any:
        return 3


def bad_path(it: Attack) -> None:
    """A path of another type, or to something that is no file."""
    place, name = bad_places(it)
    if it.case.choose.one_in(2):
        arguments = it.saved.parts
        it.case.attempt("load", lambda: checkpoint.load(place, **arguments), bad=f"path: {name}", also=(OSError,),
                        owners=("checkpoint", it.path.name, str(it.folder)), expected="refuse")  # fmt: skip
        tidy(it)
        return
    keep = it.case.choose.of([None, 1, 2])
    accepted, _ = it.case.attempt("save", lambda: checkpoint.save(place, **it.saved.parts, keep=keep),
                                  bad=f"path: {name}", also=(OSError,), owners=("checkpoint",))  # fmt: skip
    if accepted and [each for each in it.folder.iterdir() if each.name.endswith(".tmp")]:
        it.case.fail("CHANGED", "save", f"path: {name}", "-", "a temporary file is left")
    tidy(it)


def tidy(it: Attack) -> None:
    """Remove what a case has put beside its file."""
    for each in set(it.folder.iterdir()) - {it.path}:
        each.unlink()


def save_garbage(it: Attack) -> None:
    """An argument that is garbage, or of another form; a background save raises at once or while it is waited for."""
    choose = it.case.choose
    key = choose.of([*PARTS, "keep", "background"])
    new = choose.of(GARBAGE)
    bad = f"{key} garbage"
    if key == "extra":
        new, bad = value(choose, 0, True)
        bad = f"extra: {bad}"
    options = {"background": choose.one_in(4), key: new}

    def call() -> None:
        saving = it.save(**options)
        if saving is not None:
            saving.wait()

    accepted, _ = it.case.attempt("save", call, bad=bad, owners=("checkpoint.", "flatten"))
    if accepted:
        it.case.attempt("load", lambda: checkpoint.load(it.path), bad=bad, expected="accept")
        it.save()
        it.content = it.path.read_bytes()


def keep_some(it: Attack) -> None:
    """Earlier files, beside others whose names are like theirs."""
    choose, path = it.case.choose, it.path
    kind = choose.of(["folder", "link to nothing", "file", "temporary folder", "temporary fifo"])
    numbered = path.with_name(f"{path.stem}.{choose.of([1, 2, 999_999, 1_000_000]):06d}{path.suffix}")
    beside = path.with_name(f".{path.name}.{'0' * 16}.tmp") if kind.startswith("temporary") else numbered
    if kind.endswith("folder"):
        beside.mkdir()
    elif kind == "file":
        beside.write_bytes(b"x")
    elif kind == "temporary fifo":
        os.mkfifo(beside)
    else:
        beside.symlink_to(it.folder / "nothing")
    keep = choose.of([1, 2, 3])
    before = it.path.read_bytes()
    for _ in range(1 + choose.below(4)):
        if not it.case.attempt("save", lambda: it.save(keep=keep), bad=f"beside: {kind}", expected="accept")[0]:
            if it.path.read_bytes() != before:
                it.case.fail("CHANGED", "save", f"beside: {kind}", "-", "refused, and the file is another")
            raise Ended
    files = [each for each in it.folder.iterdir() if each != beside or kind == "file"]
    if len(files) > keep or any(each.name.endswith(".tmp") for each in files):
        it.case.fail(
            "WRONG", "save", f"beside: {kind}", "-", f"keep={keep} leaves {sorted(each.name for each in files)}"
        )
    for each in files:
        if each.exists() and each.read_bytes() != b"x":
            it.case.attempt("load", lambda each=each: checkpoint.load(each), bad=f"beside: {kind}", expected="accept")
    raise Ended


ATTACKS_ON_FILES: list[Callable[[Attack], None]] = [
    load_again, *[load_damaged] * 6, *[load_elsewhere] * 3, *[save_garbage] * 3, *[bad_path] * 2, keep_some, show,
]  # fmt: skip


def attack(case: Case) -> None:
    """A file saved from a case's objects, and what may be done to it, to them, and to arguments."""
    with tempfile.TemporaryDirectory(prefix="ravine-", dir=FOLDER) as folder:
        it = Attack(case, Path(folder))
        for _ in range(1 + case.choose.below(4)):
            case.choose.of(ATTACKS_ON_FILES)(it)


class Reader:
    """Files that a coverage-guided fuzzer chooses, and objects to load them, made anew where one was accepted."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="ravine-", dir=FOLDER)
        self.path = Path(self._folder.name) / "run.ckpt"
        self._plan = Plan(Choices.seeded(0, 0))
        self._plan.name = next(name for name in TRAININGS if name.startswith("Adam "))
        self._plan.layers, self._plan.rngs = True, [0, 4, 2]
        checkpoint.save(self.path, **Subject(self._plan, 2).parts, extra=[np.ones(2), (1, np.int8(3))], step=1)
        self.content = self.path.read_bytes()
        self._subject = Subject(self._plan, 1)

    def contents(self) -> list[bytes]:
        """Return real checkpoints."""
        made = [self.content]
        for index in range(5):
            choose = Choices.seeded(0, index)
            checkpoint.save(self.path, **Subject(Plan(choose), 1).parts, extra=value(choose, 0, False)[0])
            made.append(self.path.read_bytes())
        return made

    def read(self, data: bytes, is_manifest: bool) -> Case:
        """Load a file, or one that has this for a manifest, and return the case with what it has found."""
        case = Case(Choices.seeded(0, 0))
        subject = self._subject
        case.watch(subject.outcome)
        content = with_text(self.content, data) if is_manifest else data
        self.path.write_bytes(content)
        with contextlib.suppress(Ended):
            accepted, _ = case.attempt(
                "load", lambda: checkpoint.load(self.path, **subject.parts), owners=("checkpoint.", self.path.name),
                quotes=True,
            )  # fmt: skip
            if accepted:
                self._subject = Subject(self._plan, 1)
                subject.use(case, "-", "by coverage")
            show_file(case, self.path)
        return case
