"""Servers that somebody else runs: where they are, what they serve, and when they are ready. They are only asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from harness.base import secrets, texts
from harness.base.clock import Deadline
from harness.base.domain import Probe, Server
from harness.base.errors import CannotJudge
from harness.base.settings import cut
from harness.engines import metrics
from harness.engines.engine import EngineSpec
from harness.host import http_client, waiting
from harness.host.http_client import NoAnswer, NotListening, Untrusted
from harness.run.attachment import Attachment, names_of
from harness.run.context import Context
from harness.run.rundir import RunningServer, Runtime, Servers

_ASK_TIMEOUT = 15.0
_ABSENT = (404, 405, 501)
_LISTED = 8
_MODELS, _HEALTH = "/v1/models", "/health"


def record(context: Context, given: Attachment) -> None:
    """Write down what the run is attached to: nothing is asked yet."""
    case, has_metrics = context.case, bool(context.engine.metrics)
    servers = [
        Server(
            name=name,
            role=name.partition("-")[0],
            argv=(),
            ports={},
            probes=(_probe(given.urls[name], _HEALTH),),
            has_metrics=has_metrics and name != "router",
            at=given.urls[name],
        )
        for name in names_of(case)
    ]
    runtime = Runtime(
        kind="attached",
        why="asked for",
        engine_python="",
        environment=", ".join(f"{name}={url}" for name, url in given.urls.items()),
        api_key=given.key,
        wanted_model=given.model,
    )
    context.rundir.save(context.prepared.model_copy(update={"runtime": runtime}))
    document = Servers(servers=[RunningServer(server=each, process=None) for each in servers])
    context.rundir.write("servers", Servers, document)
    context.progress.note("serve and stop are left out: somebody else runs the servers")
    done = "measured" if case.measure_only else "judged"
    context.progress.note(f"{done} as on {context.prepared.platform}; --platform names what the servers run on")


def _probe(base: str, path: str) -> Probe:
    return Probe("http", 0, path, path=path, at=base)


def found(context: Context, servers: list[RunningServer]) -> list[RunningServer]:
    """Wait until every server says that it is up, ask which model to name, and write both down.

    A server without ``/health`` is up when ``/v1/models`` answers.

    Raises:
        CannotJudge: One cannot be reached or wants a key, the model is not served, or the case's start timeout passed.
    """
    ready: dict[str, Server] = {}

    def missing() -> str:
        waits = {}
        for each in servers:
            if each.server.name not in ready:
                path, waits[each.server.name] = _up(each.server)
                if not waits[each.server.name]:
                    ready[each.server.name] = _asked_at(each.server, path)
        return "; ".join(f"{name}: {why}" for name, why in waits.items() if why)

    try:
        waiting.until(
            missing,
            context.case.timeouts.start,
            check_alive=lambda: None,
            on_tick=lambda why: context.progress.tick(f"waiting for {why}"),
            clock=context.clock,
        )
    except waiting.TimedOut as late:
        raise CannotJudge(f"not ready after {late.seconds:.0f} s (timeouts.start)", cause=late.missing) from None
    known = [each.model_copy(update={"server": ready[each.server.name]}) for each in servers]
    context.rundir.write("servers", Servers, Servers(servers=known))
    model = _model(context, [each.server for each in known])
    context.rundir.save(context.prepared.model_copy(update={"served_as": model, "versions": _versions(context, known)}))
    context.progress.note(f"model {model}")
    return known


def _asked_at(server: Server, path: str) -> Server:
    return replace(server, probes=(_probe(server.at, path),))


def _up(server: Server) -> tuple[str, str]:
    """The path that says it, and what is missing; empty if nothing is.

    Raises:
        CannotJudge: Waiting would change nothing.
    """
    for path in (_HEALTH, _MODELS):
        status, _, why = _get(server, path)
        if status == 200:
            return path, ""
        if status not in _ABSENT:
            return path, why
    raise CannotJudge(
        f"{server.name} has neither {_HEALTH} nor {_MODELS}",
        cause=f"is {server.at} the address below which its /v1 is?",
    )


def _get(server: Server, path: str) -> tuple[int, Any, str]:
    """Status, document (None if it is none), and why it is no answer with status 200.

    Raises:
        CannotJudge: Waiting would change nothing: nobody is there, TLS fails, or a key is wanted.
    """
    url = f"{server.at}{path}"
    try:
        answer = http_client.get(url, _ASK_TIMEOUT)
    except NotListening as error:
        raise CannotJudge(f"{server.name} cannot be reached at {server.at}", cause=str(error)) from error
    except Untrusted as error:
        hint = "SSL_CERT_FILE names a file with the authority that signed it"
        raise CannotJudge(f"{server.name} cannot be trusted at {server.at}", cause=f"{error}; {hint}") from error
    except NoAnswer as error:
        return 0, None, f"{path}: {error}"
    if answer.status in (401, 403):
        hint = "give its API key with --api-key-env or --api-key-file, or another one"
        raise CannotJudge(f"{server.name} refuses {path} with {answer.status}", cause=f"{answer.words}; {hint}")
    try:
        document = from_json(answer.body)
    except ValueError:
        document = None
    return answer.status, document, "" if answer.status == 200 else f"{path} answers {answer.status}"


def _model(context: Context, servers: Sequence[Server]) -> str:
    """What requests are to name: what the user says, else what the case says, else the only one that is served.

    Raises:
        CannotJudge: It is not served, or which one is meant nobody knows.
    """
    wanted, said = context.runtime.wanted_model, context.case.serve.served_as
    for server in reversed(servers):  # where users send requests comes last; a router may not say
        status, document, _ = _get(server, _MODELS)
        served = _ids(document) if status == 200 else []
        if not served:
            continue
        names = ", ".join(cut(secrets.mask(each)) for each in served[:_LISTED])
        more = f" and {len(served) - _LISTED} more" if len(served) > _LISTED else ""
        if wanted and wanted not in served:
            raise CannotJudge(f"{server.name} does not serve {cut(wanted)}", cause=f"it serves {names}{more}")
        if wanted or said in served or len(served) == 1:
            return wanted or (said if said in served else served[0])
        raise CannotJudge(
            f"{server.name} serves several models, and none is {said}",
            cause=f"name one with --model-name: {names}{more}",
        )
    if wanted:  # whoever names one may know what is not listed; the first token says whether it is there
        return wanted
    raise CannotJudge(f"no server says which model it serves: {_MODELS} lists none", cause="name it with --model-name")


def _ids(document: Any) -> list[str]:
    data = document.get("data") if isinstance(document, dict) else None
    named = [each.get("id") for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    return [each for each in named if isinstance(each, str) and each and each.isprintable() and len(each) <= 500]


def _versions(context: Context, servers: Sequence[RunningServer]) -> dict[str, str]:
    """Version of the engine as the first of its servers says it; nothing where none does."""
    engine = context.engine
    for each in servers if engine.version_path else ():
        if each.server.role != "router":
            status, document, _ = _get(each.server, engine.version_path)
            version = document.get("version") if status == 200 and isinstance(document, dict) else None
            return {engine.name: texts.shortened(version, 100)} if isinstance(version, str) else {}
    return {}


def with_gaps(context: Context, servers: Sequence[RunningServer], deadline: Deadline) -> list[RunningServer]:
    """The servers with what each does not say: asked once a first token came back, when counters are there."""
    known = [_with_gaps(context.engine, each, deadline) for each in servers]
    for each in known:
        for what, why in each.lacks.items():
            context.progress.note(f"{each.server.name} does not say its {what}: {why}")
    context.rundir.write("servers", Servers, Servers(servers=known))
    return known


def _with_gaps(engine: EngineSpec, running: RunningServer, deadline: Deadline) -> RunningServer:
    if not running.server.has_metrics:
        return running
    lacks = {}
    if why := _unread(engine, running.server, "/metrics", deadline):
        lacks["metrics"] = why
    if engine.info and (why := _unread(engine, running.server, engine.info, deadline)):
        lacks["configuration"] = why
    server = replace(running.server, has_metrics="metrics" not in lacks)
    return RunningServer(server=server, process=None, lacks=lacks)


def _unread(engine: EngineSpec, server: Server, path: str, deadline: Deadline) -> str:
    """Why nothing can be read there; empty if something can."""
    try:
        answer = http_client.get(f"{server.at}{path}", deadline.cut(_ASK_TIMEOUT))
        if answer.status != 200:
            return f"{path} answers {answer.status}"
        if path == "/metrics":
            return "" if metrics.read(answer.text, engine.metrics) else f"{path} has no counter of {engine.name}"
        from_json(answer.body)
    except (NoAnswer, ValueError) as error:
        return texts.cause(f"{path}: {error}", 200)
    return ""
