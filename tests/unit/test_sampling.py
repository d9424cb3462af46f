"""Sampling is judged right: a sound sampler never turns red, a broken one does, and by how much is known beforehand."""

from __future__ import annotations

import math
import random
import tomllib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from harness.base.domain import CheckResult, Outcome
from harness.base.evidence import Evidence
from harness.checks.answer_documents import TOLERANCE
from harness.checks.sampling import SamplingSettings, judge
from harness.protocols.known_answer_sampling import KnownAnswerSampling
from harness.statistics import exact_tests
from known_answer import chain, chain_weights, drafting, draws, weights
from known_answer import vocabulary as v
from known_answer.checkpoints import CHECKPOINTS
from tests.chain_runs import broken, evidence
from tests.fake_engine.site.chain_server import ChainServer
from tests.helpers import BASELINES

ORIGIN = "made for this test"
EVERY = {name: 2 if name in ("greedy", "top_k_1") else 12 if name == "temperature_1" else 8 for name in draws.GROUPS}
FAST = {"greedy": 2, "temperature_1": 8, "top_k_3": 4, "seed": 4, "same_seed": 4}


def asked(groups: dict[str, int], tokens: int = 200, logprobs: int = 4) -> KnownAnswerSampling:
    return KnownAnswerSampling(
        protocol="known_answer_sampling", items=sum(groups.values()), max_tokens=tokens, concurrency=8,
        send_to="entry", groups=groups, logprobs=logprobs, endpoint="completions",
    )  # fmt: skip


def judged(evaluation: KnownAnswerSampling, server: ChainServer, **settings: Any) -> CheckResult:
    (result,) = judge(given(evaluation, **settings), evidence(evaluation, server))
    return result


def given(evaluation: KnownAnswerSampling, **settings: Any) -> SamplingSettings:
    return SamplingSettings(n=evaluation.items * evaluation.max_tokens, origin=ORIGIN, **settings)


def full(state: int) -> Any:
    """Logits of a state over the whole vocabulary."""
    found = np.zeros(v.SIZE)
    for token, logit in chain.logits(state).items():
        found[token] = logit
    return found


def test_the_weights_give_exactly_the_chains_logits() -> None:
    tensors = chain_weights.target()
    head, embedding = tensors["lm_head.weight"], tensors["model.embed_tokens.weight"]
    bits = np.concatenate([head.ravel(), embedding.ravel()]).view(np.uint32)
    assert not (bits & 0xFFFF).any(), "a weight is no bf16"
    for token in range(v.SIZE):
        logits = head @ embedding[token]
        assert (logits == full(chain.state_of(token))).all()
        assert not (logits.view(np.uint32) & 0xFFFF).any(), "a logit is no bf16"


def test_drafters_propose_the_rank_that_they_are_made_for() -> None:
    for rank, tensors in ((1, chain_weights.target(layers=2, drafted=1)), (0, chain_weights.eagle3(0))):
        for state in chain.every_state():
            assert int((tensors["lm_head.weight"] @ weights.CODE[state]).argmax()) == chain.draft(state, rank)
    assert [name for name in CHECKPOINTS if name.startswith("chain")] == [
        "chain", "chain_eagle3", "chain_draft_model", "chain_mimo",
    ]  # fmt: skip


def test_every_token_says_where_it_came_from() -> None:
    tokens = [chain.token(state, rank) for state in range(chain.STATES) for rank in range(chain.RANKS)]
    assert len(set(tokens)) == len(tokens)
    assert [chain.drawn(token) for token in tokens] == [
        (state, rank) for state in range(chain.STATES) for rank in range(chain.RANKS)
    ]
    walked = chain.greedy(chain.token(0, 0), 11)
    assert len(set(walked)) == 11, "greedy answers pass every state"
    line = chain.greedy(v.byte(":"), chain.WORDS + 1)
    assert line == [*range(v.WORD, v.WORD + chain.WORDS), v.EOS]
    assert chain.greedy(v.byte(":"), 13, {v.EOS: 13})[-1] == chain.token(0, 0)


def test_strange_characters_count_once_and_the_walk_is_found_again() -> None:
    last = chain.token(0, 0)
    text = chain.spelled(chain.greedy(last, 6))
    assert [rank for _, rank in chain.ranks(text, last)] == [0] * 6
    for strange in ("", " w07", " K33", " ####", "\ufffd"):  # spelled by none, one or more characters
        spelled = f"{text[:2]}{strange}{text[3:] if not strange else text[2:]}"
        found = [rank for _, rank in chain.ranks(spelled, last)]
        assert found.count(None) == 1, strange
        assert set(found) == {0, None}, strange
    assert [rank for _, rank in chain.ranks("\n\n\n", last)] == [None] * 3


def test_a_walk_with_strange_tokens_in_it_is_counted_token_by_token() -> None:
    chance = random.Random(1)
    for _ in range(300):
        tokens, state = [], chain.state_of(chain.token(0, 0))
        planted = chance.randrange(10, 30)
        for at in range(40):
            token = chance.choice([v.WORD + 30, v.KEY + 7, v.NUMBER + 12, v.EOS, v.TRIGGER]) if at == planted else (
                chain.token(state, chance.randrange(chain.RANKS)))  # fmt: skip
            tokens.append(token)
            state = chain.state_of(token)
            if state >= chain.STATES:
                state = 0
        found = [rank for _, rank in chain.ranks(chain.spelled(tokens), chain.token(0, 0))]
        # One that spells nothing may even lead where the walk was: then it is missing from the count.
        assert found.count(None) <= 1
        assert 38 <= len(found) - found.count(None) <= 39


@pytest.mark.parametrize("name", draws.GROUPS)
def test_probabilities_are_those_of_a_sampler_over_the_whole_vocabulary(name: str) -> None:
    """The server of the tests draws from 512 logits in float64, and shares no arithmetic with the formulas."""
    settings, chance = draws.GROUPS[name].settings, random.Random(name)
    prompt = v.encode(draws.prompt(name, 3))
    said: list[int] = []
    for _ in range(60):
        state = chain.state_of((prompt + said)[-1])
        counts = {token: said.count(token) for token in said}
        found = draws.probabilities(settings, state, counts, set(prompt))
        wanted = broken().probabilities(settings.body(), state, prompt, said)
        for rank in range(chain.RANKS):
            assert found[rank] == pytest.approx(wanted[chain.token(state, rank)], abs=1e-9)
        assert sum(found) == pytest.approx(1)
        said.append(chain.token(state, chance.randrange(chain.RANKS)))


def test_no_rounding_decides_what_a_cut_leaves() -> None:
    for name, group in draws.GROUPS.items():
        settings = group.settings
        plain = draws.probabilities(replace(settings, top_p=1.0, min_p=0.0))
        if settings.top_p < 1:
            sums = [sum(plain[: rank + 1]) for rank in range(chain.RANKS)]
            assert min(abs(each - settings.top_p) for each in sums) > 0.01, name
        if settings.min_p:
            assert min(abs(each / plain[0] - settings.min_p) for each in plain) > 0.01, name


def test_log_probabilities_are_those_of_softmax() -> None:
    for state in chain.every_state():
        logits = full(state)
        logs = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        for token in (*chain.logits(state), v.PAD):
            assert draws.logprob(state, token) == pytest.approx(logs[token], abs=1e-12)
        assert TOLERANCE > 1e-6 * 31


def test_tails_are_exact() -> None:
    for n, share in ((20, 0.3), (7, 0.5), (50, 0.01)):
        mass = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
        for count in range(n + 1):
            wanted = sum(mass[count:]) if count >= n * share else sum(mass[: count + 1])
            assert exact_tests.tail(count, n, share) == pytest.approx(wanted)
    assert exact_tests.p_value(0, 10, 0.0) == exact_tests.p_value(10, 10, 1.0) == 1.0
    assert exact_tests.p_value(1, 10, 0.0) == exact_tests.p_value(9, 10, 1.0) == 0.0
    assert 0 < exact_tests.p_value(70_000, 100_000, 0.6) < 1e-300 or exact_tests.p_value(70_000, 100_000, 0.6) == 0.0
    assert exact_tests.least_shift(0, 0.5, 1e-6) == math.inf


def test_verifications_have_the_distribution_of_rejection_sampling() -> None:
    assert drafting.verifications(1.0, 3, 9).tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert drafting.verifications(0.0, 3, 4).tolist() == [0, 0, 0, 1]
    assert drafting.verifications(0.5, 3, 1).tolist() == [1]
    server, numbers = broken(rank=0, seed=5), []
    for _ in range(400):
        before = server.drafts
        server.respond("/v1/completions", {"prompt": "!", "temperature": 1.0, "max_tokens": 40, "ignore_eos": True})
        numbers.append(server.drafts - before)
    distribution = drafting.verifications(draws.probabilities(draws.Settings())[0], 3, 40)
    assert distribution.sum() == pytest.approx(1)
    mean = float((distribution * np.arange(40)).sum())
    assert np.mean(numbers) == pytest.approx(mean, abs=0.4)
    whole = drafting.together({(draws.probabilities(draws.Settings())[0], 40): 400}, 3)
    assert drafting.p_value(sum(numbers), whole) > 1e-4
    assert drafting.p_value(int(sum(numbers) * 1.1), whole) < 1e-6
    assert drafting.p_value(-1, whole) == drafting.p_value(10**9, whole) == 0.0


def test_a_sound_engine_passes_with_every_group() -> None:
    result = judged(asked(EVERY), broken())
    assert result.outcome is Outcome.PASS, result.details
    assert result.n == 200 * sum(EVERY.values())
    assert "95 times of 100" in result.details


@pytest.mark.slow
@pytest.mark.parametrize("rank", [None, 0, 1])
def test_a_sound_engine_passes_whatever_its_random_numbers(rank: int | None) -> None:
    drafted = {} if rank is None else {"drafted_rank": rank, "drafted": 3}
    evaluation, values = asked(FAST, 100, 2), []
    for seed in range(25):
        result = judged(evaluation, broken(rank=rank, seed=seed), **drafted)
        assert result.outcome is Outcome.PASS, (seed, result.message, result.details)
        values.append(result.measured)
    # Each is the smallest p-value of many times their number: uniform at best.
    assert sum(isinstance(value, float) and value < 0.05 for value in values) <= 6


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("temperature_ignored", "temperature_1_5: tokens of rank"),
        ("always_greedy", "temperature_1"),
        ("top_k_off_by_one", "top_k_"),
        ("top_p_ignored", "top_p"),
        ("min_p_ignored", "min_p"),
        ("bias_ignored", "logit_bias"),
        ("penalties_ignored", "_penalty"),
        ("prompt_not_penalized", "repetition_penalty"),
        ("seed_ignored", "twin's"),
        ("one_seed_for_all", "the same draws"),
        ("logprobs_of_another_row", "logprobs"),
        ("logprobs_of_nothing", "logprobs"),
        ("echo_ignored", "logprobs_with_echo"),
        ("choices_reversed", ""),
    ],
)
def test_a_broken_engine_fails(fault: str, says: str) -> None:
    groups = EVERY
    if fault == "prompt_not_penalized":  # shows in the first draws only
        groups = {"repetition_penalty": 16}
    evaluation = asked(groups, 200)
    result = judged(evaluation, broken(fault))
    if not says:  # names of choices of one draw say nothing
        assert result.outcome is Outcome.PASS
        return
    assert result.outcome is Outcome.FAIL, result.details
    assert says in result.message + result.details


class _Deaf(ChainServer):
    """Does not heed one parameter of requests."""

    def __init__(self, parameter: str) -> None:
        super().__init__(frozenset(), None, chance=random.Random(0))
        self._parameter = parameter

    def respond(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
        return super().respond(path, {name: each for name, each in body.items() if name != self._parameter})


@pytest.mark.parametrize(
    "parameter",
    ["temperature", "top_k", "top_p", "min_p", "logit_bias", "repetition_penalty", "frequency_penalty",
     "presence_penalty", "seed"],
)  # fmt: skip
def test_each_parameter_alone_is_missed_with_as_many_requests_as_the_case_has(parameter: str) -> None:
    case = tomllib.loads((BASELINES / "sampling/known_answer.toml").read_text())["evaluation"]
    groups = {name: number for name, number in case["groups"].items() if parameter in draws.GROUPS[name].body(0)}
    if parameter == "temperature":
        groups = {name: number for name, number in groups.items() if name in ("temperature_0_5", "temperature_1_5")}
    for name, number in groups.items():
        if name == "top_k_and_top_p" or (name, parameter) == ("seed", "seed"):
            continue  # the other cut leaves few tokens too; draws under other seeds are as good
        result = judged(asked({name: number}, case["max_tokens"], 0), _Deaf(parameter))
        assert result.outcome is Outcome.FAIL, (name, result.details)


@pytest.mark.slow
def test_two_percent_too_much_acceptance_fail_with_the_power_that_was_computed() -> None:
    n, share = 51_200, draws.probabilities(draws.Settings())[0]
    assert exact_tests.least_shift(n, share, 1e-8) < 0.02 * share, "as the module says"
    evaluation = asked({"temperature_1": 128}, 400, 0)
    result = judged(evaluation, broken("accepts_too_much", rank=0, seed=1), drafted_rank=0, drafted=3)
    assert result.outcome is Outcome.FAIL
    assert "p = " in result.message
    assert "temperature_1: tokens of rank 0" in result.message + result.details
    sound = judged(evaluation, broken(rank=0, seed=1), drafted_rank=0, drafted=3)
    assert sound.outcome is Outcome.PASS, sound.details


def test_what_cannot_be_judged_is_an_error() -> None:
    evaluation = asked(FAST, 64, 1)
    whole = evidence(evaluation, broken(rank=0))
    settings = given(evaluation)
    few = replace(whole, samples=whole.samples[1:])
    late = replace(whole, exchanges=(*whole.exchanges[:-1], replace(whole.exchanges[-1], status=0, error="too late")))
    silent = replace(whole, measured=replace(whole.measured, acceptance=None))
    for each, given_settings, says in (
        (Evidence(whole.measured), settings, "0 tokens"),
        (few, settings, "planned"),
        (late, settings, "too late"),
        (silent, given(evaluation, drafted_rank=0, drafted=3), "does not say"),
    ):
        (result,) = judge(given_settings, each)
        assert result.outcome is Outcome.ERROR
        assert says in result.message
    penalties = asked({"frequency_penalty": 2}, 64, 0)
    (result,) = judge(given(penalties, drafted_rank=0, drafted=3), evidence(penalties, broken(rank=0)))
    assert "not known beforehand" in result.message


def test_tokens_that_cannot_follow_are_seen() -> None:
    evaluation = asked({"temperature_1": 4}, 100, 0)
    whole = evidence(evaluation, broken())
    first = whole.samples[0]
    swapped = replace(first, text=first.text[50:] + first.text[:50])
    torn = replace(first, text=first.text.replace(first.text[10], "\u00e9"))
    for other in (replace(swapped, text=swapped.text[::-1]), torn):
        (result,) = judge(given(evaluation), replace(whole, samples=(other, *whole.samples[1:])))
        assert result.outcome is Outcome.FAIL
        assert "cannot follow" in result.message + result.details


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"groups": {"nucleus": 4}, "items": 4}, "'nucleus' is none"),
        ({"groups": {"top_p": 4}, "items": 5}, "items says 5"),
        ({"groups": {"top_p": -4}, "items": 4}, "-4 requests"),
        ({"groups": {"same_seed": 3}, "items": 3}, "in pairs"),
    ],
)
def test_settings_that_mean_nothing_are_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        KnownAnswerSampling.model_validate(asked(FAST).model_dump() | change)
