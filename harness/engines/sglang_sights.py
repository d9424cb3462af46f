"""SGLang: where a server shows what is in force. Read from the wheels of 0.5.17 and 0.5.23.

``/server_info`` has every argument as it was resolved (``resolved_dict`` in ``server_args.py``), not as it was given.
Environment variables are in no document and in no line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.base.settings import FlagValue
from harness.engines.sights import Agrees, Sight, Told, every, same

_WHERE = "`/server_info`"

# Options with another name inside than their own.
_KEYS = {
    "data-parallel-size": "dp_size",
    "dp": "dp_size",
    "ep": "ep_size",
    "expert-parallel-size": "ep_size",
    "model": "model_path",
    "pipeline-parallel-size": "pp_size",
    "tensor-parallel-size": "tp_size",
    "tp": "tp_size",
}

# arg_groups/speculative_hook.py: NEXTN is EAGLE with the model's own layers; of Gemma 4's assistants it is the last.
_ALGORITHMS = {"NEXTN": ("EAGLE", "NEXTN", "FROZEN_KV_MTP"), "EAGLE": ("EAGLE", "FROZEN_KV_MTP")}


_AITER = " (with aiter)"
_ROUNDING = 1e-6


def _argument(told: Told, name: str) -> Iterator[Any]:
    key = _KEYS.get(name, name.replace("-", "_"))
    if isinstance(told.info, dict) and told.info.get(key) is not None:
        yield told.info[key]


def _chunk(told: Told, name: str) -> Iterator[Any]:
    """With data parallel attention each rank gets its part of a chunk (``arg_groups/parallel_hook.py``)."""
    for found in _argument(told, name):
        width = told.info.get("attn_dp_size") or told.info.get("dp_size") or 1
        shared = told.info.get("enable_dp_attention") is True and isinstance(found, int) and isinstance(width, int)
        yield found * width if shared else found


def _memory(told: Told, name: str) -> Iterator[Any]:
    """Of a long context aiter's workspace takes its part of what was asked for (``arg_groups/attention_hook.py``)."""
    for found in _argument(told, name):
        less = told.info.get("attention_backend") == "aiter" and isinstance(found, float)
        yield f"{found}{_AITER}" if less else found


def _memory_agrees(asked: FlagValue, seen: tuple[object, ...]) -> bool:
    """What was asked for, or with aiter 0.85 of it."""
    for each in seen:
        text = str(each)
        least = float(text.removesuffix(_AITER)) / 0.85 if text.endswith(_AITER) else None
        whole = same(asked, text.removesuffix(_AITER))
        if not whole and (least is None or not isinstance(asked, float) or abs(asked - least) > _ROUNDING):
            return False
    return True


def _one_of(names: dict[str, tuple[str, ...]]) -> Agrees:
    return lambda asked, seen: every(asked, seen) or all(each in names.get(str(asked).upper(), ()) for each in seen)


_SPECIAL = ("chunked-prefill-size", "mem-fraction-static", "speculative-algorithm")

SIGHTS = (
    Sight("chunked-prefill-size", f"{_WHERE}, of all ranks that share a chunk", _chunk),
    Sight("mem-fraction-static", f"{_WHERE}, less what aiter takes", _memory, _memory_agrees),
    Sight("speculative-algorithm", _WHERE, _argument, _one_of(_ALGORITHMS)),
    Sight("[a-z]*", _WHERE, lambda told, name: iter(()) if name in _SPECIAL else _argument(told, name)),
)

_QUIET = "no document has environment variables, and no line tells of it"

UNSEEN = {
    "HF_HUB_OFFLINE": _QUIET,
    "MC_TCP_ENABLE_CONNECTION_POOL": _QUIET,
    "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN": _QUIET,
    "SGLANG_DISAGGREGATION_NIXL_BACKEND_PARAMS": _QUIET,
    "SGLANG_ENABLE_ASYNC_ASSERT": _QUIET,
    "SGLANG_ENABLE_SPEC_V2": _QUIET,
    "SGLANG_ENABLE_STRICT_MEM_CHECK_DURING_BUSY": _QUIET,
    "SGLANG_USE_AITER": _QUIET,
}
"""What our cases ask for and nothing shows, and why."""
