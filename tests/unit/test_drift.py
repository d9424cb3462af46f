"""What a build no longer does as the cases ask: each kind on a small made-up tree of sources."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.cases.load import load
from harness.devices.accelerators import on_paper
from harness.drift import findings, news
from harness.drift.asked import Asked, everything, literal_part, log_lines, of_server, running, started
from harness.drift.builds import Build
from harness.drift.compare import compare
from harness.drift.findings import Finding, Report
from harness.drift.lookups import Found, found_of
from harness.drift.sources import Sources
from harness.engines import ENGINES
from harness.plan.points import everything as all_points
from tests.helpers import BASELINES

VLLM, SGLANG = ENGINES["vllm"], ENGINES["sglang"]
SERVER = """
from eng.cli import make_arg_parser
if __name__ == "__main__":
    parser = Parser()
    make_arg_parser(parser)
"""
CLI = """
from argparse import ArgumentParser, BooleanOptionalAction
from eng.config import Config, Base
class Hidden(BooleanOptionalAction):
    def __init__(self):
        action = self
        action.option_strings = []
def make_arg_parser(parser: ArgumentParser):
    group = parser.add_argument_group("x")
    kwargs = get_kwargs(Config)
    group.add_argument("--dtype", **kwargs["dtype"])
    group.add_argument("--enable-thing", **kwargs["enable_thing"])
    group.add_argument("--layout", choices=LAYOUTS + ["c"])
    group.add_argument("--hidden-pair", action=Hidden)
    # TODO: remove the flag after 2026-12-31.
    group.add_argument("--going-away", action="store_true", help="Deprecated. Use --staying.")
    group.add_argument("--staying", action="store_true", help="Use instead of --going-away, which is deprecated.")
    group.add_argument("--plain-switch", action="store_true", deprecated=True)
    group.add_argument("--things-config", **kwargs["things_config"])
    group.add_argument("--store-config", type=json.loads)
    Base.add_cli_args(parser)
    return parser
LAYOUTS = ["a", "b"]
"""
CONFIG = """
from typing import Literal
Dtype = Literal["auto", "half"]
class ThingsConfig:
    window: int = 1
    mode: Literal["fast", Dtype] = "fast"
    unread: int = 0
    kv_role: Literal["kv_both", "kv_producer"] | None = None
    kv_connector: str | None = None
    kv_connector_extra_config: dict = {}
class Config:
    dtype: "Dtype" = "auto"
    enable_thing: bool = False
    things_config: ThingsConfig | None = None
class Base:
    from_field: int = 0
    other_field: bool = False
    token: bool | str | None = None
    @classmethod
    def add_cli_args(cls, parser):
        for key, value in get_kwargs(cls).items():
            parser.add_argument(f"--{key.replace('_', '-')}", **value)
def use(c):
    return c.window, c.mode, c.kv_role, c.kv_connector, c.kv_connector_extra_config
"""
ENVS = """
import os
E: Literal["x"] = "x"
VLLM_LAYOUT: Literal["NHD", "HND"] | None = None
environment_variables = {
    "VLLM_LAYOUT": lambda: os.getenv("VLLM_LAYOUT"),
    "VLLM_IDLE": lambda: os.getenv("VLLM_IDLE", "0"),
    # Supersedes VLLM_OLDER, which is bridged.
    "VLLM_NEWER": lambda: os.getenv("VLLM_NEWER"),
}
"""
USER = """
from eng import envs
logger.info("Graph capturing finished in %d secs", envs.VLLM_LAYOUT)
x = envs.VLLM_NEWER or envs.VLLM_OLDER
class Loggers:
    def __init__(self):
        self.a = Counter(name="vllm:drafts", documentation="Drafts.")
        rows = [("vllm:accepted", "How many were accepted.")]
        if envs.VLLM_NEWER:
            self.b = Counter(name="vllm:corrupted", documentation="Bad.")
        self.c = Counter(name="vllm:old_one", documentation="DEPRECATED: use vllm:accepted.")
"""
CONNECTORS = """
Factory.register_connector("Nixl", "eng.kv.v1.nixl", "Nixl")
Factory.register_connector("Store", "eng.kv.v1.store.connector", "Store")
Factory.register_connector("Multi", "eng.kv.v1.multi", "Multi")
"""
STORE = """
def f(extra):
    return extra.get("cross_layers"), extra["both"]
"""
NIXL = """
def f(extra):
    if role == "kv_both":
        logger.warning("Using kv_role='kv_both' with Nixl is deprecated and will be removed in v9.")
    return extra.get("own"), extra["both"]
"""
FILES = {
    "eng/__init__.py": "", "eng/server.py": SERVER, "eng/cli.py": CLI, "eng/config.py": CONFIG, "eng/envs.py": ENVS,
    "eng/user.py": USER, "eng/kv/factory.py": CONNECTORS, "eng/kv/v1/store/connector.py": STORE,
    "eng/kv/v1/nixl/__init__.py": NIXL, "eng/kv/v1/multi.py": "",
}  # fmt: skip


LAUNCH = """
from s.args import prepare
if __name__ == "__main__":
    prepare()
"""
ARGS = """
from s.util import add_from
class Args:
    @staticmethod
    def add_cli_args(parser):
        add_from(parser, Args)
def prepare():
    parser = ArgumentParser()
    Args.add_cli_args(parser)
"""
UTIL = """
def add_from(parser, cls):
    for field in cls.fields:
        parser.add_argument(*field.names)
"""
ONE = """
from s.util import A, Arg
class One:
    page_size: A[int, "Page."] = 1
    kind: A[str, Arg(help="Kind.", choices=["x", "y"], aliases=["--sort"])] = "x"
    inner: A[int, Arg(no_cli=True)] = 1
"""


def build(changes: dict[str, str] | None = None, version: str = "1.0") -> Build:
    return Build(Sources("eng", version, FILES | (changes or {})), "eng.server")


def told(asked: Asked, of: Build | None = None) -> list[tuple[str, str]]:
    return [(each.what, each.told) for each in found_of(VLLM, of or build(), asked)]


def option(name: str, value: str = "") -> Asked:
    return Asked("engine", "option", name, value)


def key(name: str, value: str = "", *, connector: str = "", inner: str = "") -> Asked:
    return Asked("engine", "key", name, value, f"--things-config{inner}", connector)


def test_what_a_build_has_is_not_found() -> None:
    for name in ("--dtype", "--enable-thing", "--no-enable-thing", "--from-field", "--no-other-field", "--staying"):
        assert told(option(name)) == []


def test_a_renamed_option_comes_with_the_nearest_name() -> None:
    assert told(option("--enable-things")) == [("missing", "no such option; the nearest is --enable-thing")]


def test_a_negation_that_is_hidden_is_taken_and_one_that_is_none_is_not() -> None:
    assert told(option("--no-hidden-pair")) == []
    for name in ("--no-staying", "--no-token"):
        assert [what for what, _ in told(option(name))] == ["missing"]
    report = Report("x")
    news.add(report, VLLM, {}, build(), None, [])
    assert "eng/cli.py:7 takes spellings out" in report.notes[-1]


@pytest.mark.parametrize(("name", "words"), [("--going-away", "2026-12-31"), ("--plain-switch", "declared")])
def test_a_deprecated_option_says_when_and_what_instead(name: str, words: str) -> None:
    ((what, text),) = told(option(name))
    assert what == "deprecated"
    assert words in text
    assert ("--staying" in text) == (name == "--going-away")


@pytest.mark.parametrize(
    ("asked", "values"),
    [
        (option("--layout", "z"), "a, b, c"),
        (option("--dtype", "single"), "auto, half"),
        (key("mode", "slow"), "auto, fast, half"),
        (Asked("engine", "variable", "VLLM_LAYOUT", "BLHNC"), "HND, NHD"),
    ],
)
def test_an_unknown_value_comes_with_those_that_there_are(asked: Asked, values: str) -> None:
    assert told(asked) == [("unknown value", f"it takes {values}")]
    first = values.split(",", maxsplit=1)[0]
    assert told(replace(asked, value=first)) == []


def test_a_parser_is_found_wherever_it_is_moved_to() -> None:
    moved = build({"eng/server.py": SERVER.replace("eng.cli", "eng.deep"), "eng/cli.py": "", "eng/deep.py": CLI})
    assert told(option("--dtype"), moved) == []
    report = Report("x")
    news.add(report, VLLM, {}, moved, build(), [])
    assert "eng/deep.py" in report.notes[0]
    assert "it was in eng/cli.py" in report.notes[0]


def test_a_parser_that_is_not_found_is_a_finding() -> None:
    gone = build({"eng/server.py": "run_the_server()"})
    points = [each for each in all_points(load(BASELINES)) if each.case_file.id == "eagle3/known_answer"]
    report, _ = compare(VLLM, points, lambda each: started(each, on_paper), gone, None)
    assert report.findings[0].what == "not looked at"
    assert "argument_parsers.py" in report.findings[0].told


def test_keys_that_are_missing_or_that_nothing_reads() -> None:
    assert told(key("window")) == []
    assert told(key("windows")) == [("missing", "ThingsConfig has no such key; the nearest is window")]
    assert told(key("unread")) == [("never read", "nothing in this build reads it")]
    unknown = Asked("engine", "key", "anything", "", "--store-config")
    assert [each.what for each in found_of(VLLM, build(), unknown)] == ["unseen"]


def test_a_key_belongs_to_the_connector_that_reads_it() -> None:
    inner = ".kv_connector_extra_config"
    for name, connector, found in (
        ("own", "Nixl", []), ("both", "Nixl", []), ("both", "Store", []), ("cross_layers", "Store", []),
        ("cross_layers", "Nixl", ["never read"]), ("own", "Store", ["never read"]), ("gone", "Nixl", ["never read"]),
    ):  # fmt: skip
        assert [what for what, _ in told(key(name, connector=connector, inner=inner))] == found, (name, connector)
    ((_, text),) = told(key("cross_layers", connector="Nixl", inner=inner))
    assert "eng/kv/v1/store/connector.py:3 reads it, for another connector" in text


def test_a_value_is_deprecated_for_the_connector_that_says_so() -> None:
    assert [what for what, _ in told(key("kv_role", "kv_both", connector="Nixl"))] == ["deprecated"]
    assert told(key("kv_role", "kv_both", connector="Store")) == []
    assert told(key("kv_role", "kv_producer", connector="Nixl")) == []
    assert [what for what, _ in told(key("kv_connector", "Nixle", connector="Nixle"))] == ["unknown value"]
    assert told(key("kv_role", "kv_both", connector="Nixle")) == []


def test_environment_variables() -> None:
    def variable(name: str) -> list[str]:
        return [what for what, _ in told(Asked("engine", "variable", name))]

    assert variable("VLLM_LAYOUT") == []
    assert variable("VLLM_NEWER") == []
    assert variable("VLLM_IDLE") == ["never read"]
    assert variable("VLLM_LAYOUTS") == ["missing"]
    assert variable("VLLM_OLDER") == ["deprecated"]
    assert variable("UCX_TLS") == []  # a library's: said to be unseen by the report


def test_metrics_by_the_names_of_their_samples() -> None:
    def metric(name: str, spec: Build | None = None) -> list[str]:
        return [what for what, _ in told(Asked("engine", "metric", name), spec)]

    assert metric("vllm:drafts_total") == []
    assert metric("vllm:accepted_sum") == []
    assert metric("vllm:accept_total") == ["missing"]
    assert metric("vllm:old_one_total") == ["deprecated"]
    newer = next(each for each in VLLM.metrics if each.since)
    assert metric(newer.sample, build(version="0.30.0")) == ["note"]
    assert metric(newer.sample, build(version="0.33.0")) == ["missing"]


def test_a_metric_that_only_a_variable_turns_on_and_nobody_reads_is_a_note() -> None:
    uses = {
        Asked("engine", "variable", "VLLM_NEWER", "1"): {("a/b", "cuda")},
        Asked("engine", "metric", "vllm:x"): set(),
    }
    report = Report("x")
    news.add(report, VLLM, uses, build(), None, [])  # type: ignore[arg-type]
    assert any(note.startswith("vllm:corrupted is there only with VLLM_NEWER") for note in report.notes)


def test_log_lines_and_routes() -> None:
    assert told(Asked("engine", "log line", "Graph capturing finished")) == []
    assert [what for what, _ in told(Asked("engine", "log line", "Graph captured"))] == ["missing"]
    assert literal_part(r"Rearranging experts(?![^\n]*\(profile\))") == "Rearranging experts"
    assert log_lines(SGLANG.events["rearrangements"]) == ["[EPLBManager] rebalance end"]
    assert [what for what, _ in told(Asked("engine", "path", "/health"))] == ["missing"]
    assert [what for what, _ in told(Asked("router", "path", "/health"))] == ["unseen"]


def test_modules() -> None:
    asked = Asked("engine", "module", "eng.server")
    assert told(asked) == []
    assert [what for what, _ in told(replace(asked, name="eng.gone"))] == ["missing"]
    warned = build({"eng/server.py": SERVER + "\nwarn('`python -m eng.server` is deprecated. Use `eng serve`.')\n"})
    assert told(asked, warned) == [("deprecated", "`python -m eng.server` is deprecated. Use `eng serve`.")]


def test_settings_that_a_case_reads_of_a_server() -> None:
    assert told(Asked("engine", "setting", "things_config.window")) == []
    assert [what for what, _ in told(Asked("engine", "setting", "things_config.gone"))] == ["missing"]
    assert [what for what, _ in told(Asked("engine", "setting", "nothing_of_the_sort"))] == ["missing"]


@pytest.mark.parametrize(
    "text",
    [
        "--dtype replaces --layout, which is deprecated.",
        "--layout is deprecated, use --dtype.",
        "Including the scheme in --dtype is deprecated.",
        "The deprecated `--layout N --dtype` becomes --staying.",
        "`--dtype > 1` is deprecated.",
        "Use --dtype instead of the deprecated --layout.",
    ],
)
def test_a_sentence_about_another_name_is_not_about_this_one(text: str) -> None:
    assert told(option("--dtype"), build({"eng/words.py": f"x = {text!r}"})) == []
    about = told(option("--dtype"), build({"eng/words.py": 'x = "--dtype is deprecated and will be removed in v2."'}))
    assert [what for what, _ in about] == ["deprecated"]


def test_annotated_fields_are_options_wherever_they_are_put_together() -> None:
    files = {"s/__init__.py": "", "s/launch.py": LAUNCH, "s/args.py": ARGS, "s/util.py": UTIL, "s/fields/one.py": ONE}
    found = Build(Sources("s", "1", files), "s.launch").parser
    assert sorted(found.options) == ["--kind", "--page-size", "--sort"]
    assert set(found.options["--kind"].choices or ()) == {"x", "y"}


def test_everything_that_a_case_sets_is_asked() -> None:
    points = running(all_points(load(BASELINES)), "vllm")
    uses = everything(points, VLLM, lambda each: started(each, on_paper))
    spelt = {asked.named(with_value=True) for asked in uses}
    for each in points:
        serve = each.case.serve
        assert {f"--{name}" for name, value in serve.flags.items() if value is True} <= spelt
        assert {f"{name}={value}" for name, value in serve.env.items()} <= spelt
    assert {each.sample for each in VLLM.metrics} <= {each.name for each in uses if each.kind == "metric"}
    nested = [each for each in uses if each.kind == "key" and each.name == "shared_storage_path"]
    assert [each.connector for each in nested] == ["ExampleConnector"]


def test_a_router_is_asked_too() -> None:
    (point,) = [
        each for each in all_points(load(BASELINES)) if each.id == "disagg/known_answer" and each.platform == "cpu"
    ]
    router = started(point, on_paper)[-1]
    assert {each.program for each in of_server(router)} == {"router"}


def test_reports_say_the_same_in_three_forms() -> None:
    finding = Finding("deprecated", "--x", "gone | in `v2`, ask @them", "a.py:1", (("s/c", "cpu"), ("s/c", "cuda")))
    report = Report("eng 1", "eng 0", 3, 2, [finding], ["a note"], ["a gap"])
    text, page, document = (form([report]) for form in (findings.as_text, findings.as_markdown, findings.as_json))
    assert "deprecated: --x: gone" in text
    assert "s/c (cpu, cuda)" in text
    assert "gone \\| in 'v2', ask (at)them" in page
    assert json.loads(document)["reports"][0]["findings"][0]["name"] == "--x"
    for form in (text, page):
        assert "a note" in form
        assert "a gap" in form


def test_what_cannot_be_parsed_is_said() -> None:
    points = [each for each in all_points(load(BASELINES)) if each.case_file.id == "eagle3/known_answer"]
    broken = build({"eng/odd.py": "this is no Python: --dtype deprecated"})
    report, _ = compare(VLLM, points, lambda each: started(each, on_paper), broken, None)
    assert any(line.startswith("eng/odd.py") for line in report.unseen)
    assert isinstance(Found("note", ""), tuple)
