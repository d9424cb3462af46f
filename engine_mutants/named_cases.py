"""Names of cases and of the engine's modules that several mutants share."""

from __future__ import annotations

EAGLE3 = "eagle3/known_answer"
CHUNKED = "eagle3/known_answer_chunked"
MTP = "mtp/known_answer_k3"
DRAFT_MODEL = "draft_model/known_answer"
NGRAM = "ngram/known_answer"
NGRAM_EVERY_STEP = "ngram/known_answer_every_step"
QUESTIONS = "gsm8k/known_answer"
SAMPLED = "sampling/known_answer[speculation=none]"
SAMPLED_DRAFTS = "sampling/known_answer[speculation=draft_model]"
SAMPLED_LIKELY_DRAFTS = "sampling/known_answer[speculation=eagle3]"
CONTRACT = "api/known_answer[speculation=none]"
CONTRACT_DRAFTS = "api/known_answer[speculation=eagle3]"
TWINS = "disagg/known_answer_eagle3"
EDGES = "disagg/known_answer_edges[connector=nixl]"
MULTI = "disagg/known_answer_multi"
HYBRID = "disagg/known_answer_hybrid"
SLIDING = "disagg/sliding_window_gemma3"
DP_EP = "disagg/accuracy_dp_ep"
EPLB = "eplb/qwen3_30b_dp4_async"
EPLB_SYNC = "eplb/qwen3_30b_sync"
SGLANG_EAGLE3 = "sglang_eagle3/known_answer"
SGLANG_CONTRACT = "sglang_api/known_answer"
SGLANG_EPLB = "sglang_eplb/dsv3_no_a2a"

TEXTS = ("accuracy", "parity")
ACCEPTANCE = ("draft_counts", "acceptance_length", "acceptance_per_position")

# Names of checks that look at what is left when nothing is to do any more.
AT_REST = ("at_rest",)

PROPOSER = "vllm.v1.spec_decode.llm_base_proposer"
REJECTION = "vllm.v1.sample.rejection_sampler"
RUNNER = "vllm.v1.worker.gpu_model_runner"
SCHEDULER = "vllm.v1.core.sched.scheduler"
NIXL = "vllm.distributed.kv_transfer.kv_connector.v1.nixl"

UNSET_TEMPERATURE = (
    "on a CPU vLLM up to 0.32 leaves the temperature of drafts unset (vllm-project/vllm 55005): the points of "
    "`sampling` that would see it are left out there"
)
NO_ABSOLUTE_TIME = "no check judges how long anything took"
