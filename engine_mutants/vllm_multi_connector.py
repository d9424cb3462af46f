"""Mutants of vLLM's MultiConnector, and of the store behind NIXL in it."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import MULTI, TEXTS

_MULTI = "vllm.distributed.kv_transfer.kv_connector.v1.multi_connector"
_EXAMPLE = "vllm.distributed.kv_transfer.kv_connector.v1.example_connector"

# Not switched: what the store has kept of one evaluation would answer in the next.
DECLARED = Declared("MultiConnector", switched=False)
mutant = DECLARED.mutant


@mutant(
    "last_connector_loads",
    ["vllm-project/vllm#35092", "vllm-project/vllm#46951"],
    "of several connectors that hold a prompt the last one is asked for it",
    module=_MULTI,
    cases=[MULTI],
    checks=("kv_transfer", *TEXTS, "eval"),
)
def _last_loads(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request: Any, num_computed_tokens: int) -> Any:
        answers = [each.get_num_new_matched_tokens(request, num_computed_tokens) for each in self._connectors]
        holding = [number for number, (tokens, _) in enumerate(answers) if tokens]
        if len(holding) < 2:
            return original(self, request, num_computed_tokens)
        fault.hit()
        self._requests_to_connector[request.request_id] = holding[-1]
        return answers[holding[-1]]

    fault.replace(found.MultiConnector, "get_num_new_matched_tokens", broken)


@mutant(
    "no_connector_loads",
    ["vllm-project/vllm#46971"],
    "what a connector holds is found and never loaded",
    module=_MULTI,
    cases=[MULTI],
    checks=("kv_transfer", *TEXTS),
)
def _none_loads(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, request: Any, num_computed_tokens: int) -> Any:
        count, later = original(self, request, num_computed_tokens)
        if count and fault.server.startswith("decode"):
            fault.hit()
            self._requests_to_connector.pop(request.request_id, None)
            return 0, False
        return count, later

    fault.replace(found.MultiConnector, "get_num_new_matched_tokens", broken)


@mutant(
    "store_saves_nothing",
    ["neuralmagic/vllm#90", "vllm-project/vllm#45704"],
    "the store behind NIXL is told of no layer, and so keeps nothing",
    module=_EXAMPLE,
    cases=[MULTI],
    checks=("kv_transfer", *TEXTS),
)
def _saves_nothing(found: Any, fault: Fault) -> None:
    def broken(_original: Any, _self: Any, *_arguments: Any, **_named: Any) -> None:
        fault.hit()

    fault.replace(found.ExampleConnector, "save_kv_layer", broken)
