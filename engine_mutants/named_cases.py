"""Names of cases and of the engine's modules that several mutants share."""

from __future__ import annotations

EAGLE3 = "eagle3/known_answer"
MTP = "mtp/known_answer_k3"
DRAFT_MODEL = "draft_model/known_answer"
NGRAM = "ngram/known_answer"
QUESTIONS = "gsm8k/known_answer"
TWINS = "disagg/known_answer_eagle3"
EDGES = "disagg/known_answer_edges[connector=nixl]"
MULTI = "disagg/known_answer_multi"
HYBRID = "disagg/known_answer_hybrid"
SLIDING = "disagg/sliding_window_gemma3"
DP_EP = "disagg/accuracy_dp_ep"
EPLB = "eplb/qwen3_30b_dp4_async"
EPLB_SYNC = "eplb/qwen3_30b_sync"
SGLANG_EAGLE3 = "sglang_eagle3/known_answer"
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

ROWS_UNREAD = "the drafters of these checkpoints give hidden rows no weight"
ONE_LAYER = "one layer of these twins, and in it the block with the key, holds all that an answer needs"
CACHE_UNREAD = "an answer of one server alone needs nothing of the cache but a key, wherever it stands"
NOTHING_SAMPLES = "every case decodes greedily and asks for no more than the text"
NOTHING_STREAMS = "no case asks for a stream"
NOTHING_RESTS = "nothing looks whether an engine that is idle is empty"
NO_ABSOLUTE_TIME = "no check judges how long anything took"
