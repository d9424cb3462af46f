"""Mutants of vLLM's API layer, its tokenizer's ways in and out, and its chat template."""

from __future__ import annotations

from typing import Any

from engine_mutants.fault import Fault, Intended
from engine_mutants.mutant import Declared
from engine_mutants.named_cases import CONTRACT, CONTRACT_DRAFTS, EAGLE3, EDGES, MTP, NGRAM, TEXTS, TWINS

_COMPLETIONS = "vllm.entrypoints.openai.completion.serving"
_DETOKENIZER = "vllm.v1.engine.detokenizer"
_INPUTS = "vllm.v1.engine.input_processor"
_OUTPUTS = "vllm.v1.engine.output_processor"
_TEMPLATES = "vllm.renderers.hf"

DECLARED = Declared("API")
TOKENS = Declared("tokenizer and template")
mutant, tokens = DECLARED.mutant, TOKENS.mutant


@mutant(
    "empty_text_when_busy",
    ["vllm-project/vllm#3209"],
    "every seventh answer has no text",
    module=_OUTPUTS,
    cases=[EAGLE3, TWINS],
    checks=TEXTS,
)
def _empty(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, token_ids: Any, finish_reason: Any, *arguments: Any, **named: Any) -> Any:
        output = original(self, token_ids, finish_reason, *arguments, **named)
        if finish_reason is not None and fault.every(7):
            output.text = ""
        return output

    fault.replace(found.RequestState, "_new_completion_output", broken)


@mutant(
    "text_of_another",
    ["vllm-project/vllm#39589", "vllm-project/vllm#32255"],
    "every sixth answer has the text of the one before it",
    module=_OUTPUTS,
    cases=[EAGLE3, NGRAM],
    checks=TEXTS,
)
def _of_another(found: Any, fault: Fault) -> None:
    before = [""]

    def broken(original: Any, self: Any, token_ids: Any, finish_reason: Any, *arguments: Any, **named: Any) -> Any:
        output = original(self, token_ids, finish_reason, *arguments, **named)
        if finish_reason is not None:
            own = output.text
            if fault.every(6):
                output.text = before[0]
            before[0] = own
        return output

    fault.replace(found.RequestState, "_new_completion_output", broken)


@mutant(
    "text_cut_short",
    ["vllm-project/vllm#3131", "vllm-project/vllm#30099"],
    "the last character of an answer is missing in every fourth",
    module=_DETOKENIZER,
    cases=[EAGLE3, NGRAM],
    checks=TEXTS,
)
def _cut_short(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, finished: bool, delta: bool) -> Any:
        text = original(self, finished, delta)
        return text[:-1] if finished and fault.every(4) else text

    fault.replace(found.BaseIncrementalDetokenizer, "get_next_output_text", broken)


@mutant(
    "stream_loses_piece",
    ["vllm-project/vllm#30099"],
    "one piece in five of a stream is lost",
    module=_DETOKENIZER,
    cases=[CONTRACT, CONTRACT_DRAFTS],
    checks=("contract",),
)
def _loses_piece(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, finished: bool, delta: bool) -> Any:
        text = original(self, finished, delta)
        return "" if delta and fault.every(5) else text

    fault.replace(found.BaseIncrementalDetokenizer, "get_next_output_text", broken)


@mutant(
    "stop_strings_ignored",
    ["vllm-project/vllm#49391", "sgl-project/sglang#23802", "snowflakedb/ArcticInference#161"],
    "stop strings are never found",
    module=_DETOKENIZER,
    cases=[CONTRACT, CONTRACT_DRAFTS],
    checks=("contract",),
)
def _stop_ignored(found: Any, fault: Fault) -> None:
    def broken(_original: Any, *_arguments: Any, stop: Any = (), **_named: Any) -> None:
        if stop:
            fault.hit()

    fault.replace(found, "check_stop_strings", broken)


@mutant(
    "stop_string_stays",
    ["vllm-project/vllm#14623", "vllm-project/vllm#45636"],
    "the stop string stays in the text",
    module=_DETOKENIZER,
    cases=[CONTRACT, CONTRACT_DRAFTS],
    checks=("contract",),
)
def _stop_stays(found: Any, fault: Fault) -> None:
    def broken(original: Any, *arguments: Any, **named: Any) -> Any:
        if named.get("stop"):
            fault.hit()
            named["include_in_output"] = True
        return original(*arguments, **named)

    fault.replace(found, "check_stop_strings", broken)


@mutant(
    "usage_counts_too_many",
    ["vllm-project/vllm#8625"],
    "usage says one completion token too many",
    module=_COMPLETIONS,
    cases=[EAGLE3, NGRAM],
    checks=("validity", "parity"),
)
def _too_many(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        response = original(self, *arguments, **named)
        fault.hit()
        response.usage.completion_tokens += 1
        return response

    fault.replace(found.OpenAIServingCompletion, "request_output_to_completion_response", broken)


@mutant(
    "sometimes_500",
    ["vllm-project/vllm#52170"],
    "every tenth request ends in an error of the server",
    module=_COMPLETIONS,
    cases=[EAGLE3, NGRAM],
    checks=("eval", "validity"),
    dirty=True,
)
def _sometimes_500(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
        if fault.every(10):
            raise Intended("a mutant ends every tenth request")
        return original(self, *arguments, **named)

    fault.replace(found.OpenAIServingCompletion, "request_output_to_completion_response", broken)


@mutant(
    "answers_said_aborted",
    ["vllm-project/vllm#16832"],
    "every ninth answer says that it was aborted",
    module=_OUTPUTS,
    cases=[EAGLE3, NGRAM],
    checks=("eval", "validity"),
    dirty=True,
)
def _aborted(found: Any, fault: Fault) -> None:
    def broken(original: Any, self: Any, token_ids: Any, finish_reason: Any, *arguments: Any, **named: Any) -> Any:
        output = original(self, token_ids, finish_reason, *arguments, **named)
        if finish_reason is not None and fault.every(9):
            output.finish_reason = "abort"
        return output

    fault.replace(found.RequestState, "_new_completion_output", broken)


def _prompt(change: Any) -> Any:
    """A patch that gives the engine other tokens than those of the prompt."""

    def patch(found: Any, fault: Fault) -> None:
        def broken(original: Any, self: Any, *arguments: Any, **named: Any) -> Any:
            request = original(self, *arguments, **named)
            if request.prompt_token_ids and len(request.prompt_token_ids) > 2:
                fault.hit()
                request.prompt_token_ids = change(list(request.prompt_token_ids))
            return request

        fault.replace(found.InputProcessor, "process_inputs", broken)

    return patch


tokens(
    "first_token_doubled",
    ["vllm-project/vllm#9519", "vllm-project/vllm#44234", "vllm-project/vllm#27517"],
    "the first token of a prompt is there twice, as a second BOS is",
    module=_INPUTS,
    cases=[EAGLE3, MTP],
    checks=("validity", *TEXTS, "eval"),
)(_prompt(lambda ids: [ids[0], *ids]))

tokens(
    "prompt_end_lost",
    ["vllm-project/vllm#48853"],
    "the last token of a prompt is not given to the model",
    module=_INPUTS,
    cases=[EAGLE3, NGRAM],
    checks=("validity", *TEXTS, "eval"),
)(_prompt(lambda ids: ids[:-1]))

tokens(
    "prompt_middle_changed",
    ["vllm-project/vllm#26231"],
    "one token in the middle of a prompt is another",
    module=_INPUTS,
    cases=[EAGLE3, EDGES],
    checks=TEXTS,
)(_prompt(lambda ids: [*ids[: len(ids) // 2], ids[0], *ids[len(ids) // 2 + 1 :]]))


@tokens(
    "template_without_turn",
    ["vllm-project/vllm#2012"],
    "the chat template does not begin the turn of the model",
    module=_TEMPLATES,
    cases=[CONTRACT],
    checks=("contract",),
)
def _without_turn(found: Any, fault: Fault) -> None:
    def broken(original: Any, *arguments: Any, **named: Any) -> Any:
        if named.get("add_generation_prompt"):
            fault.hit()
            named["add_generation_prompt"] = False
        return original(*arguments, **named)

    fault.replace(found, "safe_apply_chat_template", broken)
