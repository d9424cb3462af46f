"""What the cases hold that upstream could hold too: figures with where they came from, and points of matrices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.base.domain import Platform
from harness.base.settings import listed
from harness.cases.model import Case
from harness.cases.serve_settings import Serve
from harness.plan.points import Planned
from harness.upstream.figures import ACCURACY, LENGTH, PER_POSITION

_FILE = re.compile(r"[\w./-]+\.(?:py|sh|ya?ml)")
_DATASETS = {"gsm8k": "gsm8k", "mt_bench": "mt-bench"}
"""How names of our protocols begin, and what upstream calls what they ask."""


@dataclass(frozen=True)
class Held:
    """A figure of a case on a platform.

    Attributes:
        case: Id of the case.
        platform: Where it counts.
        kind: Name of the check.
        values: The expected value, or one a position.
        tolerance: How far from it is too far, relative or absolute.
        origin: Where it came from, as the case says.
        target: Repository of the model that answers.
        drafter: Repository of the drafter; empty for none.
        draft_tokens: Tokens drafted per step; None without speculation.
        dataset: What is asked, by upstream's name.
        known: Other figures that the case has in its history of this one.
        judges: Tests that a script which the origin names runs: what it judges by stands there.
    """

    case: str
    platform: Platform
    kind: str
    values: tuple[float, ...]
    tolerance: float
    origin: str
    target: str
    drafter: str = ""
    draft_tokens: int | None = None
    dataset: str = ""
    known: tuple[float, ...] = ()
    judges: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """Upstream's files that the origin names: a path in its repository, or the name alone."""
        return list(dict.fromkeys(_FILE.findall(self.origin)))

    def names(self, path: str) -> bool:
        """Whether the origin names this file."""
        return path in self.judges or any(path == each or path.endswith(f"/{each}") for each in self.files)


@dataclass(frozen=True)
class Topology:
    """How prefill and decode servers are put together, with what they speculate by and move their caches.

    Attributes:
        target: Repository of the model.
        prefill: Tensor, pipeline and data parallel size of a prefill server.
        decode: Of a decode server.
        connector: Name of the KV connector.
        method: Of speculation; empty for none.
        draft_tokens: Per step of decode; None without speculation.
    """

    target: str
    prefill: tuple[int, int, int]
    decode: tuple[int, int, int]
    connector: str
    method: str = ""
    draft_tokens: int | None = None

    def __str__(self) -> str:
        sizes = f"prefill {_sizes(self.prefill)}, decode {_sizes(self.decode)}"
        speculation = f", {self.method} with {self.draft_tokens}" if self.method else ""
        return f"{self.target}: {sizes}, {self.connector}{speculation}"


def _sizes(each: tuple[int, int, int]) -> str:
    tensor, pipeline, data = each
    return f"TP {tensor}" + (f" PP {pipeline}" if pipeline > 1 else "") + (f" DP {data}" if data > 1 else "")


def figures(planned: Sequence[Planned]) -> list[Held]:
    """Every figure of the cases' own models, each once a case and platform."""
    found = (held for each in planned if not each.checkpoints for held in _of_point(each))
    return list(dict.fromkeys(found))


def _of_point(each: Planned) -> Iterator[Held]:
    case = each.case
    serve = case.serve_of("server" if case.topology.kind == "single" else "decode")
    if not serve.model.repo:
        return
    speculation = serve.speculation
    drafter = speculation.model.repo if speculation and speculation.model else None
    protocol = str(getattr(case.evaluation, "protocol", "") or "")
    dataset = next((name for start, name in _DATASETS.items() if protocol.startswith(start)), "")
    for kind in (ACCURACY, LENGTH, PER_POSITION):
        baseline = getattr(case.checks, kind, None)
        if baseline is None:
            continue
        expected = listed(baseline.expected)
        width = baseline.relative_tolerance if baseline.absolute_tolerance is None else baseline.absolute_tolerance
        yield Held(
            each.case_file.id, each.platform, kind, tuple(map(float, expected)), width or 0.0, baseline.origin,
            serve.model.repo, drafter or "", speculation.drafted if speculation else None, dataset,
            tuple(value for past in getattr(baseline, "history", ()) for value in listed(past.expected)),
        )  # fmt: skip


def topologies(planned: Iterable[Planned]) -> Mapping[Topology, list[tuple[str, Mapping[str, str]]]]:
    """Prefill/decode topologies, each with the cases that have it and the environment of their decode servers."""
    found: dict[Topology, list[tuple[str, Mapping[str, str]]]] = {}
    for each in planned:
        if each.case.topology.kind == "disagg" and not each.checkpoints and (made := _topology(each.case)):
            found.setdefault(made, []).append((each.case_file.id, each.case.serve_of("decode").env))
    return found


def _topology(case: Case) -> Topology | None:
    prefill, decode = case.serve_of("prefill"), case.serve_of("decode")
    if not decode.model.repo:
        return None
    speculation = decode.speculation
    return Topology(
        decode.model.repo,
        _parallel(prefill),
        _parallel(decode),
        decode.kv_transfer.connector if decode.kv_transfer else "none",
        speculation.method if speculation else "",
        speculation.drafted if speculation else None,
    )


def _parallel(serve: Serve) -> tuple[int, int, int]:
    pipeline = serve.flags.get("pipeline-parallel-size", 1)
    return serve.tensor_parallel_size, pipeline if isinstance(pipeline, int) else 1, serve.data_parallel_size
