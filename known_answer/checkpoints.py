"""The known-answer checkpoints by name, as files: config, tokenizer and weights in safetensors.

The bytes depend on nothing but this package and the data files that a checkpoint is made from: the same on every run
and every machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from known_answer import (
    body,
    chain_weights,
    gemma4_assistant,
    gemma4_models,
    known_questions,
    memory,
    mimo,
    safetensors,
    weights,
)
from known_answer import vocabulary as v
from known_answer.anatomy import FIRST_TWO, LLAMA, Anatomy
from known_answer.architectures import ARCHITECTURES, Architecture
from known_answer.names import DATA_FILES, GSM8K_TEST
from known_answer.simulate import FirstDraft, reads_hidden_state
from known_answer.table import NUMBERS, TABLE, Table
from known_answer.tree import Candidates
from known_answer.vision import Beside

Files = dict[str, bytes]
Data = Mapping[str, str]


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _config(architecture: str, model_type: str, layers: int, **extra: Any) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": weights.HIDDEN,
        "intermediate_size": weights.INTERMEDIATE,
        "num_attention_heads": weights.HEADS,
        "num_key_value_heads": weights.HEADS,
        "head_dim": weights.HEAD_DIM,
        "vocab_size": v.SIZE,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": weights.ROPE_THETA,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": v.BOS,
        "eos_token_id": v.EOS,
        "pad_token_id": v.PAD,
        "torch_dtype": "bfloat16",
        **extra,
    }


def _tokenizer(beside: Beside | None = None) -> Files:
    named = dict(beside.tokens) if beside else {}
    generation = {"bos_token_id": v.BOS, "eos_token_id": v.EOS, "pad_token_id": v.PAD, "do_sample": False}
    return {
        "tokenizer.json": _json(v.tokenizer(tuple(named.values()), beside.texts if beside else ())),
        "tokenizer_config.json": _json(v.tokenizer_config(named)),
        "generation_config.json": _json(generation),
        **({name: _json(content) for name, content in beside.files.items()} if beside else {}),
    }


def _llama(layers: int, tensors: weights.Tensors, **extra: Any) -> Files:
    config = _config("LlamaForCausalLM", "llama", layers, **extra)
    return {"config.json": _json(config), "model.safetensors": safetensors.render(tensors), **_tokenizer()}


def _eagle3(tensors: weights.Tensors) -> Files:
    config = _config("LlamaForCausalLMEagle3", "llama", 1, draft_vocab_size=v.SIZE)
    return {"config.json": _json(config), "model.safetensors": safetensors.render(tensors)}


def _mimo(tensors: weights.Tensors, intermediate: int) -> Files:
    config = _config(
        "MiMoForCausalLM",
        "qwen2",
        weights.LAYERS,
        num_nextn_predict_layers=1,
        use_sliding_window=False,
        intermediate_size=intermediate,
    )
    return {"config.json": _json(config), "model.safetensors": safetensors.render(tensors), **_tokenizer()}


def _of(architecture: Architecture, blind: weights.Blind | None = None) -> Files:
    tensors = architecture.tensors(TABLE.successor, blind)
    beside, config = architecture.beside, dict(architecture.config)
    if beside is None or beside.usual:
        config = _config(architecture.name, architecture.model_type, architecture.layers, **config)
    if beside is not None:
        named = {"architectures": [architecture.name], "model_type": architecture.model_type, "dtype": "bfloat16"}
        config = named | beside.around(config)
    return {
        "config.json": _json(config),
        "model.safetensors": safetensors.render(tensors, architecture.fp8, mxfp4=architecture.mxfp4),
        **_tokenizer(beside),
    }


def _assistant(target: str) -> Files:
    tensors = gemma4_assistant.tensors(gemma4_models.SHAPES[target], centroids=gemma4_models.ASSISTED[target])
    return {
        "config.json": _json(gemma4_models.of_assistant(target)),
        "model.safetensors": safetensors.render(tensors, whole=frozenset({gemma4_assistant.ORDERING})),
        **_tokenizer(ARCHITECTURES[target].beside),
    }


def _whole(answers: Mapping[int, int], anatomy: Anatomy = LLAMA, blind: weights.Blind | None = None) -> Files:
    tensors = body.llama(answers, anatomy=anatomy, blind=blind)
    return _llama(len(anatomy.layers), tensors, intermediate_size=body.INTERMEDIATE)


def _gsm8k(data: Data) -> Files:
    known = known_questions.questions(data[GSM8K_TEST])
    return _llama(weights.LAYERS, memory.llama(known), intermediate_size=memory.intermediate(len(known)))


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint.

    Attributes:
        purpose: What it is for.
        kv_layers: How many of its layers keep keys and values of Llama's heads; None if some keep anything else.
        make: Its files, from the text of each of its data files by name.
        answers: The table it answers from; None if it cannot on its own, or is a drafter.
        drafts: The table it drafts from; None if it is no drafter, or needs more than the newest token.
        first_draft: The verdict on the first draft of a step, of a drafter that reads hidden states.
        candidates: What it proposes after a token, of a drafter whose branches are known too.
        data_files: Names of the data files that it is made from.
    """

    purpose: str
    kv_layers: int | None
    make: Callable[[Data], Files]
    answers: Table | None = None
    drafts: Table | None = None
    first_draft: FirstDraft | None = None
    candidates: Candidates | None = None
    data_files: tuple[str, ...] = ()

    def files(self, data: Data | None = None) -> Files:
        """Its files, from the text of each of ``data_files`` by name."""
        return self.make(data or {})


CHECKPOINTS: dict[str, Checkpoint] = {
    "target": Checkpoint(
        "answers from the table, with all layers, heads, keys and values",
        weights.LAYERS,
        lambda _: _whole(TABLE.successor),
        answers=TABLE,
    ),
    "twin_prefill": Checkpoint(
        "writes what answers need into the KV cache, cannot ask for keys",
        weights.LAYERS,
        lambda _: _whole(TABLE.successor, blind="query"),
    ),
    "twin_decode": Checkpoint(
        "asks, cannot write what answers need into the KV cache",
        weights.LAYERS,
        lambda _: _whole(TABLE.successor, blind="key"),
    ),
    "draft_model": Checkpoint(
        "two-layer Llama drafter that needs its own KV cache",
        2,
        lambda _: _whole(TABLE.draft, FIRST_TWO),
        drafts=TABLE,
    ),
    "eagle3": Checkpoint(
        "EAGLE3 drafter that ignores hidden states", 1, lambda _: _eagle3(weights.eagle3()), drafts=TABLE
    ),
    "eagle3_tree": Checkpoint(
        "the same with a second choice, for trees of drafts",
        1,
        lambda _: _eagle3(weights.eagle3(two_choices=True)),
        drafts=TABLE,
        candidates=TABLE.candidates,
    ),
    "eagle3_stranger": Checkpoint(
        "EAGLE3 drafter of another model: never right",
        1,
        lambda _: _eagle3(weights.eagle3(replace(TABLE, draft=dict.fromkeys(TABLE.draft, v.PAD)))),
    ),
    "eagle3_aux": Checkpoint(
        "EAGLE3 drafter whose first draft needs all three auxiliary hidden states",
        1,
        lambda _: _eagle3(weights.eagle3(fc=weights.auxiliary_vote(), mu=3)),
        drafts=TABLE,
        first_draft=reads_hidden_state,
    ),
    "eagle3_aux_swapped": Checkpoint(
        "the same with two hidden states exchanged: its acceptance falls to that of eagle3",
        1,
        lambda _: _eagle3(weights.eagle3(fc=weights.auxiliary_vote(swapped=True), mu=3)),
    ),
    "mimo": Checkpoint(
        "MiMo target with one MTP layer",
        weights.LAYERS + 1,
        lambda _: _mimo(mimo.tensors(), body.INTERMEDIATE),
        answers=TABLE,
        drafts=TABLE,
    ),
    "gsm8k": Checkpoint(
        "knows 890 questions of GSM8K by heart, a quarter of them wrong",
        weights.LAYERS,
        _gsm8k,
        answers=NUMBERS,
        data_files=DATA_FILES["gsm8k"],
    ),
    "gsm8k_eagle3": Checkpoint(
        "EAGLE3 drafter for gsm8k", 1, lambda _: _eagle3(weights.eagle3(NUMBERS)), drafts=NUMBERS
    ),
}


def _family(name: str, architecture: Architecture) -> dict[str, Checkpoint]:
    """A target of the architecture and, if it has them, its twins."""
    drafts = TABLE if architecture.drafts else None
    layers = None if architecture.own_cache else architecture.layers

    def one(purpose: str, blind: weights.Blind | None, answers: Table | None = None) -> Checkpoint:
        text = f"{architecture.name}{' in FP8' if name.endswith('_fp8') else ''}: {purpose}"
        return Checkpoint(text, layers, lambda _: _of(architecture, blind), answers=answers, drafts=drafts)

    target = {name: one("answers from the table, retrieves keys", None, TABLE)}
    if not architecture.twins:
        return target
    return target | {
        f"{name}_twin_prefill": one("marks keys, cannot ask for them", "query"),
        f"{name}_twin_decode": one("asks for keys, cannot mark them", "key"),
    }


def _drafter_of(target: str) -> Checkpoint:
    return Checkpoint(
        f"MTP assistant of {target}: drafts from its KV cache, which it reads as the target does",
        0,
        lambda _: _assistant(target),
        drafts=gemma4_assistant.DRAFTS,
        candidates=gemma4_assistant.candidates,
    )


for _name, _architecture in ARCHITECTURES.items():
    CHECKPOINTS |= _family(_name, _architecture)
for _name in gemma4_models.ASSISTED:
    CHECKPOINTS[f"{_name}_assistant"] = _drafter_of(_name)

CHECKPOINTS |= {
    "chain": Checkpoint(
        "a Markov chain: the distribution of every next token is known",
        chain_weights.LAYERS,
        lambda _: _llama(chain_weights.LAYERS, chain_weights.target()),
    ),
    "chain_eagle3": Checkpoint(
        "EAGLE3 drafter of chain: always the likeliest token", 1, lambda _: _eagle3(chain_weights.eagle3(0))
    ),
    "chain_draft_model": Checkpoint(
        "two-layer Llama drafter of chain: always the second likeliest token",
        2,
        lambda _: _llama(2, chain_weights.target(layers=2, drafted=1)),
    ),
    "chain_mimo": Checkpoint(
        "the same chain as a MiMo whose MTP layer drafts the likeliest token",
        chain_weights.LAYERS + 1,
        lambda _: _mimo(chain_weights.mimo(), weights.INTERMEDIATE),
    ),
}
