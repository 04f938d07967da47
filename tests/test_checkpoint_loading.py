"""What a checkpoint holds comes back; what does not fit is listed, all of it, and changes nothing."""

from __future__ import annotations

import json
import os
import random
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from checkpoint_cases import assert_same
from fuzz.checkpoint_files import changed_somewhere, manifest_of, rebuilt
from fuzz.choices import Choices
from ravine import checkpoint, nn, optim
from ravine.checkpoint import _format, _generators, _load
from ravine.optim.lr_scheduler import ExponentialLR, StepLR
from test_engine_interrupted import Interrupting


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.ckpt"


class Training:
    """One of everything, after some steps."""

    def __init__(self, steps=0):
        self.w = np.ones((2, 3))
        self.v = nn.Parameter(np.asfortranarray(np.ones((2, 2), np.float32)))
        self.optimizer = optim.Adam({"w": self.w, "v": self.v}, lr=0.1)
        self.scheduler = ExponentialLR(self.optimizer, 0.5)
        self.bn = nn.BatchNorm1d(3, dtype=np.float64)
        self.drop = nn.Dropout(0.5, seed=1)
        self.rng = np.random.default_rng(2)
        for _ in range(steps):
            self.bn(self.drop(self.rng.standard_normal((4, 3))))
            self.optimizer.step({"w": self.rng.standard_normal((2, 3)), "v": np.ones((2, 2), np.float32)})
            self.scheduler.step()

    def parts(self):
        return {
            "params": {"w": self.w, "v": self.v},
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "layers": {"bn": self.bn, "drop": self.drop},
            "rng": self.rng,
        }

    def outcome(self):
        return [
            self.w.copy(),
            self.v.data.copy(order="K"),
            self.optimizer.state_dict(),
            self.scheduler.state_dict(),
            self.bn.state_dict(),
            self.drop.state_dict(),
            self.rng.bit_generator.state,
        ]


def test_everything_comes_back(path):
    trained, new = Training(3), Training()
    checkpoint.save(path, **trained.parts(), extra={"losses": [1.5, (2, "x")], "table": np.arange(3)}, step=3)
    found = checkpoint.load(path, **new.parts())
    assert_same(new.outcome(), trained.outcome())
    assert_same(found.extra, {"losses": [1.5, (2, "x")], "table": np.arange(3)})
    assert (found.step, found.version, found.path) == (3, 1, path)
    assert found.created.endswith("+00:00")
    assert found.classes == {
        "optimizer": "Adam",
        "scheduler": "ExponentialLR",
        "layers": {"bn": "BatchNorm1d", "drop": "Dropout"},
        "rng": "PCG64",
    }


def test_loading_without_objects_only_reads(path):
    trained = Training(3)
    before = trained.outcome()
    checkpoint.save(path, **trained.parts())
    found = checkpoint.load(str(path))
    assert_same(found.optimizer, trained.optimizer.state_dict())
    assert_same(found.scheduler, trained.scheduler.state_dict())
    assert_same(found.layers, {"bn": trained.bn.state_dict(), "drop": trained.drop.state_dict()})
    assert_same(found.rng, trained.rng.bit_generator.state)
    assert_same(found.params, {"w": trained.w, "v": trained.v.data})
    assert found.step is found.extra is None
    assert_same(trained.outcome(), before)
    found.params["w"][:] = 0  # its own memory, which may be written
    assert_same(trained.outcome(), before)


def test_an_optimizer_that_is_given_twice(path):
    trained, new = Training(3), Training()
    checkpoint.save(path, optimizer=[trained.optimizer] * 2)
    checkpoint.load(path, optimizer=[new.optimizer] * 2)
    assert_same(new.optimizer.state_dict(), trained.optimizer.state_dict())


def test_a_part_of_it(path):
    trained, new = Training(3), Training()
    checkpoint.save(path, **trained.parts())
    checkpoint.load(path, params=new.parts()["params"])
    np.testing.assert_array_equal(new.w, trained.w)
    assert new.optimizer.state_dict()["state"] == {}


@pytest.mark.parametrize("form", ["one", "list", "tuple", "dict"])
def test_one_several_and_several_by_name(form, path):
    def formed(objects):
        forms = {"one": lambda o: o[0], "list": list, "tuple": tuple, "dict": lambda o: dict(zip("ab", o, strict=True))}
        return forms[form](objects)

    def make(steps):
        trainings = [Training(steps + i) for i in range(2)]
        parts = {name: formed([t.parts()[name] for t in trainings]) for name in ("optimizer", "scheduler", "rng")}
        return trainings, {**parts, "layers": formed([t.bn for t in trainings])}

    trained, parts = make(3)
    checkpoint.save(path, **parts)
    new, parts = make(0)
    checkpoint.load(path, **parts)
    for one, other in list(zip(new, trained, strict=True))[: 1 if form == "one" else 2]:
        for i in (2, 3, 4, 6):
            assert_same(one.outcome()[i], other.outcome()[i])


TABLE = np.zeros(3)
PARAMS = {
    "list": lambda a, b: [a, b],
    "dict": lambda a, b: {"a": a, "b": b},
    "pairs": lambda a, b: [("a", a), ("b", b)],
    "Parameters": lambda a, b: [nn.Parameter(a), nn.Parameter(b, name="b")],
    "groups": lambda a, b: [{"params": [a], "lr": 0.1}, {"params": {"b": b}}],
    "generator": lambda a, b: (x for x in (a, b)),
}


@pytest.mark.parametrize("later", PARAMS)
@pytest.mark.parametrize("form", PARAMS)
def test_parameters_in_every_form_of_an_optimizer(form, later, path):
    a, b = np.arange(3.0), np.asfortranarray(np.arange(4, dtype=np.float32).reshape(2, 2))
    checkpoint.save(path, params=PARAMS[form](a, b))
    c, d = np.zeros(3), np.zeros((2, 2), np.float32)
    checkpoint.load(path, params=PARAMS[later](c, d))
    np.testing.assert_array_equal(c, a)
    np.testing.assert_array_equal(d, b)


def test_parameters_are_found_by_name(path):
    checkpoint.save(path, params={"a": np.ones(2), "b": np.zeros(2)})
    a, b = np.full(2, 5.0), np.full(2, 5.0)
    checkpoint.load(path, params={"b": b, "a": a})
    assert (a.tolist(), b.tolist()) == ([1, 1], [0, 0])


GENERATORS = {
    "PCG64": np.random.default_rng,
    "MT19937": lambda: np.random.Generator(np.random.MT19937()),
    "Philox": lambda: np.random.Generator(np.random.Philox()),
    "SFC64": lambda: np.random.Generator(np.random.SFC64()),
    "bit generator": np.random.PCG64DXSM,
    "RandomState": np.random.RandomState,
    "random.Random": random.Random,
}


def draw(rng):
    if isinstance(rng, random.Random):
        return [rng.gauss(0, 1), rng.random()]
    if isinstance(rng, np.random.BitGenerator):
        return rng.random_raw(3).tolist()
    return [*rng.standard_normal(3), *rng.permutation(9)]


@pytest.mark.parametrize("name", GENERATORS)
def test_every_kind_of_generator(name, path):
    rng, other = GENERATORS[name](), GENERATORS[name]()
    draw(rng)
    checkpoint.save(path, rng=rng)
    expected = draw(rng)
    checkpoint.load(path, rng=other)
    assert draw(other) == expected


@pytest.mark.parametrize("name", GENERATORS)
def test_a_damaged_state_of_a_generator(name, path):
    rng = GENERATORS[name]()
    before = _generators.state_of(rng)
    checkpoint.save(path, rng=rng)
    content = path.read_bytes()
    manifest = manifest_of(content)
    manifest["parts"]["rng"] = {"state": 3}
    path.write_bytes(rebuilt(content, manifest))
    with pytest.raises(ValueError, match="rng: this is no state of "):
        checkpoint.load(path, rng=rng)
    assert_same(_generators.state_of(rng), before)


@pytest.mark.parametrize(
    ("name", "place", "junk"),
    [
        ("MT19937", ("state", "pos"), 2**31 - 1),
        ("MT19937", ("state", "pos"), -1),
        ("RandomState", ("state", "pos"), 625),
        ("Philox", ("buffer_pos",), -(2**31)),
        ("Philox", ("buffer_pos",), 5),
        ("random.Random", ("$tuple", 2), "x"),
    ],
)
def test_a_state_of_a_generator_that_reads_beyond_its_numbers(name, place, junk, path):
    """NumPy takes it over, and reads foreign memory at the next number."""
    rng = GENERATORS[name]()
    before = _generators.state_of(rng)
    checkpoint.save(path, rng=rng)
    content = path.read_bytes()
    manifest = manifest_of(content)
    inner = manifest["parts"]["rng"]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = junk
    path.write_bytes(rebuilt(content, manifest))
    with pytest.raises(ValueError, match=r"rng: this is no state of .*: its (place|next)"):
        checkpoint.load(path, rng=rng)
    assert_same(_generators.state_of(rng), before)


def test_views_and_both_orders_in_extra(path):
    base = np.arange(24).reshape(4, 6)
    extra = [base[::2, 1::2], base.T, base[::-1]]
    checkpoint.save(path, extra=extra)
    for one, other in zip(checkpoint.load(path).extra, extra, strict=True):
        np.testing.assert_array_equal(one, other)
    assert checkpoint.load(path).extra[1].flags.f_contiguous


# --- the file


def test_others_can_read_it(path):
    w = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    checkpoint.save(path, params={"w": w}, extra=[np.arange(2)])
    with np.load(path, allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["params/w"], w)
        assert loaded["params/w"].flags.f_contiguous
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["params/w.npy", "extra/0.npy", "manifest.json"]
        assert json.loads(archive.read("manifest.json"))["format"] == "ravine checkpoint"


def test_mapped_arrays_are_views_of_the_file(path):
    w = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    checkpoint.save(path, params=[w], extra=np.zeros((0, 3)))
    found = checkpoint.load(path, mmap=True)
    np.testing.assert_array_equal(found.params[0], w)
    assert found.extra.shape == (0, 3)
    assert found.params[0].flags.f_contiguous
    assert not found.params[0].flags.writeable
    assert found.params[0].__array_interface__["data"][0] % 64 == 0
    checkpoint.save(path, params=[w + 1])  # a new file; the old one is there as long as it is mapped
    np.testing.assert_array_equal(found.params[0], w)


def test_mapped_arrays_load_into_objects(path):
    trained, new = Training(3), Training()
    checkpoint.save(path, **trained.parts())
    checkpoint.load(path, mmap=True, **new.parts())
    assert_same(new.outcome(), trained.outcome())
    new.optimizer.step({"w": np.ones((2, 3)), "v": np.ones((2, 2), np.float32)})


@pytest.mark.parametrize("mmap", [False, True])
def test_what_verifying_costs_may_be_saved(mmap, path):
    checkpoint.save(path, params=[np.zeros(100)])
    content = bytearray(path.read_bytes())
    content[content.index(bytes(800)) + 3] = 1
    path.write_bytes(content)
    with pytest.raises(checkpoint.DamagedError, match=r"1 of its 1 arrays have other checksums: params/0"):
        checkpoint.load(path, mmap=mmap)
    assert np.count_nonzero(checkpoint.load(path, mmap=mmap, verify=False).params[0]) == 1


def small_file(path):
    trained = Training(2)
    checkpoint.save(path, optimizer=trained.optimizer, layers=[trained.drop], extra={"a": np.ones(2), "π": 1}, step=2)
    return path.read_bytes()


@pytest.mark.parametrize(("mmap", "every"), [(False, 1), (True, 7)])
def test_any_changed_byte_is_found(mmap, every, path):
    content = small_file(path)
    new = Training()
    before = new.outcome()
    for i in range(0, len(content), every):
        path.write_bytes(content[:i] + bytes([content[i] ^ 1 << i % 8]) + content[i + 1 :])
        with pytest.raises(checkpoint.DamagedError, match=r"run\.ckpt"):
            checkpoint.load(path, mmap=mmap, optimizer=new.optimizer, layers=[new.drop])
    assert_same(new.outcome(), before)


def test_any_truncated_or_longer_file_is_found(path):
    content = small_file(path)
    for i in range(0, len(content), 3):
        path.write_bytes(content[:i])
        with pytest.raises(checkpoint.DamagedError):
            checkpoint.load(path)
    for changed in (content + b"\n", content + content, b"x" + content, content[100:], b"", bytes(5000)):
        path.write_bytes(changed)
        with pytest.raises(checkpoint.DamagedError):
            checkpoint.load(path)


def test_another_kind_of_file(path):
    with path.open("wb") as file:
        np.savez(file, a=np.ones(2))
    with pytest.raises(checkpoint.DamagedError, match="truncated or damaged, or another kind of file"):
        checkpoint.load(path)


def test_a_newer_format_is_refused_by_name(path):
    checkpoint.save(path, extra=1)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"ravine checkpoint 0001", b"ravine checkpoint 0002"))
    with pytest.raises(checkpoint.DamagedError, match="is a checkpoint of format 2; this version of ravine reads form"):
        checkpoint.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    descriptor = os.open(path, os.O_RDWR)  # so that nobody waits here either
    try:
        with pytest.raises(OSError, match="no regular file"):
            checkpoint.load(path)
    finally:
        os.close(descriptor)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.ckpt"):
        checkpoint.load(tmp_path / "nothing.ckpt")


# --- what does not fit


def test_all_mismatches_of_all_parts_are_listed_and_nothing_changes(path):
    checkpoint.save(path, **Training(3).parts())
    new = Training(1)
    w = np.ones((2, 2))
    parts = {
        "params": {"w": w, "u": np.ones(2)},
        "optimizer": optim.Adam({"w": w, "v": new.v}),
        "scheduler": StepLR(new.optimizer, 3),
        "layers": {"bn": nn.BatchNorm1d(4), "extra": new.drop},
        "rng": [new.rng],
    }
    states = [parts[name].state_dict() for name in ("optimizer", "scheduler")]
    before = new.outcome()
    with pytest.raises(ValueError, match="does not fit, and nothing has been changed") as raised:
        checkpoint.load(path, **parts)
    message = str(raised.value)
    for part in (
        "params['u'] has not been saved",
        "params['v'] has been saved; nothing is given for it",
        "params['w'] is float64, shape (2, 2); float64, shape (2, 3) was saved",
        "optimizer: params[0] ('w'): state 'exp_avg' is float64, shape (2, 3)",
        "optimizer: params[0] ('w'): state 'exp_avg_sq' is float64, shape (2, 3)",
        "scheduler is StepLR; ExponentialLR was saved",
        "layers['extra'] has not been saved",
        "layers['drop'] (Dropout) has been saved; nothing is given for it",
        "layers['bn']: 'weight' is float64, shape (3,); expected float32, shape (4,)",
        "layers['bn']: 'running_var' is float64, shape (3,); expected float32, shape (4,)",
        "rng: one object was saved; a list is to be loaded",
    ):
        assert part in message, part
    assert [parts[name].state_dict() for name in ("optimizer", "scheduler")] == states
    assert_same(new.outcome(), before)


def test_a_part_that_was_not_saved(path):
    checkpoint.save(path, extra=1)
    new = Training()
    with pytest.raises(ValueError, match="params: none was saved\n  optimizer: none was saved"):
        checkpoint.load(path, optimizer=new.optimizer, params=[new.w])


@pytest.mark.parametrize(
    ("saved", "given", "message"),
    [
        ({"params": [np.ones(2)]}, {"params": [np.ones(2), np.ones(3)]}, "params: 1 have been saved; 2 are to be"),
        ({"params": [np.ones(2)]}, {"params": [np.ones(2, np.float32)]}, r"params\[0\] is float32, .*; float64, shape"),
        ({"rng": np.random.default_rng()}, {"rng": random.Random()}, "rng is Random; PCG64 was saved"),
        ({"optimizer": optim.Adam([np.ones(1)])}, {"optimizer": optim.SGD([np.ones(1)])}, "optimizer is SGD; Adam was"),
        ({"layers": [nn.Dropout()]}, {"layers": []}, r"layers\[0\] \(Dropout\) has been saved; nothing is given"),
    ],
    ids=["count", "dtype", "rng", "class", "missing"],
)  # fmt: skip
def test_mismatches(saved, given, message, path):
    checkpoint.save(path, **saved)
    with pytest.raises(ValueError, match=message):
        checkpoint.load(path, **given)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"optimizer": 3},
            TypeError,
            r"optimizer is a int; expected an optimizer of ravine\.optim, a GradScaler or an Accumulator, a list",
        ),
        ({"optimizer": [optim.Adam([np.ones(1)]), None]}, TypeError, r"optimizer\[1\] is a NoneType; expected an opt"),
        ({"scheduler": {"a": 3}}, TypeError, r"scheduler\['a'\] is a int; expected a schedule"),
        ({"layers": nn.Parameter(np.ones(1))}, TypeError, r"layers is a .*Parameter; expected a layer of ravine\.nn"),
        ({"rng": 7}, TypeError, r"rng is a int; expected a random number generator"),
        ({"rng": {1: random.Random()}}, TypeError, r"rng has the key 1; expected names"),
        ({"params": np.ones(2)}, TypeError, r"params is float64, shape \(2,\); expected a list of arrays"),
        ({"params": [np.ones(2, int)]}, TypeError, r"params\[0\] \(int64, shape \(2,\)\): int64 is not supported"),
        ({"params": [("a", np.ones(2)), ("a", np.ones(2))]}, ValueError, "two parameters are named 'a'"),
        ({"params": [TABLE, TABLE[1:]]}, ValueError, r"params\[0\] and params\[1\] share memory"),
        ({"extra": {"f": print}}, TypeError, r"extra.*is a builtin_function_or_method; expected None, True or False"),
        ({"step": 1.5}, ValueError, r"checkpoint\.save: step=1\.5; expected a whole number"),
        ({"keep": 0}, ValueError, r"checkpoint\.save: keep=0; expected a whole number, 1 or more"),
        ({"background": "yes"}, TypeError, r"checkpoint\.save: background='yes'; expected True or False"),
    ],
)
def test_what_cannot_be_saved(arguments, error, message, path):
    with pytest.raises(error, match=message):
        checkpoint.save(path, **arguments)
    assert list(path.parent.iterdir()) == []


class Linear(nn.Layer):
    """A layer of somebody who has not said what its state is."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(np.ones(2))

    def named_parameters(self):
        yield "weight", self.weight


def test_parameters_of_layers_that_would_be_lost(path):
    layers = {"a": nn.BatchNorm1d(2), "b": Linear()}
    with pytest.raises(TypeError, match=r"layers\['b'\] \(Linear\) has parameters \(weight\) that its state"):
        checkpoint.save(path, layers=layers)
    with pytest.raises(TypeError, match=r"layers \(Linear\) has parameters"):
        checkpoint.save(path, layers=layers["b"], params=[np.ones(2)])
    checkpoint.save(path, layers=layers, params=layers["b"].parameters())


def test_not_in_the_middle_of_a_step(path):
    trained = Training(1)
    checkpoint.save(path, **trained.parts())
    before = trained.outcome()

    def closure():
        with pytest.raises(RuntimeError, match="in the middle of a step"):
            checkpoint.load(path, **trained.parts())
        assert_same(trained.outcome(), before)

    trained.optimizer.step({"w": None, "v": None}, closure)


# --- files that somebody has made up


def test_a_manifest_of_somebody_else_raises_nothing_but_value_errors(path):
    trained = Training(2)
    checkpoint.save(path, **trained.parts(), extra=[np.ones(2), (1, np.int8(3))], step=1)
    content = path.read_bytes()
    manifest = manifest_of(content)
    assert rebuilt(content, manifest) == content
    rng, new = random.Random(0), Training()
    before, refused = new.outcome(), 0
    for _ in range(1000):
        path.write_bytes(rebuilt(content, changed_somewhere(Choices(rng.randrange), manifest)))
        try:
            checkpoint.load(path, mmap=rng.random() < 0.5, **new.parts())
        except ValueError:
            refused += 1
            assert_same(new.outcome(), before)
        else:
            new = Training()
    assert 400 < refused < 900


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "|O8"}, "unknown dtype or order"),
        ({"dtype": "V8"}, "unknown dtype or order"),
        ({"dtype": "<f4,<f4"}, "unknown dtype or order"),
        ({"order": "A"}, "unknown dtype or order"),
        ({"shape": [-2]}, "negative size"),
        ({"shape": [3]}, "another size than its shape"),
        ({"bytes": 2**40, "shape": [2**37]}, "do not begin 'extra.npy'"),
        ({"bytes": 2**70, "shape": [2**67]}, "its manifest cannot be"),
        ({"crc32": 2**40}, "its manifest cannot be"),
        ({"start": 0}, "do not begin 'extra.npy'"),
    ],
    ids=str,
)
def test_an_array_of_somebody_else(change, message, path):
    checkpoint.save(path, extra=np.ones(2))
    content = path.read_bytes()
    manifest = manifest_of(content)
    manifest["arrays"]["extra"].update(change)
    path.write_bytes(rebuilt(content, manifest))
    with pytest.raises(checkpoint.DamagedError, match=message):
        checkpoint.load(path)


@pytest.mark.parametrize("mmap", [False, True])
def test_text_that_is_none(mmap, path):
    text = np.array(["a", "b"])
    checkpoint.save(path, extra=[text, text[0]])
    path.write_bytes(path.read_bytes().replace(text.tobytes()[:4], b"\xff" * 4))
    with pytest.raises(checkpoint.DamagedError, match="cannot be: it is no text"):
        checkpoint.load(path, mmap=mmap, verify=False)


@pytest.mark.parametrize("start", [0, 64, 2**63, 2**64 - 1])
@pytest.mark.parametrize("size", [0, 1, 2**40, 2**63, 2**64 - 1])
def test_a_footer_of_somebody_else(start, size, path):
    content = small_file(path)
    manifest = _format.Member(_format.MANIFEST, start, size, 0)
    path.write_bytes(content[: -_format.FOOTER_BYTES] + _format._footer(manifest, len(content)))
    with pytest.raises(checkpoint.DamagedError):
        checkpoint.load(path)


# --- interruptions


@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
def test_an_interrupted_load_takes_over_all_or_nothing(kind, path, monkeypatch):
    """While objects are written: until then, nothing is."""
    make = _load.make_all
    trained = Training(3)
    checkpoint.save(path, **trained.parts())
    loaded = trained.outcome()
    seen = []
    for n in range(1, 5000, 5 if kind == "settrace" else 1):
        interrupting = Interrupting(kind, n)

        def interrupted(changes, interrupting=interrupting):
            with interrupting:
                make(changes)

        monkeypatch.setattr(_load, "make_all", interrupted)
        new = Training(1)
        before = new.outcome()
        with suppress(KeyboardInterrupt):
            checkpoint.load(path, **new.parts())
        if not interrupting.done:
            break
        after = new.outcome()
        seen.append(str(after) != str(before))
        assert_same(after, loaded if seen[-1] else before)
        new.scheduler.step()
        new.optimizer.step({"w": np.ones((2, 3)), "v": np.ones((2, 2), np.float32)})
    assert seen.count(False) > 50


@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
def test_an_interruption_while_it_is_taken_back(kind, path):
    checkpoint.save(path, **Training(3).parts())
    for n in range(1, 5000):
        new = Training(1)
        before = new.outcome()
        interrupting = Interrupting(kind, n)

        def fail(optimizer, interrupting=interrupting):
            interrupting.__enter__()
            raise ZeroDivisionError

        new.optimizer.register_load_state_dict_post_hook(fail)
        with pytest.raises((ZeroDivisionError, KeyboardInterrupt)):
            checkpoint.load(path, **new.parts())
        interrupting.__exit__()
        if not interrupting.done:
            break
        if n > 4:  # before the first line of taking back there is no help
            assert_same(new.outcome(), before)
    assert n > 20


@pytest.mark.parametrize("name", GENERATORS)
def test_an_error_takes_generators_back(name, path):
    class Failing(random.Random):
        armed = False

        def setstate(self, state):
            if self.armed:
                raise ZeroDivisionError
            super().setstate(state)

    rngs = [GENERATORS[name](), Failing()]
    checkpoint.save(path, rng=rngs)
    draw(rngs[0])
    before = _generators.state_of(rngs[0])
    rngs[1].armed = True
    with pytest.raises(ZeroDivisionError):
        checkpoint.load(path, rng=rngs)
    assert_same(_generators.state_of(rngs[0]), before)


def test_an_error_in_a_hook_takes_everything_back(path):
    checkpoint.save(path, **Training(3).parts())
    new = Training(1)
    before = new.outcome()
    new.optimizer.register_load_state_dict_post_hook(lambda optimizer: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        checkpoint.load(path, **new.parts())
    assert_same(new.outcome(), before)
