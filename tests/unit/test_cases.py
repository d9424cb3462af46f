"""Case files: what loads, and what is said about what does not."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomlkit

from harness.base.domain import Device
from harness.base.errors import NothingSelected, UsageError
from harness.cases.load import load
from harness.devices import accelerators
from harness.plan.expected_values import expected_values
from harness.plan.narrowing import Narrowing
from harness.plan.points import everything
from harness.run.selection import select
from harness.upkeep.generate import outdated
from tests.helpers import BASELINES, REPOSITORY, edited

DISAGG, SINGLE = "disagg/known_answer_eagle3", "eagle3/known_answer"


def error_of(folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_every_case_loads_on_every_platform_it_names() -> None:
    points = everything(load(BASELINES))
    assert {point.case_file.id for point in points} >= {DISAGG, SINGLE}
    assert all(point.case.title for point in points)


def test_the_defaults_alone_decide_what_is_not_in_the_case(tmp_path: Path) -> None:
    cases = edited(tmp_path, SINGLE, {})
    defaults = tomlkit.parse((cases / "_defaults.toml").read_text())
    defaults["timeouts"]["stop"] = 7.5
    (cases / "_defaults.toml").write_text(tomlkit.dumps(defaults))
    assert load(cases)[0].resolve("cpu").timeouts.stop == 7.5
    del defaults["timeouts"]["stop"]
    (cases / "_defaults.toml").write_text(tomlkit.dumps(defaults))
    assert error_of(cases).endswith("known_answer.toml: timeouts.stop: missing; add it")


COMPARISON = {
    "send_to": "decode",
    "expected": 1.0,
    "direction": "two-sided",
    "absolute_tolerance": 0.0,
    "n": 24,
    "origin": "made up for this test",
}
BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"checks/accuracy/tolerence": 0.1}, "checks.accuracy.tolerence: unknown key; did you mean 'relative_tolerance'?"),
    ({"evaluation/concurency": 2}, "evaluation.concurency: unknown key; did you mean 'concurrency'?"),
    ({"serve/speculation/num_speculative_token": 2}, "serve.speculation.num_speculative_token: unknown key; did you"),
    ({"roles/decode/modell": {}}, "roles.decode.modell: unknown key; did you mean 'model'?"),
    ({"roles/decoder/served_as": "x"}, "roles.decoder: Input should be 'server', 'prefill' or 'decode'"),
    ({"titel": "what is this"}, "titel: unknown key; did you mean 'title'?"),
    ({"serve/model/known_answer": "targt"}, "serve.model: no known-answer checkpoint 'targt'; there are target"),
    ({"engine/name": "vlm"}, "engine.name: Input should be 'openai', 'sglang' or 'vllm' (it is 'vlm')"),
    ({"platforms": ["cpuu"]}, "platforms: 'cpuu' is none of cpu, cuda, rocm"),
    ({"platforms": None}, 'platforms: missing; list where the case runs, as in ["cpu"]'),
    ({"platform": {"rocm": {"title": "x"}}}, "platform.rocm: the case does not run on rocm; add it to platforms"),
    ({"checks/accuracy/origin": "guess"}, "checks.accuracy.origin: String should have at least 10 characters"),
    ({"checks/accuracy/origin": None}, "checks.accuracy.origin: missing"),
    ({"checks/accuracy/n": 7}, "checks.accuracy: n is 7, the evaluation asks 24 items"),
    ({"checks/accuracy/relative_tolerance": 0.1}, "checks.accuracy: give either relative_tolerance or absolute_tol"),
    ({"checks/accuracy/expected": "0.5"}, "checks.accuracy.expected: Input should be a valid number (it is '0.5')"),
    ({"checks/acceptance_length": None}, "checks: speculation is configured; add [checks.acceptance_length]"),
    ({"checks/kv_transfer": None}, "checks: prefill and decode are apart; add [checks.kv_transfer]"),
    ({"checks/acceptance_per_position/expected": [0.5]}, "expected needs one share per speculative token"),
    ({"checks/acceptance_per_position/expected": [0.1, 0.5, 0.2]}, "never rise from position to position"),
    ({"evaluation/first_key": 90}, "evaluation: first_key + items must not exceed the 100 keys there are"),
    ({"serve/kv_transfer/connector": "MultiConnector"}, "serve.kv_transfer: connectors: a MultiConnector needs Nixl"),
    (
        {"serve/kv_transfer/connectors": ["NixlConnector"]},
        "serve.kv_transfer.connectors: NixlConnector on vllm",
    ),
    ({"serve/kv_transfer/extra/Other/key": 1}, "serve.kv_transfer: extra: 'Other' is none of the connectors: Nixl"),
    ({"comparisons/direct": COMPARISON | {"n": 7}}, "comparisons.direct: n is 7, the evaluation asks 24 items"),
    ({"comparisons/direct": COMPARISON | {"send_to": "entry"}}, "comparisons.direct.send_to: the main run goes there"),
    ({"comparisons/decode_alone": COMPARISON}, "comparisons: 'decode_alone' is the name of another run"),
    ({"comparisons/main": COMPARISON}, "comparisons: 'main' is the name of another run"),
    (
        {"checks/kv_transfer/local_tokens_per_request": None},
        "checks.kv_transfer.local_tokens_per_request: the engine counts prompt tokens by source; add it",
    ),
    ({"matrx/tp": {"1": {}}}, "matrx: unknown key; did you mean 'matrix'?"),
    ({"serve/speculation/method": "suffix"}, "serve.speculation.model: suffix on vllm does not know it; known: num_"),
    ({"container/capabilities": ["SYS_PTRACE"]}, "container.capabilities: unknown key"),
    ({"container/memlock_unlimited": True}, "container.memlock_unlimited: Input should be a valid string"),
    ({"container/seccomp_unconfined": "because"}, "container.seccomp_unconfined: String should have at least 20"),
    ({"container/shm_gib": 0.0}, "container.shm_gib: Input should be greater than 0"),
    (
        {"device_share_gib": 6},
        "serve.flags.kv-cache-memory-bytes: missing beside device_share_gib: what is free changes",
    ),
    (
        {"device_share_gib": 6, "serve/flags/gpu-memory-utilization": 0.5},
        "serve.flags.gpu-memory-utilization: device_share_gib sets it; leave one of them out",
    ),
    ({"device_share_gib": -1}, "device_share_gib: Input should be greater than or equal to 0"),
]


@pytest.mark.parametrize(("changes", "words"), BROKEN, ids=[words[:40] for _, words in BROKEN])
def test_a_broken_case_is_one_line_with_file_and_key(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    message = error_of(edited(tmp_path, DISAGG, changes, generate=False))
    assert message.startswith(f"{tmp_path}/disagg/known_answer_eagle3.toml: ")
    assert words in message


def test_a_case_without_a_baseline_does_not_load(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"checks": {}, "serve/speculation": None}
    assert "a case without a baseline proves nothing" in error_of(edited(tmp_path, SINGLE, changes, generate=False))


def test_flags_of_the_engine_are_free(tmp_path: Path) -> None:
    cases = edited(tmp_path, SINGLE, {"serve/flags/some-new-flag": {"a": [1]}})
    assert load(cases)[0].resolve("cpu").serve.flags["some-new-flag"] == {"a": [1]}


def test_files_that_are_no_toml_or_not_there(tmp_path: Path) -> None:
    assert "no case folder" in error_of(tmp_path)
    cases = edited(tmp_path / "cases", SINGLE, {})
    (cases / "eagle3" / "broken.toml").write_text("title = ")
    assert "broken.toml: not valid TOML: " in error_of(cases)
    (cases / "eagle3" / "broken.toml").rename(cases / "eagle3" / "Not-A-Name.toml")
    assert "'Not-A-Name' must be lower-case" in error_of(cases)


def test_a_platform_table_wins_for_its_platform_only(tmp_path: Path) -> None:
    changes = {"platforms": ["cpu", "rocm"], "platform": {"rocm": {"timeouts": {"start": 1200.0}}}}
    case = load(edited(tmp_path, SINGLE, changes))[0]
    assert (case.resolve("cpu").timeouts.start, case.resolve("rocm").timeouts.start) == (300.0, 1200.0)


def test_expected_values_are_current() -> None:
    assert outdated(BASELINES, write=False) == []


def test_a_stale_expected_value_is_noticed_and_mended(tmp_path: Path) -> None:
    cases = edited(tmp_path, SINGLE, {})
    path = cases / f"{SINGLE}.toml"
    current = path.read_text()
    path.write_text(current.replace("expected = 0.75", "expected = 0.76"))
    assert outdated(cases, write=False) == [path]
    assert outdated(cases, write=True) == [path]
    assert path.read_text() == current


def test_expected_values_follow_the_case(tmp_path: Path) -> None:
    values = expected_values(load(edited(tmp_path, SINGLE, {"evaluation/items": 10}))[0], "cpu")
    assert values["accuracy"] == {"expected": 1.0, "n": 10}
    assert values["draft_counts"]["drafts"] == 139  # 14 a question, and 13 for key 0, which the drafter guesses


def test_nothing_is_computed_for_models_that_do_not_answer_from_the_table(tmp_path: Path) -> None:
    changes = {"serve/model/known_answer": "twin_decode"}
    assert expected_values(load(edited(tmp_path, SINGLE, changes, generate=False))[0], "cpu") == {}


def test_drafts_from_text_that_never_repeats_itself_are_refused(tmp_path: Path) -> None:
    asked = {"protocol": "known_answer_qa", "items": 30, "first_key": 0, "max_tokens": 64}
    changes = {"evaluation": asked, "serve/speculation/prompt_lookup_min": 3}
    cases = load(edited(tmp_path, "ngram/known_answer", changes, generate=False))
    with pytest.raises(UsageError, match=r"known_answer\.toml: serve\.speculation: no answer gives anything to draft"):
        expected_values(cases[0], "cpu")


def test_what_lookups_draft_is_known_on_either_side_and_what_suffixes_draft_if_the_case_says_how(
    tmp_path: Path,
) -> None:
    here = load(edited(tmp_path / "a", "ngram/known_answer", {}, generate=False))
    there = {"serve/speculation/method": "ngram_gpu"}
    other = load(edited(tmp_path / "b", "ngram/known_answer", there, generate=False))
    known = expected_values(here[0], "cpu")
    assert expected_values(other[0], "cpu") == known
    assert "draft_counts" in known
    suffix = {"serve/speculation": {"method": "suffix", "num_speculative_tokens": 4}}
    unknown = expected_values(load(edited(tmp_path / "c", "ngram/known_answer", suffix, generate=False))[0], "cpu")
    assert unknown == {"parity": known["parity"]}


def test_the_schema_takes_every_file_and_no_unknown_key() -> None:
    validator = jsonschema.Draft202012Validator(json.loads((BASELINES / "case.schema.json").read_text()))
    files = [json.loads(json.dumps(dict(case.content), default=str)) for case in load(BASELINES)]
    for content in files:
        assert [error.message for error in validator.iter_errors(content)] == []
        assert not validator.is_valid({**content, "matricks": {}})
        assert not validator.is_valid({**content, "platform": {"cuda": {"serv": {}}}})
    assert any("matrix" in content for content in files)


@pytest.mark.parametrize(("name", "pattern"), [("suite", "*/_suite.toml"), ("defaults", "_defaults.toml")])
def test_what_lies_below_cases_has_a_schema_too(name: str, pattern: str) -> None:
    schema = json.loads((BASELINES / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    files = list(BASELINES.glob(pattern))
    assert files != []
    for path in files:
        content = json.loads(json.dumps(tomllib.loads(path.read_text()), default=str))
        assert [error.message for error in validator.iter_errors(content)] == []
        assert not validator.is_valid({**content, "matricks": {}})
    assert name == "defaults" or not validator.is_valid({"defaults": {"platform": {"cuda": {"serv": {}}}}})


@pytest.mark.parametrize(
    "path", sorted(BASELINES.glob("**/*.toml")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_each_file_says_by_which_schema_it_is_checked(path: Path) -> None:
    kind = {"_suite": "suite", "_defaults": "defaults"}.get(path.stem, "case")
    first = path.read_text().splitlines()[0]
    assert first.startswith("#:schema ")
    assert (path.parent / first.removeprefix("#:schema ")).resolve() == (BASELINES / f"{kind}.schema.json").resolve()


def test_the_schema_describes_every_key() -> None:
    schema = json.loads((BASELINES / "case.schema.json").read_text())
    obvious = {"protocol", "expected", "direction", *("drafts", "draft_tokens", "accepted", "accepted_per_position")}
    without = [
        f"{name}.{key}"
        for name, model in schema["$defs"].items()
        for key, value in model.get("properties", {}).items()
        if not {"description", "$ref", "anyOf"} & value.keys() and key not in obvious
    ]
    assert without == []


@pytest.mark.parametrize(
    ("wanted", "suite", "platform", "words"),
    [
        (["eagle3/known_anser"], None, None, "did you mean 'eagle3/known_answer', "),
        ([], "eagel3", None, "nothing matches suite eagel3; suites are: any_server, api, dflash, disagg, draft_model,"),
        ([], "gemma4_mtp", "cpu", "nothing matches suite gemma4_mtp, platform cpu"),
        (["eagle3/known_answer"], "disagg", None, "nothing matches suite disagg"),
    ],
)
def test_a_filter_that_selects_nothing(wanted: list[str], suite: str | None, platform: str | None, words: str) -> None:
    with pytest.raises(NothingSelected, match=words.replace("?", r"\?")):
        select(BASELINES, wanted=wanted, narrowed=Narrowing(suite), platform=platform)


def test_selecting_is_by_id_suite_and_platform() -> None:
    assert [
        each.case_file.id for each in select(BASELINES, wanted=[], narrowed=Narrowing("draft_model"), platform="cpu")
    ] == ["draft_model/known_answer"]
    assert [each.platform for each in select(BASELINES, wanted=[DISAGG], platform="cpu")] == ["cpu"]
    with pytest.raises(UsageError, match="--platform gpu: must be one of cpu, cuda, rocm"):
        select(BASELINES, wanted=[], platform="gpu")


def test_of_several_platforms_it_is_the_one_that_this_machine_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(folder: str, platforms: list[str]) -> set[str]:
        cases = tmp_path / folder
        if not cases.exists():
            edited(cases, SINGLE, {"platforms": platforms})
        return {each.platform for each in select(cases, wanted=[], platform=None)}

    shown: dict[str, accelerators.Seen] = {}
    monkeypatch.setattr(accelerators, "look", lambda platform: shown.get(platform, accelerators.Seen()))
    assert chosen("all", ["cpu", "cuda", "rocm"]) == {"cpu"}
    with pytest.raises(UsageError, match="the cases run on cuda, rocm; choose one with --platform"):
        chosen("two", ["cuda", "rocm"])
    shown["rocm"] = accelerators.Seen((Device("0", "0000:03:00.0"),))
    assert chosen("all", []) == chosen("two", []) == {"rocm"}
    shown["cuda"] = accelerators.Seen((Device("0", "GPU-1"),))
    assert chosen("all", []) == {"cuda"}


def test_every_suite_and_platform_has_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "noxfile.py").read_text()
    namespace: dict[str, Any] = {"Path": Path, "tomllib": tomllib, "Iterator": Iterator, "Any": Any, "sys": sys}
    exec(text[text.index("def suites") : text.index("def accept")], namespace)  # noxfile.py is loaded by Nox alone
    monkeypatch.chdir(REPOSITORY)
    on_menu = [case for case in load(BASELINES) if case.suite.about.menu]
    wanted = {(case.suite.name, platform) for case in on_menu for platform in case.platforms}
    assert {(suite, platform) for suite, platform, _ in namespace["suites"]()} == wanted
