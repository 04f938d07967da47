"""The command `ravine plot`, and the outputs that the commands which draw refuse."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ravine import cli
from ravine.plot import command
from schedule_helpers import one_group

pytest.importorskip("matplotlib")


def plotted(tmp_path, capsys, *arguments):
    """Return status and message of `ravine plot`, having made sure that a picture is written or not."""
    output = tmp_path / "picture.png"
    try:
        status = cli.main(["plot", *arguments, "--output", str(output)])
    except SystemExit as end:
        status = end.code
    assert output.exists() == (status == 0)
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["OneCycleLR", "max_lr=0.1", "total_steps=100"],
        ["OneCycleLR", "0.1", "50", "anneal_strategy=linear", "three_phase=True"],
        ["StepLR", "step_size=30", "--steps", "90", "--lr", "0.5"],
        ["LambdaLR", "lr_lambda=lambda epoch: 0.65 ** epoch", "--lr", "100", "--steps", "10"],
        ["CyclicLR", "base_lr=0.01", "max_lr=.1", "step_size_up=10", "scale_fn=lambda c: 1 / c if c < 3 else 0.2"],
        ["WarmupStableDecayLR", "5", "5", "5", "decay=1-sqrt"],
        ["SequentialLR", "schedulers=[LinearLR(0.1), CosineAnnealingLR(T_max=95)]", "milestones=[5]"],
        ["ChainedScheduler", "[LinearLR(), WarmupLR(ExponentialLR(0.9), 3, start_factor=0.5)]"],
        ["ReduceLROnPlateau", "patience=3", "--metrics", "lambda t: max(1 / (1 + t), 0.1)"],
        ["SWALR", "0.05"],
    ],
)
def test_plot(arguments, tmp_path, capsys):
    assert plotted(tmp_path, capsys, *arguments) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["StepsLR"], "argument SCHEDULE: invalid choice: 'StepsLR'"),
        (["StepLR"], "StepLR: missing a required argument: 'step_size'; it takes step_size: 'int', gamma"),
        (["StepLR", "step=3"], "StepLR: "),
        (["StepLR", "step_size=0"], "StepLR: step_size=0; expected a whole number, 1 or more."),
        (["StepLR", "step_size=many"], "StepLR: step_size='many' is a str; expected a whole number, 1 or more."),
        (["StepLR", "step_size=3", "0.5"], "'0.5' has no name; arguments without one come first."),
        (["StepLR", "step_size=3", "--steps", "0"], "steps=0; expected a whole number, 1 or more"),
        (["StepLR", "step_size=3", "--lr", "-1"], "SGD: lr=-1.0 is negative"),
        (["CyclicLR", "0", "1", "mode=cats"], "CyclicLR: mode='cats'; expected 'triangular' or"),
        (["LambdaLR", "lr_lambda=0.5"], "LambdaLR: lr_lambda is a float; expected a function of the step."),
        (["LambdaLR", "lr_lambda=lambda t: 1 / t"], "division by zero"),
        (["LambdaLR", "lr_lambda=lambda t: open"], "'open' is not understood; expected numbers, lists, arithmetic"),
        (["LambdaLR", "lr_lambda=lambda t:"], "is no expression; expected a value such as 0.1"),
        (["ReduceLROnPlateau"], "ReduceLROnPlateau depends on the metrics; give metrics="),
        (["SequentialLR", "[LinearLR()]", "[5]"], "SequentialLR: 1 schedulers and 1 milestones"),
        (
            ["SequentialLR", "[LinearLR(start=1)]", "[]"],
            "LinearLR: got an unexpected keyword argument 'start'; it takes",
        ),
    ],
)
def test_arguments_are_checked_by_the_classes(arguments, message, tmp_path, capsys):
    status, printed = plotted(tmp_path, capsys, *arguments)
    assert status == 2
    assert message in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("arguments", [["plot", "StepLR", "3"], ["demo", "schedules"], ["demo", "saddle"]])
def test_outputs_that_cannot_be_written(arguments, tmp_path, capsys):
    for output, message in (("a.bmp", "expected a name that ends in"), ("no/a.png", "there is no folder 'no'")):
        with pytest.raises(SystemExit, match="2"):
            cli.main([*arguments, "--output", output])
        assert f"argument --output: {output!r}; {message}" in capsys.readouterr().err


def test_an_expression_that_is_no_schedule():
    with pytest.raises(ValueError, match="'3' makes no schedule; expected one such as"):
        command.construct("3", one_group())


def test_importing_is_cheap():
    code = """
import sys
import ravine
assert "ravine.plot" not in sys.modules
ravine.plot.SURFACES
import ravine.plot.command, ravine.demo.saddle, ravine.demo.schedules
assert not {"matplotlib", "PIL"} & set(sys.modules)
try:
    ravine.pictures
except AttributeError as error:
    assert "has no attribute 'pictures'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
