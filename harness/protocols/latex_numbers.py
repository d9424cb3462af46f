r"""Numbers in ``\boxed{…}``, as the last line of an answer to a mathematical question has them."""

from __future__ import annotations

import ast
import operator
import re
from fractions import Fraction

_UNIT = re.compile(r"\\(?:text|mathrm)\{[^{}]*[a-zA-Z][^{}]*\}\s*$")
_STYLE = re.compile(r"\\(?:text|textbf|mathrm|mathbf|boxed)\{([^{}]*)\}")
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_EQUATION = re.compile(r"^\s*[a-zA-Z]\s*=")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LONGEST = 1000  # characters; what is longer is no number, and patterns would take their time over it
_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def boxed(text: str) -> str | None:
    r"""What stands in the last ``\boxed{…}``; None if there is none, or if it does not end."""
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    depth = 0
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if text[index] == "}" and depth == 0:
            return text[start + len(r"\boxed{") : index]
    return None


def number(latex: str) -> Fraction | None:
    """The number that LaTeX says, with or without a unit, a currency or a style; None if it says none."""
    if len(latex) > _LONGEST:
        return None
    plain = _UNIT.sub("", latex.replace(r"\ ", " "))
    plain = _STYLE.sub(r"\1", plain)
    plain = _FRACTION.sub(r"((\1)/(\2))", plain)
    plain = _EQUATION.sub("", plain)
    for junk in (r"\$", "$", r"\%", "%", r"^\circ", r"^{\circ}", r"\!"):
        plain = plain.replace(junk, "")
    plain = _THOUSANDS.sub("", plain.replace("{,}", ",")).replace(r"\times", "*").replace(r"\cdot", "*")
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", plain).strip().rstrip(".")
    try:
        return _value(ast.parse(plain, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return Fraction(str(value))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _OPERATORS:
            return Fraction(_OPERATORS[type(operation)](_value(left), _value(right)))
    raise ValueError("no number")
