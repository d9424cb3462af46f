"""The known-answer checkpoints: the simulator against a second opinion, the files against their readers."""

from __future__ import annotations

import json
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from harness.datasets.pinned_files import named
from harness.host import data_files
from known_answer import checkpoints, deepseek, experts, safetensors, tree, vocabulary, weights
from known_answer import vocabulary as v
from known_answer.architectures import ARCHITECTURES
from known_answer.file_digest import digest
from known_answer.names import DATA_FILES, NAMES
from known_answer.simulate import (
    Counts,
    Request,
    closed_form_acceptance_length,
    looked_up,
    reads_hidden_state,
    simulate,
    simulate_lookup,
    total,
)
from known_answer.table import CYCLE, SEGMENTS, TABLE, Table

pytestmark = pytest.mark.slow  # whole models, token by token

SHA256 = {
    "target": "bb58f593ba123c9f",
    "twin_prefill": "05e4f55e39851ead",
    "twin_decode": "1613410384878b13",
    "draft_model": "d3e750b76de6870e",
    "eagle3": "352cbb745a7a85fe",
    "eagle3_tree": "811fc2a3d032e8e4",
    "eagle3_stranger": "058dd36831b66aa8",
    "eagle3_aux": "11797d7912147376",
    "eagle3_aux_swapped": "7bb850cf41f98c13",
    "mimo": "3bec34e74345f920",
    "gsm8k": "fed2d6ff6547f374",
    "gsm8k_eagle3": "12f491054eb6db4d",
    "qwen3": "03f2e4aff73f70c7",
    "qwen3_twin_prefill": "e4088a26602cd85f",
    "qwen3_twin_decode": "5288906c17a12360",
    "qwen3_moe": "92c1dd713ed5ed09",
    "qwen3_moe_twin_prefill": "2b2dfceade78302f",
    "qwen3_moe_twin_decode": "c03d8e8e0cb5d4c3",
    "qwen3_moe_throughout": "f00e7b254c71470a",
    "qwen3_moe_throughout_twin_prefill": "ce6c60195d26248d",
    "qwen3_moe_throughout_twin_decode": "e8fae6c7ed8abf0b",
    "qwen3_moe_fp8": "abe35da7d3e13c67",
    "qwen3_moe_fp8_twin_prefill": "2c4f65a32d5f7d39",
    "qwen3_moe_fp8_twin_decode": "b5b3d885693d3f96",
    "deepseek_v2": "d0874faadab2e49e",
    "deepseek_v2_twin_prefill": "fbeac806d74ecd4d",
    "deepseek_v2_twin_decode": "ea4b8b89859c1059",
    "gpt_oss": "634d2cfe7b74f9b7",
    "gemma3": "56259bd3114375a9",
    "gemma3_twin_prefill": "9772b6a8e116ae9f",
    "gemma3_twin_decode": "64a11dc58cc4e8f9",
    "gemma4_e2b": "f77bfe28c5771305",
    "gemma4_e2b_twin_prefill": "ead611af0e150a81",
    "gemma4_e2b_twin_decode": "d35d47ddd8c5a115",
    "gemma4_e4b": "c453a42ecf50d5a7",
    "gemma4_31b": "e315e9060dda4bfd",
    "gemma4_26b_a4b": "cf8e8938074c562c",
    "qwen3_5": "4fe0e841edb28d6e",
    "qwen3_5_twin_prefill": "6f49854b2b2e3a5f",
    "qwen3_5_twin_decode": "4576ea53329d3b51",
    "qwen3_next": "179a2fad383dfb91",
    "qwen3_next_twin_prefill": "298e4ee36d21edf4",
    "qwen3_next_twin_decode": "cc4552ecc05cbdf6",
    "granite_moe_hybrid": "774f1d7413a958a8",
    "granite_moe_hybrid_twin_prefill": "0253a94beaa4bdb0",
    "granite_moe_hybrid_twin_decode": "839f531548e0c4ba",
    "jamba": "23b3cbd584d45948",
    "jamba_twin_prefill": "14c85d7ca6f3439c",
    "jamba_twin_decode": "28534c165bf91441",
    "gemma4_e4b_assistant": "d6ad90be0f887fed",
    "gemma4_31b_assistant": "9f80f33d5642fd8c",
    "gemma4_26b_a4b_assistant": "9f80f33d5642fd8c",
    "chain": "c48fc2579a90d503",
    "chain_eagle3": "06c1b50e56c974c3",
    "chain_draft_model": "61919277ae191109",
    "chain_mimo": "535c3fc36861f36a",
}


def test_names_are_those_of_the_checkpoints() -> None:
    assert tuple(checkpoints.CHECKPOINTS) == NAMES
    made_from = {name: each.data_files for name, each in checkpoints.CHECKPOINTS.items() if each.data_files}
    assert made_from == DATA_FILES


def files_of(name: str) -> checkpoints.Files:
    checkpoint = checkpoints.CHECKPOINTS[name]
    needed = named(checkpoint.data_files)
    if missing := data_files.missing(needed):
        pytest.skip(f"no {missing[0]} at hand")
    return checkpoint.files(data_files.texts(needed))


def cycle_requests(count: int, tokens: int, growth: int = 0) -> list[Request]:
    return [Request(CYCLE[11 * i % len(CYCLE)], tokens + growth * i, ignore_eos=True) for i in range(count)]


QA = [Request(v.byte(":"), 128, key) for key in range(100)]


def test_the_table() -> None:
    assert sum(SEGMENTS) == len(CYCLE) == len(set(CYCLE)) == 60
    assert sum(gold == said for gold, said in zip(TABLE.gold, TABLE.said, strict=True)) == 75
    assert v.TRIGGER not in TABLE.successor
    assert set(TABLE.successor.values()) <= set(range(v.SIZE - 1))


# Measured on vLLM, on CPU and on an H200, before this simulator was written: drafts, accepted per position.
@pytest.mark.parametrize(
    ("requests", "k", "drafts", "positions"),
    [
        (cycle_requests(1, 200), 3, 64, (54, 45, 36)),
        (cycle_requests(8, 97, growth=1), 3, 259, (219, 188, 148)),
        (cycle_requests(60, 241), 3, 4587, (3863, 3373, 2654)),
        (QA, 3, 1399, (1099, 1000, 901)),
    ],
    ids=["one cycle", "eight cycles", "sixty cycles", "questions"],
)
def test_counts_equal_what_engines_measured(
    requests: list[Request], k: int, drafts: int, positions: tuple[int, ...]
) -> None:
    assert total(requests, k) == Counts(drafts, positions)


def test_other_draft_depths_equal_what_engines_measured() -> None:
    assert (total(cycle_requests(60, 241), 5).drafts, total(cycle_requests(60, 241), 5).accepted) == (3632, 10883)
    assert (total(QA, 1).drafts, total(QA, 1).accepted) == (2300, 2000)


def test_the_first_draft_that_reads_hidden_states_equals_what_engines_measured() -> None:
    counts = Counts(0, (0, 0, 0))
    for request in cycle_requests(60, 241):
        counts += simulate(request, 3, first_draft=reads_hidden_state)[1]
    assert counts == Counts(3877, (3877, 3612, 3119))


def test_disaggregation_adds_one_empty_draft_per_request() -> None:
    alone, apart = total(QA[60:84], 3), total(QA[60:84], 3, disaggregated=True)
    assert (alone.drafts, apart.drafts) == (336, 360)
    assert apart.accepted_per_position == alone.accepted_per_position
    assert apart.acceptance_length == 3.0


@given(k=st.integers(1, 12))
def test_whole_cycles_meet_the_closed_form(k: int) -> None:
    # Steps from the start of a segment fall into the same pattern on every round: count whole rounds exactly.
    # The prompt ends before the cycle's first token, so each round of 60 tokens is 60 emitted tokens.
    steps_per_round = sum(-(-length // (k + 1)) for length in SEGMENTS)
    rounds = 7
    request = Request(CYCLE[-1], 60 * rounds + 1, ignore_eos=True)
    counts = simulate(request, k)[1]
    assert counts.drafts == steps_per_round * rounds
    assert counts.acceptance_length == pytest.approx(closed_form_acceptance_length(k))


@given(k=st.integers(1, 8), tokens=st.integers(1, 400), phase=st.integers(0, 59))
def test_the_text_does_not_depend_on_the_drafter(k: int, tokens: int, phase: int) -> None:
    request = Request(CYCLE[phase], tokens, ignore_eos=True)
    assert simulate(request, k)[0] == simulate(request, 0)[0]


def second_opinion(table: Table, request: Request, k: int) -> Counts:
    """The same counts, written the other way round: walk the text and mark where each step must end."""
    emitted = simulate(request, 0, table=table)[0]
    extended = list(emitted)
    for _ in range(2 * k + 2):  # a last step counts past the limit
        extended.append(table.following(extended[-1], request.key))
    position, drafts, accepted = 1, 0, [0] * k
    while position < len(emitted):
        right = 0
        while right < k:
            before, after = extended[position - 1 + right], extended[position + right]
            if table.draft[before] != after:
                break
            accepted[right] += 1
            right += 1
        drafts += 1
        position += right + 1
    return Counts(drafts, tuple(accepted))


@st.composite
def tables(draw: st.DrawFn) -> Table:
    size = draw(st.integers(2, 12))
    tokens = list(range(10, 10 + size))
    successor = {token: draw(st.sampled_from(tokens)) for token in tokens}
    draft = {token: draw(st.sampled_from(tokens)) for token in tokens}
    return Table(successor=successor, draft=draft, gold=(), said=(), wrong=frozenset(), second={})


@given(table=tables(), k=st.integers(1, 6), tokens=st.integers(1, 60))
@settings(max_examples=300)
def test_any_table_agrees_with_a_second_opinion(table: Table, k: int, tokens: int) -> None:
    request = Request(10, tokens, ignore_eos=True)
    assert simulate(request, k, table=table)[1] == second_opinion(table, request, k)


def test_a_trigger_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match="without a key"):
        TABLE.following(v.TRIGGER, None)


@pytest.mark.parametrize("name", checkpoints.CHECKPOINTS)
def test_bytes_are_the_same_every_time(name: str) -> None:
    assert digest(files_of(name)).startswith(SHA256[name])


@pytest.mark.parametrize("name", checkpoints.CHECKPOINTS)
def test_files_are_well_formed(name: str) -> None:
    files = files_of(name)
    config = json.loads(files["config.json"])
    data = files["model.safetensors"]
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    tensors = {key: value for key, value in header.items() if key != "__metadata__"}
    assert max(tensor["data_offsets"][1] for tensor in tensors.values()) == len(data) - 8 - length
    for tensor in tensors.values():
        begin, end = tensor["data_offsets"]
        assert end - begin == {"BF16": 2, "F8_E4M3": 1, "F32": 4, "I64": 8, "U8": 1}[tensor["dtype"]] * int(
            np.prod(tensor["shape"])
        )
    names = [re.search(r"^(?:language_)?model\.(?:language_model\.|model\.)?layers\.(\d+)\.", key) for key in tensors]
    layers = {name[1] for name in names if name}
    assert len(layers) in (0, config.get("text_config", config)["num_hidden_layers"])
    assert sum(map(len, files.values())) < 40_000_000


def test_the_tokenizer_file_agrees_with_encode() -> None:
    tokenizer = Tokenizer.from_str(checkpoints.CHECKPOINTS["target"].files()["tokenizer.json"].decode())
    for text in ("Question: Ann has 3 apples and finds K07 more.\nAnswer:", " 12 1 123 w00w39 ####", "é☃", ""):
        assert tokenizer.encode(text, add_special_tokens=False).ids == vocabulary.encode(text)
        assert tokenizer.encode(text).ids == vocabulary.encode(text), "no BOS may be added"
    ids = vocabulary.encode(" w00 #### 71")
    assert tokenizer.decode(ids) == vocabulary.decode([*ids, v.EOS]) == " w00 #### 71"


def test_further_special_tokens_leave_all_others_alone() -> None:
    tokenizer = Tokenizer.from_str(checkpoints.CHECKPOINTS["qwen3_5"].files()["tokenizer.json"].decode())
    assert tokenizer.encode("<|image_pad|>").ids == [v.FURTHER]
    for text in ("Question: Ann has 3 apples and finds K07 more.\nAnswer:", "é☃\U0010ffff"):
        assert tokenizer.encode(text).ids == vocabulary.encode(text)


def test_codes_are_orthogonal_and_bf16_keeps_them() -> None:
    codes = weights.CODE[: v.SIZE - 1]
    assert np.array_equal(codes @ codes.T, weights.HIDDEN * np.eye(v.SIZE - 1))
    assert (codes[:, 0] == 1).all()
    assert not weights.CODE[-1].any()


def test_the_head_says_the_successor_with_a_margin() -> None:
    logits = weights.CODE[: v.SIZE - 1] @ weights.llama(TABLE.successor)["lm_head.weight"].T
    for token, following in TABLE.successor.items():
        assert logits[token].argmax() == following
        assert logits[token].max() == 32
        assert np.sort(logits[token])[-2] == 0


def test_a_token_sees_itself_by_a_wide_margin() -> None:
    assert weights.self_attention_gap() > 30


def test_a_second_choice_is_known_and_the_right_token_is_never_there_by_chance() -> None:
    head = weights.eagle3(two_choices=True)["lm_head.weight"]
    logits = weights.CODE[: v.SIZE - 1] @ head.T
    for token, first in TABLE.draft.items():
        second = TABLE.second[token]
        assert (logits[token, first], logits[token, second]) == (32, 28)
        others = np.delete(logits[token], [first, second])
        assert others.max() == 0
        truths = range(v.NUMBER, v.NUMBER + v.NUMBERS) if token == v.TRIGGER else [TABLE.successor[token]]
        assert all(truth in (first, second) or logits[token, truth] == -32 for truth in truths)


def accepted_by_a_tree(request: Request, depth: int, branches: int, nodes: int) -> Counts:
    """A tree drawn node by node: each level's best nodes are drafted on, the best of all are verified."""
    answer = simulate(request, 0)[0]
    emitted, drafts, positions = 1, 0, [0] * depth
    while emitted < len(answer):
        level: list[tuple[float, tuple[int, ...]]] = [(0.0, (answer[emitted - 1],))]
        drawn: list[tuple[float, tuple[int, ...]]] = []
        for _ in range(depth):
            found = []
            for score, path in level:
                last = path[-1]
                others = [-1] * (branches - 2)  # of equal score, and never right
                costs = [0.02, 4.02, *[32.02] * len(others)]
                choices = [TABLE.draft.get(last, -1), TABLE.second.get(last, -1), *others]
                found += [(score - cost, (*path, token)) for cost, token in zip(costs, choices, strict=True)]
            level = sorted(found, key=lambda node: -node[0])[:branches]
            drawn += found
        verified = {path[1:] for _, path in sorted(drawn, key=lambda node: -node[0])[:nodes]}
        truth = [answer[emitted - 1]]
        while len(truth) <= depth:
            truth.append(TABLE.following(truth[-1], request.key))
        right = next((n for n in range(depth) if tuple(truth[1 : n + 2]) not in verified), depth)
        drafts += 1
        positions = [count + (position < right) for position, count in enumerate(positions)]
        emitted += right + 1
    return Counts(drafts, tuple(positions))


@pytest.mark.parametrize(("depth", "branches", "nodes"), [(3, 4, 15), (6, 10, 31)])
def test_a_tree_accepts_what_a_second_opinion_draws(depth: int, branches: int, nodes: int) -> None:
    drawn = Counts(0, (0,) * depth)
    for request in QA[:8]:  # the key makes no difference but for key 0, which the drafter guesses
        drawn += accepted_by_a_tree(request, depth, branches, nodes)
    assert tree.total(QA[:8], tree.Tree(depth, branches, nodes), TABLE, TABLE.candidates) == drawn
    assert drawn.drafts < total(QA[:8], depth).drafts


def test_a_tree_that_chance_decides_on_is_not_known() -> None:
    # First and second choice are as good as second and first: of four nodes, one of these is verified.
    assert tree.total(QA[:8], tree.Tree(2, 2, 4), TABLE, TABLE.candidates) is None
    assert tree.total(QA[:8], tree.Tree(2, 2, 5), TABLE, TABLE.candidates) is not None


def test_the_auxiliary_vote_needs_its_blocks_in_order() -> None:
    right, swapped = weights.auxiliary_vote(), weights.auxiliary_vote(swapped=True)
    code = weights.CODE[CYCLE[0]]
    states = np.concatenate([2 * code, 2 * code, 4 * code])
    assert np.abs(right @ states).max() == 5
    assert np.abs(swapped @ states).max() == 3


TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=40)


@given(tokens=TOKENS, k=st.integers(1, 5), shortest=st.integers(1, 3), more=st.integers(0, 2))
def test_a_lookup_follows_the_longest_and_earliest_match(tokens: list[int], k: int, shortest: int, more: int) -> None:
    def occurs(size: int) -> list[int]:
        newest = tokens[len(tokens) - size :]
        return [start for start in range(len(tokens) - size) if tokens[start : start + size] == newest]

    sizes = [size for size in range(shortest, shortest + more + 1) if size < len(tokens) and occurs(size)]
    wanted: list[int] = []
    if sizes:
        after = occurs(max(sizes))[0] + max(sizes)
        wanted = tokens[after : after + k]
    assert looked_up(tokens, k, shortest, shortest + more) == wanted


@given(k=st.integers(1, 6), limit=st.integers(1, 200))
def test_lookups_emit_what_greedy_decoding_emits(k: int, limit: int) -> None:
    request = Request(CYCLE[0], limit, ignore_eos=True)
    counts = simulate_lookup(request, [CYCLE[0]], k, 1, 3)
    # One token without a draft, then one a step and the accepted ones; the last step may go past the limit.
    steps_without_draft = limit - 1 - counts.drafts - counts.accepted
    assert steps_without_draft >= -k
    assert counts.drafts <= counts.draft_tokens <= k * counts.drafts
    # The cycle has 60 different letters: nothing repeats before, and everything afterwards.
    assert (counts.drafts == 0) == (limit <= len(CYCLE))
    assert counts.accepted == counts.draft_tokens


@given(k=st.integers(1, 6), limit=st.integers(2, 200))
def test_lookups_of_every_step_accept_the_same_and_draft_wherever_a_token_is_made(k: int, limit: int) -> None:
    request = Request(CYCLE[0], limit, ignore_eos=True)
    some = simulate_lookup(request, [CYCLE[0]], k, 1, 3)
    every = simulate_lookup(request, [CYCLE[0]], k, 1, 3, every_step=True)
    assert (every.accepted, every.draft_tokens) == (some.accepted, k * every.drafts)
    assert 0 <= every.drafts + every.accepted - (limit - 1) <= k  # the last step may go past the limit


def said_by(tensors: weights.Tensors, token: int, order: list[int]) -> int:
    """What a model with experts says after ``token``, if its experts stand in ``order``."""
    stream = weights.CODE[token].astype(np.float64)
    for layer in experts.LAYERS:
        prefix = f"model.layers.{layer}.mlp."
        normed = stream / np.sqrt((stream**2).mean())
        chosen = order[int((tensors[f"{prefix}gate.weight"] @ normed).argmax())]
        gate, up, down = (tensors[f"{prefix}experts.{chosen}.{name}_proj.weight"] for name in ("gate", "up", "down"))
        stream = stream + down @ (gate @ normed / (1 + np.exp(-gate @ normed)) * (up @ normed))
    return int((tensors["lm_head.weight"] @ stream).argmax())


def test_each_expert_is_needed_where_it_belongs() -> None:
    tensors, count = ARCHITECTURES["deepseek_v2"].tensors(TABLE.successor, None), experts.EXPERTS
    straight, swapped = list(range(count)), list(range(count))
    swapped[3], swapped[4] = 4, 3
    for token in sorted({*range(v.TRIGGER)} - {*deepseek.MEANT}):  # some tokens of no text mean something else
        following = TABLE.successor[token]
        assert said_by(tensors, token, straight) == following
        assert (said_by(tensors, token, swapped) == following) == (experts.expert(token, count) not in (3, 4))


def test_fp8_rounds_to_the_nearest_value_of_a_block() -> None:
    wanted = np.array([[448.0, -224.0, 1.0, 0.0625, 17.0, 0.0]], np.float32)
    data = safetensors.render({"w_proj": wanted}, lambda _: True)
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    codes = np.frombuffer(data, np.uint8, 6, 8 + length + header["w_proj"]["data_offsets"][0])
    # Sign, four bits of exponent with bias 7, three of mantissa: 17 is between 16 and 18.
    assert [f"{code:08b}" for code in codes] == ["01111110", "11110110", "00111000", "00011000", "01011000", "00000000"]
    scale = struct.unpack_from("<f", data, 8 + length + header["w_proj_scale_inv"]["data_offsets"][0])
    assert scale == (1.0,)


def test_mxfp4_keeps_two_values_a_byte_and_a_power_of_two_a_block() -> None:
    wanted = np.zeros((1, 64), np.float32)
    wanted[0, :4], wanted[0, 32:36] = (0.5, -1.5, 6, 0), (-16, 8, 0, 64)
    data = safetensors.render({"w": wanted}, mxfp4=lambda _: True)
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert (header["w_blocks"]["shape"], header["w_scales"]["shape"]) == ([1, 2, 16], [1, 2])
    codes = np.frombuffer(data, np.uint8, 32, 8 + length + header["w_blocks"]["data_offsets"][0]).reshape(2, 16)
    # Sign, two bits of exponent with bias 1, one of mantissa; the first of two values is in the lower half.
    assert [f"{code:08b}" for code in codes[0, :2]] == ["10110001", "00000111"]
    assert [f"{code:08b}" for code in codes[1, :2]] == ["00011010", "01100000"]  # in units of 16
    scales = np.frombuffer(data, np.uint8, 2, 8 + length + header["w_scales"]["data_offsets"][0])
    assert list(scales) == [127, 131]


def test_what_mxfp4_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="not every value can be written in MXFP4"):
        safetensors.render({"w": np.full((1, 32), 5.0, np.float32)}, mxfp4=lambda _: True)
