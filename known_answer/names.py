"""Names of the known-answer checkpoints, for those that make none: to make them takes numpy."""

from __future__ import annotations

GSM8K_TEST = "gsm8k-test.jsonl"
"""The test file of GSM8K, as its project publishes it: 1,319 rows of JSON."""

NAMES = (
    "target", "twin_prefill", "twin_decode", "draft_model", "eagle3", "eagle3_tree", "eagle3_stranger", "eagle3_aux",
    "eagle3_aux_swapped", "mimo", "gsm8k", "gsm8k_eagle3", "qwen3", "qwen3_twin_prefill", "qwen3_twin_decode",
    "qwen3_moe", "qwen3_moe_twin_prefill", "qwen3_moe_twin_decode", "qwen3_moe_throughout",
    "qwen3_moe_throughout_twin_prefill", "qwen3_moe_throughout_twin_decode", "qwen3_moe_fp8",
    "qwen3_moe_fp8_twin_prefill", "qwen3_moe_fp8_twin_decode", "deepseek_v2", "deepseek_v2_twin_prefill",
    "deepseek_v2_twin_decode", "gpt_oss", "gemma3", "gemma3_twin_prefill", "gemma3_twin_decode", "gemma4_e2b",
    "gemma4_e2b_twin_prefill", "gemma4_e2b_twin_decode", "gemma4_e4b", "gemma4_31b", "gemma4_26b_a4b", "qwen3_5",
    "qwen3_5_twin_prefill", "qwen3_5_twin_decode", "qwen3_next", "qwen3_next_twin_prefill", "qwen3_next_twin_decode",
    "granite_moe_hybrid", "granite_moe_hybrid_twin_prefill", "granite_moe_hybrid_twin_decode", "jamba",
    "jamba_twin_prefill", "jamba_twin_decode", "gemma4_e4b_assistant", "gemma4_31b_assistant",
    "gemma4_26b_a4b_assistant", "chain", "chain_eagle3", "chain_draft_model", "chain_mimo",
)  # fmt: skip

DATA_FILES: dict[str, tuple[str, ...]] = {"gsm8k": (GSM8K_TEST,)}
"""Names of the data files that a checkpoint is made from; of all others there are none."""
