"""GSM8K as upstream asks it: exact prompts, request bodies, and how answers are read."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from harness.base.domain import Item
from harness.cases.load import load
from harness.datasets.pinned_files import GSM8K_TEST, GSM8K_TRAIN
from harness.host.data_files import texts
from harness.plan.request_bodies import chat_prompt, completion
from harness.protocols import PROTOCOLS
from harness.protocols.protocol import EvaluationBase
from tests.helpers import BASELINES

CASE = next(case for case in load(BASELINES) if case.id == "eagle3/known_answer").resolve("cpu")
OPEN = '{"question": "Was is %d?", "answer": "It is.\\n#### %d"}'
DATA = {each.file: "\n".join(OPEN % (row, row) for row in range(20)) for each in (GSM8K_TRAIN, GSM8K_TEST)}
FIRST, LAST = "Janet\u2019s ducks lay 16 eggs per day.", "how many slices can each of them have?\nAnswer:"
SIXTH = "How much does he need to pay for them?\nAnswer:"
VLLM, LM_EVAL, WORKED = "gsm8k_vllm", "gsm8k_lm_eval_strict", "gsm8k_worked"
RUN_EVAL, FEW_SHOT = "gsm8k_sglang_run_eval", "gsm8k_sglang_few_shot"


def protocol(name: str, items: int, **settings: Any) -> EvaluationBase:
    if name == LM_EVAL:
        settings = {"shots": 5, **settings}
    table = {"protocol": name, "items": items, "max_tokens": 256, "concurrency": 100, "send_to": "entry", **settings}
    return PROTOCOLS[name].model_validate(table)


def digest(items: list[Item]) -> str:
    return hashlib.sha256("".join(json.dumps([*item.earlier, item.prompt]) for item in items).encode()).hexdigest()[:16]


# Those of lm-eval were compared with what lm-eval 0.4.13 itself builds from the same two files: all equal.
@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize(
    ("name", "settings", "items", "first", "last", "everything", "begins", "ends"),
    [
        (VLLM, {}, 1319, "9377e6d73c209404", "930cd64991b533e0", "12f9a437d9cea0a8", "Natalia sold clips", None),
        (LM_EVAL, {}, 1319, "dc4070a04ddf9c83", "c3eb940eebfc1f11", "5f73eb23f5b38a21", "Jen and Tyler", None),
        (
            LM_EVAL,
            {"shots": 8},
            1319,
            "5c92bcdfe55b0210",
            "752f11eab5c4e085",
            "25fbcefd88ec31bf",
            "Jen and Tyler",
            None,
        ),
        (LM_EVAL, {"chat": True}, 1319, "fbf9432d5e5f2126", "a000be7668794d63", "7427e3a73ff94fef", FIRST, None),
        (RUN_EVAL, {}, 1314, "bac08cfdd8a7d4b4", "63fcc3b46b286da3", "271f5d90cc573d84", FIRST, SIXTH),
        (RUN_EVAL, {"chat": True}, 1314, "bac08cfdd8a7d4b4", "63fcc3b46b286da3", "271f5d90cc573d84", FIRST, SIXTH),
        (FEW_SHOT, {}, 1319, "045ad913b926fbd4", "63fcc3b46b286da3", "238c4548c2e0e8f7", FIRST, None),
    ],
)
def test_the_real_prompts(
    name: str,
    settings: dict[str, Any],
    items: int,
    first: str,
    last: str,
    everything: str,
    begins: str,
    ends: str | None,
) -> None:
    data = texts((GSM8K_TRAIN, GSM8K_TEST))
    found = protocol(name, items, **settings).questions(data)
    prompts = [str(item.prompt) for item in found]
    assert prompts[0].startswith(f"Question: {begins}")
    assert prompts[0].endswith(ends or "How much in dollars does she make every day at the farmers' market?\nAnswer:")
    assert prompts[-1].endswith(LAST)
    assert (digest(found[:1]), digest(found[-1:]), digest(found)) == (first, last, everything)
    assert len({item.id for item in found}) == len(found) == items
    assert (found[0].expected, found[-1].expected) == ("64" if ends else "18", "14")


@pytest.mark.usefixtures("real_data")
def test_the_real_right_answers() -> None:
    data = texts((GSM8K_TRAIN, GSM8K_TEST))
    strict = [item.expected for item in protocol(LM_EVAL, 1319).questions(data)]
    digits = [item.expected for item in protocol(VLLM, 1319).questions(data)]
    assert all(answer is not None and answer.lstrip("-").isdigit() for answer in strict)
    assert [pair for pair in zip(strict, digits, strict=True) if pair[0] != pair[1]] == [("-10", "10"), ("-3", "3")]


def test_shots_come_from_where_upstream_takes_them() -> None:
    train = DATA[GSM8K_TRAIN.file].replace("Was", "Train")
    data = {GSM8K_TRAIN.file: train, GSM8K_TEST.file: DATA[GSM8K_TEST.file]}
    prompts = {name: [str(item.prompt) for item in protocol(name, 2).questions(data)] for name in (VLLM, FEW_SHOT)}
    shots = "".join(f"Question: Train is {n}?\nAnswer: It is.\n#### {n}\n\n" for n in range(5))
    assert prompts[VLLM][1] == f"{shots}Question: Was is 1?\nAnswer:"
    assert prompts[FEW_SHOT][1] == f"{shots.replace('Train', 'Was')}Question: Was is 1?\nAnswer:"
    (asked,) = protocol(RUN_EVAL, 1).questions(data)
    assert (asked.id, asked.prompt) == ("G0005", f"{shots.replace('Train', 'Was')}Question: Was is 5?\nAnswer:")


def test_a_worked_solution_lacks_its_number_alone() -> None:
    (item,) = protocol(WORKED, 1).questions(DATA)
    (vllm,) = protocol(VLLM, 1).questions(DATA)
    assert item.prompt == f"{vllm.prompt} It is.\n####"
    assert (item.expected, item.body["stop"], item.special_tokens) == ("0", ["\n"], True)


@pytest.mark.parametrize(
    ("text", "read"),
    [(" 1,234", "1234"), (" $5", "5"), (" -3.50", "-3.5"), (" 18.0", "18"), (" ", None), (" eighteen", None)],
)
def test_a_number_is_read_off(text: str, read: str | None) -> None:
    assert protocol(WORKED, 1).answer(text) == read


@pytest.mark.usefixtures("real_data")
def test_every_real_row_has_a_number_to_read_off() -> None:
    found = protocol(WORKED, 1319).questions(texts((GSM8K_TRAIN, GSM8K_TEST)))
    assert digest(found) == "8d8429de96d756fd"
    assert all(item.expected is not None and str(item.prompt).endswith("####") for item in found)
    assert (found[0].expected, found[2].expected, found[-1].expected) == ("18", "70000", "14")


def test_every_question_of_lm_eval_has_shots_of_its_own() -> None:
    three, two = (protocol(LM_EVAL, items).questions(DATA) for items in (3, 2))
    assert three[:2] == two, "how many are asked must not change the first ones"
    assert len({str(item.prompt).rpartition("Question:")[0] for item in three}) == 3
    assert all(str(item.prompt).count("\n\n") == 5 for item in three)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (VLLM, {"seed": 42, "stop": ["Question", "Assistant:", "<|separator|>"]}),
        (LM_EVAL, {"seed": 1234, "stop": ["Question:", "</s>", "<|im_end|>"]}),
        (RUN_EVAL, {"top_p": 1.0, "stop": ["Question", "Assistant:", "<|separator|>"]}),
        (FEW_SHOT, {"stop": ["Question", "Assistant:", "<|separator|>"]}),
    ],
)
def test_what_is_sent(name: str, body: dict[str, Any]) -> None:
    (item,) = protocol(name, 1).questions(DATA)
    sent = json.loads(json.dumps(completion(CASE, item)))
    fixed = {"model": "model", "prompt": item.prompt, "temperature": 0, "max_tokens": 256}
    assert sent == {**fixed, **body, "add_special_tokens": True}


def test_chat_is_one_message_in_sglang_and_turns_in_lm_eval() -> None:
    (one,) = protocol(RUN_EVAL, 1, chat=True).questions(DATA)
    (turns,) = protocol(LM_EVAL, 1, chat=True).questions(DATA)
    assert (one.body, one.chat, one.special_tokens) == ({"max_tokens": 256, "top_p": 1.0}, True, False)
    assert chat_prompt(CASE, one)["messages"] == [{"role": "user", "content": one.prompt}]
    messages = chat_prompt(CASE, turns)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 5 + ["user"]
    assert messages[-1]["content"] == "Question: Was is 0?\nAnswer:"
    assert messages[1]["content"].startswith("It is.\n#### ")
    assert completion(CASE, turns)["add_special_tokens"] is False


@pytest.mark.parametrize(("name", "most"), [(VLLM, 1319), (LM_EVAL, 1319), (RUN_EVAL, 1314), (FEW_SHOT, 1319)])
def test_more_than_there_is_cannot_be_asked(name: str, most: int) -> None:
    assert protocol(name, most).items == most
    with pytest.raises(ValidationError, match=f"less than or equal to {most} .*input_value={most + 1}"):
        protocol(name, most + 1)


ODD = {
    "so\n#### 18": ("18", "18", "18"),
    "the answer is 18.": ("18", "18", None),
    "#### 18.0": ("0", "18", "18.0"),
    "#### 1,234 eggs": ("1234", "1234", "1234"),
    "#### -3": ("3", "-3", "-3"),
    "she pays $3.50": ("50", "3.5", None),
    "#### 3.50": ("50", "3.5", "3.50"),
    "#### 7\n#### 18": ("18", "18", "7"),
    "#### 18\n\nand 2 more": ("2", "2", "18"),
    "#### 007": (None, None, "007"),
    "#### 000": ("0", "0", "000"),
    "007.5": ("5", "7.5", None),
    "#### $18": ("18", "18", None),
    "####18": ("18", "18", None),
    "#### 18.,": ("18", "18", "18"),
    "#### ,": (None, None, None),
    "ten": (None, None, None),
    "": (None, None, None),
}


@pytest.mark.parametrize("text", ODD)
def test_an_answer_is_read_as_upstream_reads_it(text: str) -> None:
    read = [protocol(name, 1).answer(text) for name in (VLLM, FEW_SHOT, RUN_EVAL, LM_EVAL)]
    digits, number, strict = ODD[text]
    assert read == [digits, digits, number, strict]
