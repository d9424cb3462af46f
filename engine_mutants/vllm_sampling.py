"""Mutants of vLLM's sampler."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import CONTRACT, CONTRACT_DRAFTS, EAGLE3, MTP, SAMPLED, TEXTS

_INPUTS = "vllm.v1.engine.input_processor"
_FILTERS = "vllm.v1.sample.ops.topk_topp_sampler"
_SAMPLER = "vllm.v1.sample.sampler"
_PROCESSORS = "vllm.v1.sample.logits_processor.builtin"

DECLARED = Declared("sampler")
sampling = DECLARED.mutant


def _parameter(name: str, value: Any) -> Any:
    """A patch by which a parameter of the request is not heeded."""

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
            request = original(self, *arguments, **named)
            if getattr(request.sampling_params, name) not in (None, value):
                fault.hit()
                setattr(request.sampling_params, name, value)
            return request

        fault.replace(found.InputProcessor, "process_inputs", broken)

    return patch


for _name, _value, _bugs in (
    ("temperature", 0.0, ["vllm-project/vllm#9834", "vllm-project/vllm#10198"]),
    ("seed", None, ["vllm-project/vllm#6038", "vllm-project/vllm#13196"]),
    ("top_p", 1.0, ["vllm-project/vllm#42802"]),
    ("top_k", 0, ["vllm-project/vllm#42802"]),
    ("min_p", 0.0, ["vllm-project/vllm#42802"]),
    ("repetition_penalty", 1.0, ["vllm-project/vllm#22987"]),
    ("frequency_penalty", 0.0, ["vllm-project/vllm#22987"]),
):
    sampling(
        f"{_name}_ignored",
        _bugs,
        f"{_name} of a request is not heeded",
        module=_INPUTS,
        cases=[SAMPLED],
        checks=("sampling",),
    )(_parameter(_name, _value))


@sampling(
    "top_k_one_more",
    ["vllm-project/vllm#9834"],
    "top-k lets one token more pass than it was told",
    module=_FILTERS,
    cases=[SAMPLED],
    checks=("sampling",),
)
def _one_more(found: Any, fault: Fault) -> None:
    def broken(original: Any, logits: Any, k: Any, p: Any) -> Any:
        if k is not None:
            fault.hit()
            k = (k + 1).clamp(max=logits.shape[-1])
        return original(logits, k, p)

    fault.replace(found, "apply_top_k_top_p", broken)


@sampling(
    "greedy_row_of_neighbour",
    ["vllm-project/vllm#26231", "vllm-project/vllm#40766"],
    "with three or more requests the last one gets the token of the one before",
    module=_SAMPLER,
    platform="cpu",
    cases=[EAGLE3, MTP],
    checks=TEXTS,
)
def _greedy_row(found: Any, fault: Fault) -> None:
    def broken(original: Any, logits: Any) -> Any:
        tokens = original(logits)
        if len(tokens) > 2:
            fault.hit()
            tokens[-1] = tokens[-2]
        return tokens

    fault.replace(found.Sampler, "greedy_sample", broken)


@sampling(
    "logprobs_of_neighbour",
    ["vllm-project/vllm#30846", "vllm-project/vllm#38711"],
    "log probabilities are those of the row before",
    module=_SAMPLER,
    platform="cpu",
    cases=[SAMPLED],
    checks=("sampling",),
)
def _logprobs_row(found: Any, fault: Fault) -> None:
    def broken(original: Any, logprobs: Any, number: int, token_ids: Any) -> Any:
        fault.hit()
        return original(logprobs.roll(1, dims=0), number, token_ids)

    fault.replace(found.Sampler, "gather_logprobs", broken)


@sampling(
    "min_tokens_ignored",
    ["vllm-project/vllm#22014"],
    "an answer may end before min_tokens",
    module=_PROCESSORS,
    cases=[CONTRACT, CONTRACT_DRAFTS],
    checks=("contract",),
)
def _min_tokens(found: Any, fault: Fault) -> None:
    def broken(_original: Any, self: Any, logits: Any, *_arguments: Any, **_named: Any) -> Any:
        if self.min_toks:
            fault.hit()
        return logits

    fault.replace(found.MinTokensLogitsProcessor, "apply", broken)
    fault.replace(found.MinTokensLogitsProcessor, "apply_with_spec_decode", broken)


@sampling(
    "logit_bias_ignored",
    ["vllm-project/vllm#42802"],
    "a bias of logits is not heeded",
    module=_PROCESSORS,
    cases=[SAMPLED],
    checks=("sampling",),
)
def _logit_bias(found: Any, fault: Fault) -> None:
    def broken(_original: Any, self: Any, logits: Any) -> Any:
        if self.biases:
            fault.hit()
        return logits

    fault.replace(found.LogitBiasLogitsProcessor, "apply", broken)
