r"""Numbers in ``\boxed{…}``, against what sgl-eval 0.1.3's own grader (math-verify) said about the same texts."""

from __future__ import annotations

import pytest

from harness import protocols
from harness.datasets import gsm8k
from harness.datasets.pinned_files import GSM8K_TEST
from harness.protocols import gsm8k_boxed, gsm8k_sgl_eval, latex_numbers

EVALUATION = gsm8k_sgl_eval.Gsm8kSglEval(
    protocol="gsm8k_sgl_eval", items=1319, max_tokens=2048, concurrency=128, send_to="entry"
)

STEPS = gsm8k_boxed.Gsm8kBoxed(protocol="gsm8k_boxed", items=200, max_tokens=2048, concurrency=1, send_to="entry")

# Recorded from that grader: the text, and which of 18, 1800 and 18000 it takes for equal.
GRADED: list[tuple[str, str]] = [
    (r"so \boxed{18}", "18"),
    (r"\boxed{18.0}", "18"),
    (r"\boxed{\$18}", "18"),
    (r"\boxed{18\text{ dollars}}", "18"),
    (r"\boxed{1,800}", "1800"),
    (r"\boxed{18.}", "18"),
    (r"\boxed{18\%}", "18"),
    (r"\boxed{018}", "18"),
    (r"\boxed{\frac{36}{2}}", "18"),
    (r"\boxed{\dfrac{36}{2}}", "18"),
    (r"\boxed{18 \text{ apples}}", "18"),
    ("no box 18", ""),
    (r"\boxed{19} then \boxed{18}", "18"),
    (r"\boxed{ 18 }", "18"),
    (r"\boxed{-18}", ""),
    (r"\boxed{x = 18}", "18"),
    (r"\boxed{18 dollars}", ""),
    (r"\boxed{eighteen}", ""),
    (r"\boxed{}", ""),
    (r"\boxed{18", ""),
    (r"\boxed{\text{18}}", "18"),
    (r"\boxed{1{,}800}", "1800"),
    (r"\boxed{18^\circ}", "18"),
    (r"\boxed{18\ \text{km}}", "18"),
    (r"\boxed{36/2}", "18"),
    (r"\boxed{17.999}", ""),
    (r"\boxed{18.00}", "18"),
    (r"\boxed{\$1,800.00}", "1800"),
    (r"\boxed{18\,000}", ""),
    (r"\boxed{2 \times 9}", "18"),
    (r"\boxed{18 + 0}", "18"),
    (r"\boxed{\boxed{18}}", "18"),
    (r"\fbox{18}", ""),
    (r"\boxed{\$18.00}", "18"),
    (r"\boxed{18 \%}", "18"),
    (r"\boxed{£18}", ""),
    (r"\boxed{18\text{ hours and }0}", ""),
    (r"\boxed{\mathbf{18}}", "18"),
    (r"\boxed{9\cdot 2}", "18"),
    (r"\boxed{18\!000}", "18000"),
]


@pytest.mark.parametrize(("text", "equal"), GRADED)
def test_a_boxed_answer_is_read_as_sgl_eval_reads_it(text: str, equal: str) -> None:
    found = EVALUATION.answer(text)
    assert [gold for gold in ("18", "1800", "18000") if found == gold] == ([equal] if equal else [])


@pytest.mark.parametrize("text", ["no box 18", r"\boxed{}", r"\boxed{18"])
def test_without_a_box_there_is_no_answer(text: str) -> None:
    assert EVALUATION.answer(text) is None


def test_nothing_is_carried_out() -> None:
    assert latex_numbers.number("9**9**9") is None
    assert latex_numbers.number("__import__('os')") is None
    assert latex_numbers.number("1/0") is None


HEAD = "Solve the following math problem. Make sure to put the answer (and only answer) inside \\boxed{}.\n\n"


def test_the_first_and_the_last_question(real_data: dict[str, str]) -> None:
    rows = gsm8k.rows(real_data[GSM8K_TEST.file])
    items = EVALUATION.questions(real_data)
    assert len(items) == 1319
    assert [item.prompt for item in items] == [HEAD + row["question"] for row in rows]
    assert str(items[0].prompt).endswith("How much in dollars does she make every day at the farmers' market?")
    assert str(items[-1].prompt).startswith(HEAD + "Henry and 3 of his friends order 7 pizzas for lunch.")
    assert [items[0].expected, items[-1].expected] == ["18", "14"]
    assert all(str(int(item.expected or "")) == item.expected for item in items)
    for item in items:
        assert (item.chat, item.body) == (True, {"max_tokens": 2048})
        assert item.template == {"enable_thinking": False, "thinking": False}


def test_the_questions_of_vllms_tests_of_acceptance(real_data: dict[str, str]) -> None:
    rows = gsm8k.rows(real_data[GSM8K_TEST.file])[:200]
    items = STEPS.questions(real_data)
    tail = "\nPlease reason step by step, and put your final answer within \\boxed{}."
    assert [item.prompt for item in items] == [row["question"] + tail for row in rows]
    assert [item.expected for item in items] == [item.expected for item in EVALUATION.questions(real_data)[:200]]
    for item in items:
        assert (item.chat, item.body, item.template) == (True, {"max_tokens": 2048}, {"enable_thinking": False})


@pytest.mark.parametrize(("text", "read"), [(r"so \boxed{1,800}", "1800"), (r"\boxed{x}", None), ("18", None)])
def test_only_a_number_in_a_box_is_an_answer_to_them(text: str, read: str | None) -> None:
    assert STEPS.answer(text) == read


@pytest.mark.parametrize(
    "formula",
    ["(" * 400 + "1" + ")" * 400, "-" * 990 + "1", "9" * 5000, "1" + "*9" * 490, "{" * 5000, "1/" * 400 + "0", "1e999"],
)
def test_what_is_too_deep_or_too_long_for_python_is_no_number_or_one(formula: str) -> None:
    found = latex_numbers.number(formula)
    assert found is None or found > 0


def test_such_a_formula_is_a_wrong_answer() -> None:
    for formula in ("-" * 990 + "18", "9" * 490 + "*" + "9" * 490, "(" * 5000):
        assert protocols.answer(EVALUATION, rf"\boxed{{{formula}}}") != "18"
    assert protocols.answer(EVALUATION, r"\boxed{18}") == "18"
