"""The commands `ravine checkpoint show` and `ravine demo digits --checkpoint F --resume`."""

from __future__ import annotations

import re

import numpy as np
import pytest
from checkpoint_cases import assert_same
from ravine import checkpoint, cli, nn, optim


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.ckpt"


def test_show(path, capsys):
    w = np.zeros((2, 300), np.float32, order="F")
    optimizer = optim.Adam([w])
    optimizer.step([np.ones_like(w)])
    checkpoint.save(
        path,
        optimizer=optimizer,
        layers={"bn": nn.BatchNorm1d(3), "drop": nn.Dropout()},
        rng=[np.random.default_rng()],
        extra=[np.array(1)],
        step=12,
    )
    assert cli.main(["checkpoint", "show", str(path)]) == 0
    printed = capsys.readouterr().out
    for line in (
        rf"file +{re.escape(str(path))} \({path.stat().st_size:,} bytes\)",
        r"format +1, by ravine [\d.]+",
        r"created +20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00",
        r"step +12",
        r"optimizer +Adam, 2 arrays, 4,800 bytes",
        r"layers +bn: BatchNorm1d, drop: Dropout, 4 arrays, 48 bytes",
        r"rng +PCG64, 0 arrays, 0 bytes",
        r"array +dtype +shape +order +bytes +CRC-32",
        r"optimizer/state/0/exp_avg +float32 +2x300 +F +2,400 +[0-9a-f]{8}  verified",
        r"extra/0 +int64 +0-d +C +8 +[0-9a-f]{8}  verified",
    ):
        assert re.search(f"^{line}$", printed, re.MULTILINE), line
    assert "DAMAGED" not in printed


def test_show_what_no_terminal_should_get(path, capsys):
    checkpoint.save(path, rng={"\ud800\x1b[2J": np.random.default_rng()})
    assert cli.main(["checkpoint", "show", str(path)]) == 0
    assert r"\ud800\x1b[2J: PCG64" in capsys.readouterr().out


def test_show_a_damaged_file(path, capsys):
    checkpoint.save(path, params={"a": np.zeros(100), "b": np.ones(100), "c": np.full(100, 2.0)})
    content = bytearray(path.read_bytes())
    for value in (1.0, 2.0):
        content[content.index(np.full(100, value).tobytes()) + 9] ^= 1
    path.write_bytes(content)
    assert cli.main(["checkpoint", "show", str(path)]) == 1
    captured = capsys.readouterr()
    assert re.search(r"^params/a .*verified$", captured.out, re.MULTILINE)
    assert re.search(r"^params/b .*DAMAGED$", captured.out, re.MULTILINE)
    assert "is damaged: 2 of its 3 arrays have other checksums: params/b, params/c." in captured.err


def test_show_what_is_none(path, capsys):
    path.write_bytes(b"x" * 200)
    assert cli.main(["checkpoint", "show", str(path)]) == 1
    assert "does not end as a checkpoint does: it is truncated or damaged" in capsys.readouterr().err
    assert cli.main(["checkpoint", "show", str(path.with_name("nothing"))]) == 1
    assert "No such file" in capsys.readouterr().err


# --- the demo


@pytest.fixture
def demo(monkeypatch):
    """Return what runs the demo, without its picture."""
    demo_helpers = pytest.importorskip("demo_helpers")
    from ravine import _figures
    from ravine.demo import pictures

    monkeypatch.setattr(pictures, "draw_run", lambda *args: None)
    monkeypatch.setattr(_figures, "save", lambda figure, path: None)
    return demo_helpers.demo


def of_training(path):
    """Return what a training has come to, but for the times that it took."""
    found = checkpoint.load(path)
    record = {name: value for name, value in found.extra["record"].items() if not name.endswith("seconds")}
    return [found.layers, found.optimizer, found.scheduler, found.rng, found.step, record]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--optimizer", "muon"],
        ["--optimizer", "adamw-schedule-free"],
        ["--optimizer", "adam-then-sgd"],
        ["--optimizer", "lbfgs"],
        ["--no-batch-norm", "--batch-size", "100", "--seed", "3"],
        ["--clip-norm", "1", "--ema", "0.99"],
        ["--clip-norm", "1", "--ema", "0.9", "--optimizer", "muon"],
        ["--clip-norm", "1", "--ema", "0.9", "--optimizer", "adam-then-sgd"],
    ],
    ids=lambda arguments: " ".join(arguments) or "defaults",
)
def test_resuming_is_as_if_it_had_never_stopped(arguments, demo, path, capsys):
    straight = path.with_name("straight.ckpt")
    assert demo(*arguments, "--epochs", 4, "--checkpoint", straight) == 0
    reported = r"^held-out accuracy .*$(?:\n^(?:averaged|gradients) .*$)*"
    expected = re.search(reported, capsys.readouterr().out, re.MULTILINE)[0]
    assert expected.count("\n") == arguments.count("--clip-norm") + arguments.count("--ema")
    assert demo(*arguments, "--epochs", 1, "--checkpoint", path, "--resume") == 0  # there is none yet
    assert demo(*arguments, "--epochs", 3, "--checkpoint", path, "--resume") == 0
    assert f"{path}, gone on with after 1 epoch\n" in capsys.readouterr().out
    assert demo(*arguments, "--epochs", 4, "--checkpoint", path, "--resume") == 0
    printed = capsys.readouterr().out
    assert f"{path}, gone on with after 3 epochs\n" in printed
    assert expected in printed
    assert_same(of_training(path), of_training(straight))
    assert demo(*arguments, "--epochs", 4, "--checkpoint", path, "--resume") == 0  # nothing is left to do
    assert expected in capsys.readouterr().out


def test_a_checkpoint_of_other_settings_is_refused(demo, path, capsys):
    assert demo("--epochs", 1, "--checkpoint", path) == 0
    before = path.read_bytes()
    assert demo("--epochs", 2, "--checkpoint", path, "--resume", "--lr", "0.1", "--model", "cnn", "--seed", 1) == 1
    message = capsys.readouterr().err
    assert "is of a training with model mlp (now cnn), lr 0.004 (now 0.1), seed 0 (now 1)." in message
    assert demo("--epochs", 2, "--checkpoint", path, "--resume", "--clip-norm", 1, "--ema", 0.9) == 1
    assert "is of a training with clip_norm None (now 1.0), ema None (now 0.9)." in capsys.readouterr().err
    assert path.read_bytes() == before
    assert demo("--epochs", 1, "--checkpoint", path, "--lr", "0.1") == 0  # without --resume it begins anew
    assert checkpoint.load(path).extra["settings"]["lr"] == 0.1


def test_a_file_of_something_else_is_refused(demo, path, capsys):
    checkpoint.save(path, extra=[1])
    assert demo("--epochs", 1, "--checkpoint", path, "--resume") == 1
    assert "was not written by `ravine demo digits`; give another file to --checkpoint" in capsys.readouterr().err
    path.write_bytes(path.read_bytes()[:-1])
    assert demo("--epochs", 1, "--checkpoint", path, "--resume") == 1
    assert "truncated or damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "argument --resume: give the file with --checkpoint"),
        (
            ["--checkpoint", "nowhere/run.ckpt"],
            "--checkpoint: 'nowhere/run.ckpt'; there is no folder 'nowhere'",
        ),
        (
            ["--checkpoint", "run.ckpt", "--compare"],
            "--checkpoint: not allowed with --compare, which has many",
        ),
    ],
)
def test_bad_arguments(arguments, message, demo, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        demo(*arguments)
    assert message in capsys.readouterr().err
