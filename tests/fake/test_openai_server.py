"""Runs on a server with OpenAI's API and nothing else: no metrics, no health, no tokenizer, no process of ours."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.base.domain import Outcome, Sample
from harness.run.rundir import RunDir
from tests.helpers import Run, edited, harness, run
from tests.openai_server import Api, serving

CHAT, COMPLETIONS = "any_server/gsm8k_chat", "any_server/gsm8k_completions"
FEW = {"evaluation/items": 3, "timeouts": {"start": 4.0, "request": 5.0, "evaluation": 60.0}}
KEY = "sk-planted-0123456789"


def measured(
    tmp_path: Path, url: str, *arguments: str, case: str = CHAT, env: Mapping[str, str] | None = None, only: bool = True
) -> Run:
    cases = tmp_path / "cases"
    if not cases.exists():
        edited(cases, case, FEW)
    how = ["--measure-only"] if only else []
    return run(tmp_path, "--cases", cases, "--platform", "cpu", "--url", url, *how, *arguments, env=env)


def numbers(done: Run) -> dict[str, Any]:
    return {each.name: each.measured for each in done.result.checks}


def samples(done: Run) -> list[Sample]:
    return RunDir.existing(done.directory).samples() or []


def test_chat(tmp_path: Path) -> None:
    api = Api(base="/behind/a/proxy")
    with serving(api) as url:
        done = measured(tmp_path, f"{url}/v1/")
    assert done.code == 0, done.output
    assert done.result.outcome is Outcome.MEASURED
    assert numbers(done)["accuracy"] == pytest.approx(1 / 3)
    assert numbers(done)["tokens"] == {"prompt": 15, "answers": 21}
    assert done.result.provenance["served_as"] == "smol"
    bodies = [body for method, path, _, body in api.asked if path == "/behind/a/proxy/v1/chat/completions"]
    assert len(bodies) == 4, "a first token, and three questions"
    assert all(set(body) == {"model", "messages", "temperature", "max_tokens"} for body in bodies)
    assert {body["model"] for body in bodies} == {"smol"}
    assert not any("Authorization" in headers for _, _, headers, _ in api.asked)


def test_completions(tmp_path: Path) -> None:
    api = Api(said=" She has 9 * 2 = 18.\n#### 18")
    with serving(api) as url:
        done = measured(tmp_path, url, case=COMPLETIONS)
    assert done.code == 0, done.output
    assert numbers(done)["accuracy"] == pytest.approx(1 / 3)
    body = next(body for _, path, _, body in api.asked if path == "/v1/completions")
    assert "add_special_tokens" not in body


@pytest.mark.parametrize("case", ["any_server/mt_bench_chat", "any_server/mt_bench_completions"])
def test_mt_bench(tmp_path: Path, case: str) -> None:
    with serving(Api()) as url:
        done = measured(tmp_path, url, case=case)
    assert done.code == 0, done.output
    assert numbers(done)["answers"]["answered"] == 3
    assert "accuracy" not in numbers(done)


@pytest.mark.parametrize(
    ("said", "message", "reasoning"),
    [
        (r"\boxed{18}", {"reasoning_content": "9 times 2, not 7"}, "9 times 2, not 7"),
        (r"\boxed{18}", {"reasoning": "9 times 2"}, "9 times 2"),
        ("<think>\n9 times 2, or 7?</think>\n\nSo 18", {}, "\n9 times 2, or 7?"),
        ("9 times 2</think>18", {}, "9 times 2"),
        ("<think>it was 18 all al", {}, "it was 18 all al"),
        ("", {"content": None, "reasoning_content": "it was 18"}, "it was 18"),
    ],
)
def test_reasoning_is_kept_apart_and_not_scored(
    tmp_path: Path, said: str, message: dict[str, Any], reasoning: str
) -> None:
    with serving(Api(said=said, message=message)) as url:
        done = measured(tmp_path, url)
    assert done.code == 0, done.output
    assert {each.reasoning for each in samples(done)} == {reasoning}
    cut_off = "it was" in reasoning
    assert numbers(done)["accuracy"] == pytest.approx(0 if cut_off else 1 / 3)
    assert not any("9 times 2" in each.text for each in samples(done))
    assert "came with reasoning" in done.output


@pytest.mark.parametrize(
    ("lacks", "words"),
    [(["usage"], "does not say how many tokens 3 of 3"), (["finish_reason"], "does not say why 3 of 3 answers ended")],
)
def test_what_such_a_server_leaves_out_is_said(tmp_path: Path, lacks: list[str], words: str) -> None:
    with serving(Api(lacks=lacks)) as url:
        done = measured(tmp_path, url)
    assert done.code == 0, done.output
    assert words in done.output
    assert ("tokens" in numbers(done)) == ("usage" not in lacks)


def test_no_text_is_an_error(tmp_path: Path) -> None:
    with serving(Api(message={"content": None})) as url:
        done = measured(tmp_path, url)
    assert done.code == 4, done.output


def test_without_measure_only_nothing_runs(tmp_path: Path) -> None:
    api = Api()
    with serving(api) as url:
        done = measured(tmp_path, url, only=False)
    assert done.code == 2
    assert "has no baseline to judge by; measure it: --measure-only" in done.output
    assert not api.asked


def test_without_an_address_nothing_runs(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", CHAT, FEW)
    done = run(tmp_path, "--cases", cases, "--platform", "cpu", "--measure-only")
    assert done.code == 3
    assert "name one that runs already with --url or --attach" in done.output


def test_with_a_baseline_it_is_judged(tmp_path: Path) -> None:
    baseline = {
        "expected": 1 / 3, "direction": "two-sided", "absolute_tolerance": 0.01, "n": 3, "origin": "what the test says",
    }  # fmt: skip
    edited(tmp_path / "cases", CHAT, FEW | {"measure_only": False, "checks/accuracy": baseline})
    for said, code in ((r"\boxed{18}", 0), (r"\boxed{5}", 1)):
        with serving(Api(said=said)) as url:
            done = measured(tmp_path, url, "--runs", str(tmp_path / f"runs{code}"), only=False)
        assert done.code == code, done.output


def test_a_key_is_sent_and_written_nowhere(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    for number, (arguments, env) in enumerate(
        [(("--api-key-env", "OUR_KEY"), {"OUR_KEY": KEY}), (("--api-key-file", str(tmp_path / "key")), {})]
    ):
        api = Api(key=KEY)
        with serving(api) as url:
            done = measured(tmp_path, url, *arguments, "--runs", str(tmp_path / f"runs{number}"), env=env)
        assert done.code == 0, done.output
        assert all(headers["Authorization"] == f"Bearer {KEY}" for _, _, headers, _ in api.asked)
        files = [path for path in (tmp_path / f"runs{number}").rglob("*") if path.is_file()]
        assert files
        assert not [path for path in files if KEY.encode() in path.read_bytes()]
        assert KEY not in done.output


def test_a_wrong_key_is_one_line_without_it(tmp_path: Path) -> None:
    with serving(Api(key="another")) as url:
        done = measured(tmp_path, url, "--api-key-env", "OUR_KEY", env={"OUR_KEY": KEY})
        without = measured(tmp_path, url, "--runs", str(tmp_path / "without"))
    assert done.code == without.code == 4
    assert "refuses /health with 401" in done.errors["health-wait"]
    assert KEY not in done.output + done.errors["health-wait"]
    assert "--api-key-env" in without.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--api-key-env", "NOT_SET"), "--api-key-env NOT_SET: not set here"),
        (("--api-key-file", "/nonexistent"), "cannot be read"),
        (("--api-key-file", "/dev/null"), "holds no key"),
        (("--api-key-env", "PATH", "--api-key-file", "x"), "give one of them"),
    ],
)
def test_a_key_that_is_not_there(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = measured(tmp_path, "http://127.0.0.1:1", *arguments)
    assert done.code == 2
    assert words in done.output
    assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("api", "arguments", "words"),
    [
        (Api(models=["a", "b"]), (), "serves several models, and none is model: name one with --model-name: a, b"),
        (Api(models=["a", "b"]), ("--model-name", "c"), "does not serve c: it serves a, b"),
        (Api(models=[]), (), "no server says which model it serves"),
        (Api(refuses=404), (), "no first token from somebody else's server: /v1/chat/completions answers 404"),
        (Api(refuses=400), (), "not today"),
        (Api(base="/elsewhere"), (), "has neither /health nor /v1/models"),
        (Api(loading=1000), (), "not ready after"),
    ],
)
def test_a_server_that_is_another_is_one_line(tmp_path: Path, api: Api, arguments: tuple[str, ...], words: str) -> None:
    with serving(api) as url:
        done = measured(tmp_path, url.removesuffix("/elsewhere"), *arguments)
    assert done.code == 4, done.output
    assert words in done.errors["health-wait"]
    assert "\n" not in done.errors["health-wait"]


def test_of_several_models_the_one_that_is_named(tmp_path: Path) -> None:
    with serving(Api(models=["a", "org/b"], loading=2)) as url:
        done = measured(tmp_path, url, "--model-name", "org/b")
    assert done.code == 0, done.output
    assert done.result.provenance["served_as"] == "org/b"


def test_nobody_there_is_said_at_once(tmp_path: Path) -> None:
    done = measured(tmp_path, "http://127.0.0.1:1")
    assert done.code == 4
    assert "server cannot be reached at http://127.0.0.1:1" in done.errors["health-wait"]
    assert done.result.timing.total < 3


def test_tls(tmp_path: Path) -> None:
    pem = tmp_path / "pem"
    subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject)
    subprocess.run([*made, "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True)
    pem.write_text((tmp_path / "key").read_text() + (tmp_path / "cert").read_text())
    with serving(Api(), pem) as url:
        unknown = measured(tmp_path, url)
        known = measured(
            tmp_path, url, "--runs", str(tmp_path / "known"), env={"SSL_CERT_FILE": str(tmp_path / "cert")}
        )
    assert unknown.code == 4
    assert "cannot be trusted" in unknown.errors["health-wait"]
    assert "CERTIFICATE_VERIFY_FAILED" in unknown.errors["health-wait"]
    assert known.code == 0, known.output


def test_plain_text_does_not_go_to_the_chat_endpoint(tmp_path: Path) -> None:
    for changes, words in (
        ({"evaluation/protocol": "gsm8k_vllm"}, "evaluation: endpoint: gsm8k_vllm asks plain text"),
        ({"evaluation/endpoint": "completions"}, 'evaluation.endpoint: must be "chat"'),
        ({"evaluation/protocol": "gsm8k_sgl_eval"}, "tells the chat template"),
    ):
        cases = edited(tmp_path / words[-9:].replace("/", ""), CHAT, FEW | changes, generate=False)
        done = harness("plan", "--cases", cases)
        assert done.returncode == 2, done.stdout
        assert words in done.stderr
