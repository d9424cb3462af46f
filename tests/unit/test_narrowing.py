"""Expressions over the names of points: as pytest reads them, and one line for what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.base.errors import UsageError
from harness.cases.load import load
from harness.plan.narrowing import Narrowing, holding
from harness.plan.points import everything
from tests.helpers import BASELINES

WORDS = ["aa", "bb", "cc"]
EXPRESSIONS = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.one_of(
        st.builds("not {}".format, inner),
        st.builds("({})".format, inner),
        st.builds("{} and {}".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
    ),
)


@given(expression=EXPRESSIONS, there=st.sets(st.sampled_from(WORDS)))
def test_it_holds_as_in_python(expression: str, there: set[str]) -> None:
    wanted = eval(expression, {word: word in there for word in WORDS})  # made of three words
    assert holding(expression)(" ".join(there)) == bool(wanted)


def test_it_is_about_suite_name_point_and_platform() -> None:
    points = everything(load(BASELINES))

    def left(keywords: str, suite: str | None = None) -> set[str]:
        return {f"{each.id} {each.platform}" for each in Narrowing(suite, keywords).of(points)}

    assert left("EAGLE3/known_answer and cpu and not chunked") == {"eagle3/known_answer cpu"}
    assert left("tp=2 and (rocm or cuda)", "eagle3") == {each for each in left("tp=2") if each.startswith("eagle3/")}
    assert left("tp=2", "eagle3") != set()
    assert left("a and not a") == set()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("", "it ends too early"),
        ("a or", "it ends too early"),
        ("(a", "it ends too early"),
        ("a b", "not at 'b'"),
        ("a)", r"not at '\)'"),
        ("and", "not at 'and'"),
        ("not", "it ends too early"),
        ("(" * 100_000, "too many times"),
        ("not " * 100_000, "too many times"),
    ],
)
def test_what_is_no_expression_gets_one_line(wrong: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"^-k: .*{words}"):
        holding(wrong)


def test_a_long_expression_is_read() -> None:
    assert holding(" or ".join(["x"] * 20_000 + ["y"]))("y")
