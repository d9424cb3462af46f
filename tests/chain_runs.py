"""Evidence of runs against the sound server of the chain, and against broken ones: no process, no socket."""

from __future__ import annotations

import random
from collections.abc import Iterable

from harness.base.domain import Sample
from harness.base.evidence import NO_ANSWERS, Acceptance, Evidence, Measurement
from harness.base.exchange import Exchange, Exchanged
from harness.protocols.protocol import EvaluationBase
from tests.fake_engine.site.chain_server import ChainServer


def evidence(evaluation: EvaluationBase, server: ChainServer) -> Evidence:
    """Of a main run and all exchanges."""
    samples = tuple(_sample(server, item.id, dict(item.body), str(item.prompt), item.expected_text)
                    for item in evaluation.questions({}))  # fmt: skip
    counted = Acceptance(server.drafts, server.drafts * server.drafted, server.accepted, ())
    exchanges = tuple(exchanged(server, evaluation.exchanges()))
    acceptance = counted if server.rank is not None else None
    return Evidence(Measurement({"main": NO_ANSWERS}, acceptance, None, None), samples, exchanges=exchanges)


def _sample(server: ChainServer, item: str, body: dict[str, object], prompt: str, expected: str | None) -> Sample:
    _, document, _ = server.respond("/v1/completions", {"prompt": prompt, "temperature": 0, **body})
    choice, usage = document["choices"][0], document["usage"]
    return Sample(
        "main", item, 200, "", choice["text"], usage["prompt_tokens"], usage["completion_tokens"], 0.0, 0.1,
        choice["finish_reason"], None, expected, usage["prompt_tokens"],
    )  # fmt: skip


def exchanged(server: ChainServer, planned: Iterable[Exchange]) -> list[Exchanged]:
    """What a server answers."""
    found = []
    for each in planned:
        status, document, pieces = (
            (400, {"error": {"message": "no JSON"}}, []) if each.raw else server.respond(each.path, dict(each.body))
        )
        if each.leave_after:
            pieces = pieces[: each.leave_after]
            server.running += "never_frees" in server.faults
        found.append(
            Exchanged(
                each.name,
                status,
                "",
                document,
                tuple(pieces),
                bool(pieces) and not each.leave_after,
                {"running": float(server.running), "waiting": 0.0} if each.leave_after else {},
                each.expected,
            )
        )
    return found


def broken(*faults: str, rank: int | None = None, seed: int = 0) -> ChainServer:
    """A server with these faults; without any it is sound."""
    return ChainServer(frozenset(faults), rank, chance=random.Random(seed))
