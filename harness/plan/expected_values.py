"""Expected values of the cases that run on known-answer checkpoints: computed from the tables, never typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from harness import protocols
from harness.base.domain import Item, Platform
from harness.base.errors import UsageError
from harness.cases.load import CaseFile
from harness.cases.matrix import Variant
from harness.cases.model import Engine, Topology, merge
from harness.cases.serve_settings import Serve, Speculation
from harness.datasets.pinned_files import Dataset
from harness.engines import ENGINES
from harness.engines.engine import EngineSpec
from harness.protocols import Evaluation
from known_answer import simulate, suffix_decoding, tree, weights
from known_answer import vocabulary as v
from known_answer.checkpoints import CHECKPOINTS
from known_answer.prefix_cache import Ask, sources
from known_answer.table import TABLE, Table


def datasets(case_file: CaseFile, platform: Platform, variant: Variant = ()) -> tuple[Dataset, ...]:
    """The data files without which the expected values of the case cannot be computed."""
    evaluation = case_file.merged(platform, variant).get("evaluation")
    protocol = protocols.PROTOCOLS.get(str(evaluation.get("protocol"))) if isinstance(evaluation, dict) else None
    return protocol.DATASETS if protocol and protocol.ANSWERS else ()


def expected_values(
    case_file: CaseFile,
    platform: Platform,
    variant: Variant = (),
    data: Mapping[str, str] | None = None,
    checkpoints: str = "",
) -> dict[str, dict[str, Any]]:
    """Values by check name, for every check of the case that can be computed; empty if the case is none of ours.

    Works before the case itself is valid, so that a new case gets its numbers from here.

    Args:
        case_file: The case.
        platform: Where it runs.
        variant: The point of its matrix.
        data: Text of each of its :func:`datasets` by file name.
        checkpoints: The checkpoint set; empty for the models of the case.

    Raises:
        UsageError: The case speculates, and none of its answers gives anything to draft.
    """
    merged = case_file.merged(platform, variant, checkpoints)
    evaluation: Evaluation = TypeAdapter(Evaluation).validate_python(merged["evaluation"])
    engine = ENGINES[Engine.model_validate(merged["engine"]).name]
    topology = Topology.model_validate(merged["topology"])
    serve = {
        role: Serve.model_validate(merge(merged["serve"], merged["roles"].get(role, {}))) for role in topology.roles
    }
    table = _answers_from(serve, evaluation)
    if table is None:
        return {}

    through = topology.kind == "disagg" and evaluation.send_to == "entry" and _connected(serve["decode"])
    values: dict[str, dict[str, Any]] = {"parity": {"expected": 1.0, "n": evaluation.items}}
    items = protocols.items(evaluation, data)
    if all(item.expected is not None for item in items):
        right = sum(evaluation.answer(item.expected_text or "") == item.expected for item in items)
        values["accuracy"] = {"expected": right / len(items), "n": len(items)}
    final = serve["decode" if topology.kind == "disagg" else "server"]
    if final.speculation:
        padded = through and "placeholder_drafts" in engine.offers
        every_step = bool(merged.get("checks", {}).get("draft_counts", {}).get("every_step"))
        counts = _counts(final.speculation, evaluation, table, data, disaggregated=padded, every_step=every_step)
        if counts and not counts.drafts:
            raise UsageError(f"{case_file.path}: serve.speculation: no answer gives anything to draft; ask others")
        if counts and "accepted_per_position" in engine.offers:
            values |= _speculation(counts, placeholders=len(items) if padded else 0)
        elif counts:
            values |= _verifications(counts, evaluation, table, data)
    if through:
        values |= _ledger(engine, final, evaluation, items)
    return values


def _ledger(engine: EngineSpec, serve: Serve, evaluation: Evaluation, items: list[Item]) -> dict[str, dict[str, Any]]:
    """Bytes that move and, where a prefix cache answers for a part, prompt tokens by source."""
    block = serve.flags.get(engine.block_flag)
    if not isinstance(block, int):
        return {}  # the engine chooses
    flag, off = engine.no_prefix_cache
    # An engine that does not count by source sends whole prompts, whatever is cached on either side.
    caching = "prompt_tokens_by_source" in engine.offers and serve.flags.get(flag, not off) != off
    if caching and evaluation.concurrency > 1:
        return {}  # what is found in the cache depends on who comes first
    # The first item is also asked while the servers start.
    asks = [Ask(v.encode(str(items[0].prompt)), routed=True, counted=False)]
    for item in items:
        if item.prime and item.prime.role == "decode":
            asks.append(Ask(v.encode(item.prime.prompt), routed=False))
        asks.append(Ask(v.encode(str(item.prompt)), routed=True))
    found = sources(asks, block, caching=caching)
    layers = _kv_layers(serve)
    values = {"bytes": found.moved * weights.kv_bytes_per_token(layers)} if layers is not None else {}
    if caching:
        values |= {name: getattr(found, name) for name in ("external", "local_cache_hit", "local_compute")}
    return {"kv_transfer": values} if values else {}


def _answers_from(serve: dict[Any, Serve], evaluation: Evaluation) -> Table | None:
    """The table that every answer comes from: of ordinary checkpoints, or of twins that hear of each other."""
    table = evaluation.ANSWERS
    if table is None:
        return None
    models = {role: settings.model.known_answer for role, settings in serve.items()}
    kinds = {(name or "").removesuffix(f"twin_{role}") for role, name in models.items()}
    twins = len(kinds) == 1 and all((name or "").endswith(f"twin_{role}") for role, name in models.items())
    twins = twins and table is TABLE and evaluation.send_to == "entry" and _connected(serve["decode"])
    ordinary = all(name and CHECKPOINTS[name].answers is table for name in models.values())
    speculation = [settings.speculation for settings in serve.values() if settings.speculation]
    drafters = [each.model.known_answer for each in speculation if each.model]
    follow = all(name and _follows(name, table) for name in drafters)
    return table if (twins or ordinary) and follow else None


def _follows(drafter: str, table: Table) -> bool:
    """Whether the drafter is made for targets that answer from ``table``; it may retrieve what it could not know."""
    drafts = CHECKPOINTS[drafter].drafts
    return drafts is not None and drafts.successor is table.successor


def _connected(serve: Serve) -> bool:
    return serve.kv_transfer is not None and serve.kv_transfer.connector != "none"


def _counts(
    speculation: Speculation,
    evaluation: Evaluation,
    table: Table,
    data: Mapping[str, str] | None,
    *,
    disaggregated: bool,
    every_step: bool,
) -> simulate.Counts | None:
    """Counters over all requests; None where they are not known, of a tree for example that chance decides on."""
    k, branches = speculation.num_steps or speculation.drafted, speculation.topk or 1
    requests = protocols.requests(evaluation, data)
    drafter = CHECKPOINTS[speculation.model.name] if speculation.model else None
    if branches > 1:
        candidates = drafter.candidates if drafter else None
        shape = tree.Tree(k, branches, speculation.drafted)
        return tree.total(requests, shape, table, candidates) if candidates else None
    if drafter and drafter.drafts:
        table = drafter.drafts
    if speculation.method == "suffix":
        return _suffix_counts(speculation, evaluation, requests, table, data)
    if speculation.method not in {"ngram", "ngram_gpu"}:
        first = drafter.first_draft if drafter else None
        return simulate.total(requests, k, disaggregated=disaggregated, first_draft=first, table=table)
    shortest, longest = speculation.prompt_lookup_min or 1, speculation.prompt_lookup_max or 1
    counts = simulate.Counts(0, (0,) * k)
    for request, item in zip(requests, protocols.items(evaluation, data), strict=True):
        prompt = v.encode(str(item.prompt))
        counts += simulate.simulate_lookup(request, prompt, k, shortest, longest, table=table, every_step=every_step)
    return counts


def _suffix_counts(
    speculation: Speculation,
    evaluation: Evaluation,
    requests: list[simulate.Request],
    table: Table,
    data: Mapping[str, str] | None,
) -> simulate.Counts | None:
    """Of suffix decoding; None where answers are kept for later requests, and who is later is not known."""
    kept = speculation.suffix_decoding_max_cached_requests
    kept = suffix_decoding.KEPT if kept is None else kept
    if kept and (evaluation.concurrency > 1 or kept <= len(requests)):
        return None
    depth = speculation.suffix_decoding_max_tree_depth or suffix_decoding.DEPTH
    factor = speculation.suffix_decoding_max_spec_factor or suffix_decoding.FACTOR
    prompts = [v.encode(str(item.prompt)) for item in protocols.items(evaluation, data)]
    k = speculation.drafted
    return suffix_decoding.total(requests, prompts, k, depth=depth, factor=factor, shared=kept > 0, table=table)


def _verifications(
    counts: simulate.Counts, evaluation: Evaluation, table: Table, data: Mapping[str, str] | None
) -> dict[str, dict[str, Any]]:
    """Of an engine that counts what verifications emitted: every answer but its first token."""
    requests = protocols.requests(evaluation, data)
    emitted = sum(len(simulate.simulate(request, 0, table=table)[0]) - 1 for request in requests)
    return {"acceptance_length": {"expected": emitted / counts.drafts, "n": counts.drafts}}


def _speculation(counts: simulate.Counts, *, placeholders: int) -> dict[str, dict[str, Any]]:
    drafted = len(counts.accepted_per_position)
    return {
        "acceptance_length": {"expected": counts.acceptance_length, "n": counts.drafts},
        "acceptance_per_position": {"expected": list(counts.acceptance_per_position), "n": counts.drafts},
        "draft_counts": {
            "drafts": counts.drafts - placeholders,
            "draft_tokens": counts.draft_tokens - placeholders * drafted,
            "accepted": counts.accepted,
            "accepted_per_position": list(counts.accepted_per_position),
            **({"placeholders": placeholders} if placeholders else {}),
        },
    }


def _kv_layers(serve: Serve) -> int | None:
    """Attention layers whose KV cache travels, the model's and the drafter's; None if other states travel too."""
    models = [serve.model, *([serve.speculation.model] if serve.speculation and serve.speculation.model else [])]
    layers = [CHECKPOINTS[model.name].kv_layers for model in models]
    return sum(each or 0 for each in layers) if None not in layers else None
