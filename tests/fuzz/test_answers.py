"""Answers of an engine: whatever one is, it becomes a sample that can be written, and is scored."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import protocols
from harness.base.domain import Item, Sample
from harness.cases.load import load as load_cases
from harness.host import concurrent_requests, http_client
from harness.plan.points import everything
from harness.run.rundir import RunDir
from harness.run.scoring import count
from harness.run.stages import evaluate
from tests.fuzz import damage, ends, examples
from tests.helpers import BASELINES

GOOD = {
    "choices": [{"index": 0, "text": " w00 #### 31", "finish_reason": "stop", "logprobs": None}],
    "usage": {"prompt_tokens": 81, "completion_tokens": 3},
}
ITEM = Item(id="K60", prompt="p", body={}, expected="31")
EVALUATIONS = sorted(
    {each.case.evaluation.protocol: each.case.evaluation for each in everything(load_cases(BASELINES))}.items()
)


def sample(content: bytes) -> Sample:
    """As of a response with this body."""
    try:
        body, error = http_client.Answer(200, content).document(), ""
    except ValueError as wrong:
        body, error = None, f"status 200 without JSON ({wrong})"
    return evaluate._sample("main", ITEM, concurrent_requests.Reply(ITEM.id, 200, body, error, False, 0.0, 1.0))


@pytest.fixture(scope="module")
def rundir(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return RunDir.create(tmp_path_factory.mktemp("answers") / "run")


@given(st.data())
@examples(120)
def test_an_answer_is_an_answer_or_an_error_and_takes_no_other_with_it(rundir: RunDir, data: st.DataObject) -> None:
    content = json.dumps(GOOD).encode()
    for _ in range(data.draw(st.integers(1, 2))):
        content = damage.bytes_of(content, data.draw)
    with ends():
        found = sample(content)
        rundir.write_samples([sample(json.dumps(GOOD).encode()), found])
        read = rundir.samples() or []
    assert [each.text for each in read] == [" w00 #### 31", found.text]
    assert not read[0].error
    assert found.error or (found.prompt_tokens is not None and 0 <= found.prompt_tokens < 1 << 31)


FORMULAS = st.lists(
    st.sampled_from([r"\boxed{", "}", r"\frac{", "(", ")", "-", "+", "*", "/", "9" * 4000, "1e999", r"\text{a", "####",
                     " ", "0", "1,000", "(" * 3000, "-" * 3000, "{" * 3000, r"\cdot", "^", ",", "."]),
    max_size=12,
).map("".join)  # fmt: skip


@pytest.mark.parametrize(("protocol", "evaluation"), EVALUATIONS, ids=[name for name, _ in EVALUATIONS])
@given(text=FORMULAS | st.text(max_size=60))
@examples(25)
def test_every_text_is_scored(protocol: str, evaluation: Any, text: str) -> None:
    good = sample(json.dumps(GOOD).encode())
    with ends():
        answers = count(evaluation, [good, Sample(**{**vars(good), "text": text})])
        found = protocols.answer(evaluation, text)
    assert answers.scored == 2, protocol
    assert found is None or len(found) < 10_000
