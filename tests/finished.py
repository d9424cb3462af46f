"""A finished run directory, made in this process: by the harness's own parts and the scripted engine's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

from harness import protocols
from harness.base.domain import Item, Sample, Stage
from harness.base.errors import CannotJudge
from harness.base.resting import Footprint
from harness.cases.load import load as load_cases
from harness.engines import ENGINES
from harness.engines.engine import Place
from harness.host import concurrent_requests, files, processes
from harness.host.stopping import Stopped
from harness.plan.points import everything
from harness.plan.request_bodies import completion
from harness.run import footprints, prepare
from harness.run.footprints import Footprints
from harness.run.judge import judge
from harness.run.progress import Progress
from harness.run.rundir import Ready, RunDir, RunningServer, Runtime, Servers
from harness.run.stages import evaluate
from tests.fake_engine.site.fake_engine import Engine, Script
from tests.helpers import edited

SINGLE = "eagle3/known_answer"
DISAGG = "disagg/known_answer_eagle3"
_ITEMS: dict[str, dict[str, Any]] = {
    SINGLE: {"evaluation/items": 4},
    DISAGG: {"evaluation/items": 4, "controls/prefill_alone/n": 4, "controls/decode_alone/n": 4},
}
_LAST_PID = 2**22 - 1
"""Above what the kernel gives away unless it is told to."""


def finished(folder: Path, case: str, faults: Mapping[str, Mapping[str, Any]] | None = None) -> RunDir:
    """A run of a small version of a case that was served, evaluated, stopped and judged.

    Args:
        folder: Holds the case file and the run directory.
        case: ``SINGLE`` or ``DISAGG``.
        faults: By role, as of the scripted engine's ``Script``.
    """
    (planned,) = everything(load_cases(edited(folder / "cases", case, _ITEMS[case])))
    rundir = prepare.create(planned, folder / "run")
    runtime = Runtime(kind="local", why="asked for", engine_python="/engine/python", environment="given")
    rundir.save(rundir.prepared().model_copy(update={"runtime": runtime, "versions": {"vllm": "0"}}))
    ports = count(20_000, 10)
    place = Place("/engine/python", _Anywhere(), lambda _: next(ports), lambda _: {})
    servers = [
        RunningServer(server=each, process=_process(each.name, _LAST_PID - index), folder=str(rundir.cwd / each.name))
        for index, each in enumerate(ENGINES[planned.case.engine.name].servers(planned.case, place))
    ]
    engines = {
        each.server.name: Engine(
            each.server.role, Script(**{"latency": 0.0, **(faults or {}).get(each.server.role, {})}),
            k=3, connected=case == DISAGG, twin=case == DISAGG,
        )
        for each in servers if each.server.has_metrics
    }  # fmt: skip
    progress = Progress(rundir, lambda _: None)
    with progress.stage(Stage.PREPARE):
        pass
    with progress.stage(Stage.SERVE):
        rundir.write("servers", Servers, Servers(servers=servers))
    with progress.stage(Stage.HEALTH_WAIT):
        answered = {f"{each.server.name}: {probe.what}": 1.0 for each in servers for probe in each.server.probes}
        rundir.write("ready", Ready, Ready(seconds=1.0, answered=answered, first_token="x", attempts=1))
    with suppress(CannotJudge), progress.stage(Stage.EVAL):
        _evaluate(rundir, engines)
    with progress.stage(Stage.STOP):
        rundir.write("servers", Servers, Servers(servers=servers, stopped=Stopped()))
    judge(rundir)
    return rundir


class _Anywhere(dict[str, str]):
    """A folder for each checkpoint."""

    def __missing__(self, name: str) -> str:
        return f"/checkpoints/{name}"


def _process(name: str, pid: int) -> processes.Started:
    """As of a process that is long gone."""
    return processes.Started(pid=pid, ticks=1, boot="another", namespace="another", name=name)


def _evaluate(rundir: RunDir, engines: Mapping[str, Engine]) -> None:
    case = rundir.prepared().case
    samples: list[Sample] = []

    def scrape(when: Any) -> None:
        for name, engine in engines.items():
            files.write(rundir.metrics_file(when, name), engine.metrics())

    def ask(run: str, send_to: str, item: Item) -> None:
        body = completion(case, item)
        first = next(engine for engine in engines.values() if send_to in (engine.role, "entry"))
        if send_to == "entry" and case.topology.kind == "disagg":
            before = first.complete(body | {"max_tokens": 1, "kv_transfer_params": {"do_remote_decode": True}})
            body |= {"kv_transfer_params": (before or {})["kv_transfer_params"]}
            first = next(engine for engine in engines.values() if engine.role == "decode")
        status, text = first.respond(body)
        error = "" if status == 200 else f"status {status}"
        reply = concurrent_requests.Reply(item.id, status, json.loads(text), error, False, 0.5, 0.25)
        samples.append(evaluate._sample(run, item, reply))

    items = [replace(each) for each in protocols.items(case.evaluation)]
    scrape("before")
    step = -(-len(items) // 4)
    kept = [Footprint(done, len(items), 64 << 20, 4 << 30, 8, 20) for done in range(0, len(items) + 1, step)]
    servers = dict.fromkeys(engines, tuple(kept))
    rundir.write(footprints.NAME, Footprints, Footprints(servers=servers, logs=dict.fromkeys(engines, 0)))
    for run, send_to in (("main", "entry"), *((name, each.send_to) for name, each in case.controls.items())):
        for each in items:
            ask(run, send_to, each)
        if run == "main":
            scrape("after")
    scrape("rest")
    rundir.write_samples(samples)
    if any(sample.error for sample in samples):
        raise CannotJudge("requests failed")


def no_engine() -> Any:
    """Nothing answers a question about containers: reaping asks for those of ours."""
    return mock.patch("harness.containers.lifecycle.ours", partial(list[Any]))
