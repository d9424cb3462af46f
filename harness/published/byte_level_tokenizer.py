"""The tokenizer of a GGUF file as the files that engines read, for byte-level BPE as SmolLM has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_SPECIAL = 3  # a control token: `LLAMA_TOKEN_TYPE_CONTROL` of llama.cpp
_NORMAL = 1
_BYTE_LEVEL = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}


class UnknownTokenizer(Exception):
    """Another kind of tokenizer; the message is one line."""


def files(about: Mapping[str, Any]) -> dict[str, bytes]:
    """``tokenizer.json``, ``tokenizer_config.json`` and ``generation_config.json``.

    Args:
        about: The metadata of the GGUF file by key.

    Raises:
        UnknownTokenizer: Its tokens are split in a way that is not known here.
    """
    kind = about.get("tokenizer.ggml.model"), about.get("tokenizer.ggml.pre")
    if kind != ("gpt2", "smollm"):
        raise UnknownTokenizer(f"tokenizer {kind[0]} split as {kind[1]}; only gpt2 split as smollm is known here")
    tokens, types = about["tokenizer.ggml.tokens"], about["tokenizer.ggml.token_type"]
    if other := sorted(set(types) - {_NORMAL, _SPECIAL}):
        raise UnknownTokenizer(f"tokens of the types {other}; only {_NORMAL} and {_SPECIAL} are known here")
    special = [number for number, each in enumerate(types) if each == _SPECIAL]
    bos, eos = (about[f"tokenizer.ggml.{name}_token_id"] for name in ("bos", "eos"))
    pad = about.get("tokenizer.ggml.padding_token_id", eos)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[bos],
        "eos_token": tokens[eos],
        "pad_token": tokens[pad],
        "unk_token": tokens[about.get("tokenizer.ggml.unknown_token_id", eos)],
        "add_bos_token": bool(about.get("tokenizer.ggml.add_bos_token", False)),
        "add_prefix_space": bool(about.get("tokenizer.ggml.add_space_prefix", False)),
        "clean_up_tokenization_spaces": False,
        "model_max_length": about["llama.context_length"],
        "chat_template": about["tokenizer.chat_template"],
    }
    generation = {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad, "do_sample": False}
    return {
        "tokenizer.json": _rendered(_tokenizer(tokens, special, about["tokenizer.ggml.merges"])),
        "tokenizer_config.json": _rendered(config),
        "generation_config.json": _rendered(generation),
    }


def _tokenizer(tokens: list[str], special: list[int], merges: list[str]) -> dict[str, Any]:
    """Content of ``tokenizer.json``: what ``smollm`` means in llama.cpp (``src/llama-vocab.cpp``), in the other format.

    Digits stand alone, then GPT-2's own pattern splits.
    """
    split = [{"type": "Digits", "individual_digits": True}, {"type": "ByteLevel", **_BYTE_LEVEL}]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": tokens[number],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number in special
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": split},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **_BYTE_LEVEL},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": merges,
        },
    }


def _rendered(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
