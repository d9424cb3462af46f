"""Expected values of the cases that run on known-answer checkpoints: computed from the tables, never typed."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from harness.policy import protocols
from harness.policy.cases.load import CaseFile
from harness.policy.cases.matrix import Variant
from harness.policy.cases.model import Engine, Platform, Serve, Speculation, Topology, merge
from harness.policy.engines import ENGINES
from harness.policy.known_answer import simulate, weights
from harness.policy.known_answer import vocabulary as v
from harness.policy.known_answer.checkpoints import CHECKPOINTS
from harness.policy.known_answer.table import TABLE
from harness.policy.protocols import Evaluation, known_answer_qa

_TWINS = {"prefill": "twin_prefill", "decode": "twin_decode"}
_TABLE_DRAFTERS = {"eagle3", "draft_model", None}  # None: MTP layers, which follow the table too


def expected_values(case_file: CaseFile, platform: Platform, variant: Variant = ()) -> dict[str, dict[str, Any]]:
    """Values by check name, for every check of the case that can be computed; empty if the case is none of ours.

    Works before the case itself is valid, so that a new case gets its numbers from here.
    """
    merged = case_file.merged(platform, variant)
    evaluation: Evaluation = TypeAdapter(Evaluation).validate_python(merged["evaluation"])
    engine = ENGINES[Engine.model_validate(merged["engine"]).name]
    topology = Topology.model_validate(merged["topology"])
    serve = {
        role: Serve.model_validate(merge(merged["serve"], merged["roles"].get(role, {}))) for role in topology.roles
    }
    if not _answers_from_the_table(serve, evaluation):
        return {}

    through = topology.kind == "disagg" and evaluation.send_to == "entry" and _connected(serve["decode"])
    values: dict[str, dict[str, Any]] = {"parity": {"expected": 1.0, "n": evaluation.items}}
    if isinstance(evaluation, known_answer_qa.Config):
        asked = known_answer_qa.keys(evaluation)
        right = sum(TABLE.gold[key] == TABLE.said[key] for key in asked)
        values["accuracy"] = {"expected": right / len(asked), "n": len(asked)}
    final = serve["decode" if topology.kind == "disagg" else "server"]
    if final.speculation:
        # vLLM alone pads the first step of a request whose prompt arrived.
        padded = through and engine.counts("drafts")
        counts = _counts(final.speculation, evaluation, disaggregated=padded)
        values |= _speculation(counts) if engine.counts("drafts") else _verifications(counts, evaluation)
    if through:
        block = final.flags[engine.block_flag]
        assert isinstance(block, int)
        lengths = [item.prompt_tokens or 0 for item in protocols.items(evaluation)]
        tokens = sum(-(-length // block) * block for length in lengths)
        values["kv_transfer"] = {"bytes": tokens * weights.kv_bytes_per_token(_kv_layers(final))}
    return values


def _answers_from_the_table(serve: dict[Any, Serve], evaluation: Evaluation) -> bool:
    """Whether every answer comes from the table: from ordinary checkpoints, or from twins that hear of each other."""
    models = {role: settings.model.known_answer for role, settings in serve.items()}
    twins = models == _TWINS and evaluation.send_to == "entry" and _connected(serve["decode"])
    ordinary = set(models.values()) <= {"target", "mimo"}
    speculation = [settings.speculation for settings in serve.values() if settings.speculation]
    drafters = {each.model.known_answer if each.model else None for each in speculation}
    return (twins or ordinary) and drafters <= _TABLE_DRAFTERS


def _connected(serve: Serve) -> bool:
    return serve.kv_transfer is not None and serve.kv_transfer.connector != "none"


def _counts(speculation: Speculation, evaluation: Evaluation, *, disaggregated: bool) -> simulate.Counts:
    """Counters over all requests; greedy requests do not influence each other, so order does not matter."""
    k = speculation.drafted
    requests = protocols.requests(evaluation)
    if speculation.method != "ngram":
        return simulate.total(requests, k, disaggregated=disaggregated)
    shortest, longest = speculation.prompt_lookup_min or 1, speculation.prompt_lookup_max or 1
    counts = simulate.Counts(0, (0,) * k)
    for request, item in zip(requests, protocols.items(evaluation), strict=True):
        counts += simulate.simulate_lookup(request, v.encode(str(item.prompt)), k, shortest, longest)
    return counts


def _verifications(counts: simulate.Counts, evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Of an engine that counts what verifications emitted: the whole answer but its first token."""
    emitted = sum(len(simulate.simulate(request, 0)[0]) - 1 for request in protocols.requests(evaluation))
    return {"acceptance_length": {"expected": emitted / counts.drafts, "n": counts.drafts}}


def _speculation(counts: simulate.Counts) -> dict[str, dict[str, Any]]:
    return {
        "acceptance_length": {"expected": counts.acceptance_length, "n": counts.drafts},
        "acceptance_per_position": {"expected": list(counts.acceptance_per_position), "n": counts.drafts},
        "draft_counts": {
            "drafts": counts.drafts,
            "draft_tokens": counts.draft_tokens,
            "accepted": counts.accepted,
            "accepted_per_position": list(counts.accepted_per_position),
        },
    }


def _kv_layers(serve: Serve) -> int:
    """Attention layers whose KV cache travels: the model's and the drafter's."""
    layers = CHECKPOINTS[serve.model.name].kv_layers
    if serve.speculation and serve.speculation.model:
        layers += CHECKPOINTS[serve.speculation.model.name].kv_layers
    return layers
