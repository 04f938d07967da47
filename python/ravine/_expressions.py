"""Arguments from the command line: Python's expressions without their reach."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_MATH = {
    name: getattr(math, name) for name in ("cos", "sin", "exp", "log", "sqrt", "floor", "ceil", "pi", "inf", "nan")
}
_NAMES: dict[str, Any] = {**_MATH, "abs": abs, "min": min, "max": max}


def evaluate(text: str, names: Mapping[str, Any] | None = None) -> Any:
    """Return the value of an expression.

    Numbers, strings, True, False, None, lists, tuples, arithmetic, comparisons, conditions, lambda, and calls of
    functions of `math` and of `names`. A single word that is none of these stands for itself, as a string.

    Args:
        text: the expression.
        names: what it may refer to besides functions of `math`.

    Raises:
        ValueError: it is none, or has something else in it.
    """
    known = {**_NAMES, **(names or {})}
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        tree = None
    plain = re.fullmatch(r"[\w-]*[A-Za-z][\w-]*", text)
    if plain and (tree is None or any(n.id not in known for n in ast.walk(tree) if isinstance(n, ast.Name))):
        return text
    if tree is None:
        raise ValueError(f"{text!r} is no expression; expected a value such as 0.1, [30, 80] or 'lambda t: 0.9 ** t'.")
    try:
        return _value(tree, known, text)
    except TypeError:
        if plain:  # such as 1-sqrt, a name that only looks like arithmetic
            return text
        raise


def _value(node: ast.expr, names: Mapping[str, Any], text: str) -> Any:  # noqa: PLR0911  (one for each kind of node)
    def value(inner: ast.expr) -> Any:
        return _value(inner, names, text)

    match node:
        case ast.Constant():
            return node.value
        case ast.List():
            return [value(item) for item in node.elts]
        case ast.Tuple():
            return tuple(value(item) for item in node.elts)
        case ast.UnaryOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](value(node.operand))
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](value(node.left), value(node.right))
        case ast.Compare(ops=[op], comparators=[right]) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](value(node.left), value(right))
        case ast.IfExp():
            return value(node.body if value(node.test) else node.orelse)
        case ast.Name() if node.id in names:
            return names[node.id]
        case ast.Attribute(value=ast.Name(id="math")) if node.attr in _MATH:
            return _MATH[node.attr]
        case ast.Lambda(args=ast.arguments(args=[argument], posonlyargs=[], kwonlyargs=[], vararg=None, kwarg=None)):
            return lambda x: _value(node.body, {**names, argument.arg: x}, text)
        case ast.Call() if all(keyword.arg for keyword in node.keywords):
            function = value(node.func)
            keywords = {str(keyword.arg): value(keyword.value) for keyword in node.keywords}
            return function(*(value(item) for item in node.args), **keywords)
    raise ValueError(
        f"{text!r}: {ast.unparse(node)!r} is not understood; expected numbers, lists, arithmetic, lambda, functions of "
        "math, and schedules."
    )
