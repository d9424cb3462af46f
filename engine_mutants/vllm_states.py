"""Mutants of vLLM's recurrent states: hybrid models, alone and behind prefill/decode disaggregation."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import HYBRID, NIXL, TEXTS

_STATES = "vllm.v1.attention.backends.mamba_attn"

DECLARED = Declared("hybrid state")
mutant = DECLARED.mutant


@mutant(
    "state_read_from_next_layer",
    ["vllm-project/vllm#49297", "vllm-project/vllm#48481"],
    "decode reads the first recurrent layer's convolution state from the second one",
    module=f"{NIXL}.base_worker",
    cases=[HYBRID],
    checks=TEXTS,
    switched=False,
)
def _next_layer(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        descriptors = original(self, *arguments, **named)
        states = len(self._conv_decomp.local_conv_offsets) + 1
        layers = len(self._ssm_region_indices or self.block_len_per_layer)
        blocks = len(descriptors) // (states * layers)
        if fault.server.startswith("decode") and layers > 1 and blocks:
            fault.hit()
            descriptors = descriptors.copy()
            descriptors[:blocks, 0] = descriptors[states * blocks : (states + 1) * blocks, 0]
        return descriptors

    fault.replace(found.NixlBaseConnectorWorker, "_build_mamba_remote", broken)


@mutant(
    "state_temporal_stale",
    ["vllm-project/vllm#49297"],
    "decode reads the last recurrent layer's temporal state from the layer before",
    module=f"{NIXL}.base_worker",
    cases=[HYBRID],
    checks=TEXTS,
    switched=False,
)
def _temporal(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        descriptors = original(self, *arguments, **named)
        states = len(self._conv_decomp.local_conv_offsets) + 1
        layers = len(self._ssm_region_indices or self.block_len_per_layer)
        blocks = len(descriptors) // (states * layers)
        if fault.server.startswith("decode") and layers > 1 and blocks:
            fault.hit()
            descriptors = descriptors.copy()
            before = descriptors[-(states + 1) * blocks : -states * blocks, 0]
            descriptors[-blocks:, 0] = before
        return descriptors

    fault.replace(found.NixlBaseConnectorWorker, "_build_mamba_remote", broken)


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
