"""Mutants of vLLM's recurrent states: hybrid models, alone and behind prefill/decode disaggregation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared, Patch
from engine_mutants.named_cases import HYBRID, NIXL, TEXTS

_STATES = "vllm.v1.attention.backends.mamba_attn"

DECLARED = Declared("hybrid state")
mutant = DECLARED.mutant


def _read(change: Callable[[Any, int], None]) -> Patch:
    """A patch of what decode reads of recurrent states from prefill.

    ``change`` is given the descriptors, of which those of a region stand together, state by state and in each block by
    block, and the number of blocks. A region is a layer's, or that of several layers that share their memory.
    """

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
            descriptors = original(self, *arguments, **named)
            states = len(self._conv_decomp.local_conv_offsets) + 1
            regions = len(self._ssm_region_indices or self.block_len_per_layer)
            blocks = len(descriptors) // (states * regions)
            if fault.server.startswith("decode") and blocks > 1:
                fault.hit()
                descriptors = descriptors.copy()
                change(descriptors, blocks)
            return descriptors

        fault.replace(found.NixlBaseConnectorWorker, "_build_mamba_remote", broken)

    return patch


def _first_from_beside(descriptors: Any, blocks: int) -> None:
    descriptors[:blocks, 0] = _beside(descriptors[:blocks, 0])


def _last_from_beside(descriptors: Any, blocks: int) -> None:
    descriptors[-blocks:, 0] = _beside(descriptors[-blocks:, 0])


def _beside(addresses: Any) -> Any:
    return addresses[[*range(1, len(addresses)), 0]]


for _name, _bugs, _breaks, _change in (
    (
        "state_convolution_stale",
        ["vllm-project/vllm#49297", "vllm-project/vllm#48481"],
        "decode reads the first part of a convolution state from the block beside",
        _first_from_beside,
    ),
    (
        "state_temporal_stale",
        ["vllm-project/vllm#49297"],
        "decode reads a temporal state from the block beside",
        _last_from_beside,
    ),
):
    mutant(_name, _bugs, _breaks, module=f"{NIXL}.base_worker", cases=[HYBRID], checks=TEXTS, switched=False)(
        _read(_change)
    )


@mutant(
    "states_mixed",
    ["vllm-project/vllm#39273", "vllm-project/vllm#53912"],
    "with several requests each one goes on from the state of another",
    module=_STATES,
    cases=[HYBRID],
    checks=TEXTS,
    dirty=True,
)
def _mixed(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        metadata = original(self, *arguments, **named)
        states = metadata.state_indices_tensor_d
        if states is not None and len(states) > 1:
            fault.hit()
            metadata.state_indices_tensor_d = states.roll(1, dims=0)
        return metadata

    fault.replace(found.BaseMambaAttentionMetadataBuilder, "_compute_common_metadata", broken)


@mutant(
    "state_not_carried_on",
    ["vllm-project/vllm#55178", "vllm-project/vllm#53505"],
    "a request that arrives with a state starts from none",
    module=_STATES,
    cases=[HYBRID],
    checks=TEXTS,
)
def _not_carried(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        metadata = original(self, *arguments, **named)
        carried = getattr(metadata, "has_initial_states_p", None)
        if carried is not None and bool(carried.any()):
            fault.hit()
            metadata.has_initial_states_p = carried & False
        return metadata

    fault.replace(found.BaseMambaAttentionMetadataBuilder, "_compute_common_metadata", broken)
