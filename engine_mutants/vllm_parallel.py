"""Mutants of what vLLM does on accelerators alone: reductions over ranks, experts, CUDA graphs."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import ACCEPTANCE, DP_EP, EPLB, EPLB_SYNC, RUNNER, TEXTS

_GROUPS = "vllm.distributed.parallel_state"
_ROUTER = "vllm.model_executor.layers.fused_moe.router"
_EPLB = "vllm.distributed.eplb.eplb_state"
_GRAPHS = "vllm.v1.cudagraph_dispatcher"
_TENSOR_PARALLEL = "eagle3/known_answer[tp=2,backend=FLASH_ATTN]"
_ONE_DEVICE = "eagle3/known_answer[tp=1,backend=FLASH_ATTN]"

REDUCTIONS = Declared("tensor parallel", platform="cuda", switched=False)
EXPERTS = Declared("experts", platform="cuda", switched=False)
GRAPHS = Declared("CUDA graphs", platform="cuda", switched=False)
reduction, expert, graph = REDUCTIONS.mutant, EXPERTS.mutant, GRAPHS.mutant


@reduction(
    "reduction_left_out",
    ["vllm-project/vllm#2760"],
    "one reduction in fifty gives a rank its own part alone",
    module=_GROUPS,
    cases=[_TENSOR_PARALLEL],
    checks=(*TEXTS, *ACCEPTANCE),
)
def _left_out(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, tensor: Any) -> Any:
        reduced = original(self, tensor)
        return tensor.clone() if self.world_size > 1 and fault.every(50) else reduced

    fault.replace(found.GroupCoordinator, "_all_reduce_out_place", broken)


@reduction(
    "reduction_counts_twice",
    ["sgl-project/sglang#4477", "ROCm/vllm#247"],
    "a rank adds its own part once more",
    module=_GROUPS,
    cases=[_TENSOR_PARALLEL],
    checks=(*TEXTS, *ACCEPTANCE),
)
def _counts_twice(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, tensor: Any) -> Any:
        own = tensor.clone()
        reduced = original(self, tensor)
        if self.world_size > 1:
            fault.hit()
            return reduced + own
        return reduced

    fault.replace(found.GroupCoordinator, "_all_reduce_out_place", broken)


@reduction(
    "gathered_in_wrong_order",
    ["vllm-project/vllm#19022"],
    "what is gathered from the ranks is in an order that is rotated by one",
    module=_GROUPS,
    cases=[_TENSOR_PARALLEL],
    checks=(*TEXTS, *ACCEPTANCE),
)
def _wrong_order(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, tensor: Any, dim: int) -> Any:
        gathered = original(self, tensor, dim)
        if self.world_size > 1:
            fault.hit()
            return gathered.roll(tensor.shape[dim], dims=dim)
        return gathered

    fault.replace(found.GroupCoordinator, "_all_gather_out_place", broken)


@expert(
    "routed_to_neighbour",
    ["vllm-project/vllm#37591"],
    "a token goes to the experts beside those that the router chose",
    module=f"{_ROUTER}.fused_topk_router",
    cases=[EPLB_SYNC, EPLB],
    checks=("accuracy",),
)
def _to_neighbour(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, hidden_states: Any, router_logits: Any, *arguments: Any, **named: Any) -> Any:
        weights, ids = original(self, hidden_states, router_logits, *arguments, **named)
        fault.hit()
        return weights, (ids + 1) % router_logits.shape[-1]

    fault.replace(found.FusedTopKRouter, "_compute_routing", broken)


@expert(
    "router_weights_swapped",
    ["vllm-project/vllm#43223", "flashinfer-ai/flashinfer#2889"],
    "the weights of a token's experts are in the order of another token's",
    module=f"{_ROUTER}.fused_topk_router",
    cases=[EPLB_SYNC, EPLB],
    checks=("accuracy",),
)
def _weights_swapped(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        weights, ids = original(self, *arguments, **named)
        fault.hit()
        return weights.flip(-1), ids

    fault.replace(found.FusedTopKRouter, "_compute_routing", broken)


@expert(
    "moved_experts_unmapped",
    ["sgl-project/sglang#25882", "vllm-project/vllm-ascend#4291"],
    "experts are moved, and tokens still go to where they were",
    module=_EPLB,
    cases=[EPLB_SYNC],
    checks=("accuracy",),
)
def _unmapped(found: Any, fault: Fault) -> None:
    def broken(_original: Any, *_arguments: Any, **_named: Any) -> None:
        fault.hit()

    fault.replace(found, "_commit_eplb_maps", broken)
    fault.replace(found, "_commit_eplb_maps_for_layer", broken)


@expert(
    "experts_never_moved",
    ["vllm-project/vllm#36305"],
    "the time to move experts comes, and nothing is moved",
    module=_EPLB,
    cases=[EPLB_SYNC, EPLB],
    checks=("rearrangements",),
)
def _never_moved(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        if named.get("is_profile"):
            return original(self, *arguments, **named)
        fault.hit()
        return None

    fault.replace(found.EplbState, "rearrange", broken)


@expert(
    "dispatched_to_one_rank",
    ["vllm-project/vllm-ascend#4291"],
    "with replicas of an expert tokens are counted for the first one alone",
    module=f"{_ROUTER}.base_router",
    cases=[EPLB_SYNC, DP_EP],
    checks=("accuracy",),
)
def _one_rank(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, topk_ids: Any) -> Any:
        mapped = original(self, topk_ids)
        if self.eplb_state is None:
            return mapped
        fault.hit()
        return mapped.roll(1, dims=0)

    fault.replace(found.BaseRouter, "_apply_eplb_mapping", broken)


@graph(
    "padding_written",
    ["vllm-project/vllm#21196", "vllm-project/vllm#28579"],
    "rows that only pad a batch to a graph's size write into the first slot of the cache",
    module=RUNNER,
    cases=[_ONE_DEVICE],
    checks=(*TEXTS, *ACCEPTANCE),
)
def _padding_written(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, padded: int, requests: int, unpadded: int, *arguments: Any) -> Any:
        by_group, by_layer = original(self, padded, requests, unpadded, *arguments)
        if by_group and padded > unpadded:
            fault.hit()
            for slots in by_group.values():
                slots[unpadded:padded] = slots[0]
        return by_group, by_layer

    fault.replace(found.GPUModelRunner, "_get_slot_mappings", broken)


@graph(
    "graph_never_used",
    ["vllm-project/vllm#23595"],
    "no batch is run by a graph that was captured",
    module=_GRAPHS,
    cases=[_ONE_DEVICE],
    checks=(),
    unseen="graphs are counted when they are captured, not when they are used",
)
def _never_used(found: Any, fault: Fault) -> None:
    def broken(_original: Any, _self: Any, num_tokens: int, *_arguments: Any, **_named: Any) -> Any:
        fault.hit()
        return found.CUDAGraphMode.NONE, found.BatchDescriptor(num_tokens)

    fault.replace(found.CudagraphDispatcher, "dispatch", broken)


@graph(
    "graph_of_other_size",
    ["vllm-project/vllm#24002", "vllm-project/vllm#13418"],
    "a batch is padded to one size more than its graph was captured for",
    module=_GRAPHS,
    cases=[_ONE_DEVICE],
    checks=(*TEXTS, "eval", "health-wait"),
)
def _other_size(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, num_tokens: int, *arguments: Any, **named: Any) -> Any:
        larger = num_tokens + 1
        mode, _ = original(self, larger, *arguments, **named)
        if mode == found.CUDAGraphMode.NONE:
            return original(self, num_tokens, *arguments, **named)
        fault.hit()
        return original(self, larger, *arguments, **named)

    fault.replace(found.CudagraphDispatcher, "dispatch", broken)
