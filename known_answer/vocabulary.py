"""Tokens of the known-answer models and the tokenizer file that spells them.

512 ids: three specials, the 256 bytes, then words of our own as added tokens: one trigger, 100 numbers, 100 keys and
40 filler words. A few ids are free, and the last one is unused: its Hadamard row does not exist (see :mod:`.weights`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SIZE = 512

BOS, EOS, PAD = 0, 1, 2
BYTE = 3  # id of byte 0
TRIGGER = 259
NUMBER, NUMBERS = 260, 100
KEY, KEYS = 360, 100
WORD, WORDS = 460, 40
FURTHER = 500  # ids up to the last one are free: special tokens that an architecture needs

_SPECIAL = {BOS: "<s>", EOS: "</s>", PAD: "<pad>"}
_ADDED: dict[int, str] = (
    {TRIGGER: " ####"}
    | {NUMBER + i: f" {i}" for i in range(NUMBERS)}
    | {KEY + i: f" K{i:02d}" for i in range(KEYS)}
    | {WORD + i: f" w{i:02d}" for i in range(WORDS)}
)
_ID_OF = {text: token for token, text in _ADDED.items()}
# Longest first, so that " 12" wins over " 1": the tokenizer matches added tokens leftmost-longest.
_ADDED_PATTERN = re.compile("|".join(sorted(map(re.escape, _ID_OF), key=len, reverse=True)))


def byte(character: str) -> int:
    """Id of a one-byte character."""
    return BYTE + ord(character)


def encode(text: str) -> list[int]:
    """Token ids of ``text``, as the tokenizer file yields them without special tokens."""
    ids: list[int] = []
    position = 0
    for match in _ADDED_PATTERN.finditer(text):
        ids += [BYTE + value for value in text[position : match.start()].encode()]
        ids.append(_ID_OF[match[0]])
        position = match.end()
    return ids + [BYTE + value for value in text[position:].encode()]


def decode(ids: list[int]) -> str:
    """Text of ``ids`` as a server returns it: special tokens are skipped. ASCII bytes only."""
    return "".join(_ADDED.get(token) or chr(token - BYTE) for token in ids if token not in _SPECIAL)


def _byte_characters() -> list[str]:
    """The printable stand-in of each byte in byte-level BPE: itself if printable, else the next code point from 256."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    stand_ins = iter(range(256, 512))
    return [chr(value if value in printable else next(stand_ins)) for value in range(256)]


def tokenizer(further: Sequence[str] = (), apart: Sequence[str] = ()) -> dict[str, Any]:
    """Content of ``tokenizer.json``: byte-level BPE without merges, so that every id above is one token.

    Args:
        further: Special tokens from ``FURTHER`` on.
        apart: Texts that are tokens too, after those, but only where no word touches them: in no prompt.
    """
    characters = _byte_characters()
    vocabulary = {text: token for token, text in _SPECIAL.items()}
    vocabulary |= {character: BYTE + value for value, character in enumerate(characters)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}

    def added(token: int, text: str, special: bool) -> dict[str, Any]:
        flags = dict.fromkeys(("lstrip", "rstrip", "normalized"), False)
        return {"id": token, "content": text, "special": special, "single_word": text in apart, **flags}

    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(i, text, True) for i, text in _SPECIAL.items()]
        + [added(i, text, False) for i, text in _ADDED.items()]
        + [added(FURTHER + i, text, text in further) for i, text in enumerate((*further, *apart))],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,  # nothing adds a BOS: a second one changes acceptance
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary,
            "merges": [],
        },
    }


def tokenizer_config(named: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Content of ``tokenizer_config.json``; ``named`` has further special tokens by the name of their role."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _SPECIAL[BOS],
        "eos_token": _SPECIAL[EOS],
        "pad_token": _SPECIAL[PAD],
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "chat_template": "{% for message in messages %}{{ message['content'] }}{% endfor %}",
        **({"extra_special_tokens": dict(named)} if named else {}),
    }
