"""The expressions that `ravine plot` takes."""

from __future__ import annotations

import pytest
from ravine._expressions import evaluate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("-1e-3", -0.001),
        ("[30, 2 * 40]", [30, 80]),
        ("(0.9, 0.99)", (0.9, 0.99)),
        ("None", None),
        ("True", True),
        ("triangular2", "triangular2"),
        ("'cos'", "cos"),
        ("cos(0) + math.sqrt(4) ** 2 // 3 % 2", 2.0),
        ("1 if not 2 < 1 else 0", 1),
        ("max(1, 2)", 2),
    ],
)
def test_expressions(text, value):
    assert evaluate(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os')",
        "().__class__",
        "[x for x in (1, 2)]",
        "open('a')",
        "lambda a, b: a",
        "f(**{})",
        "1 +",
        "math.tau",
    ],
)
def test_expressions_do_not_reach_far(text):
    with pytest.raises(ValueError, match=r"is not understood|is no expression"):
        evaluate(text)
