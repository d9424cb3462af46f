"""Models that nobody has pinned and folders of the user's, from command line to verdict, on a scripted engine."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from known_answer.checkpoints import CHECKPOINTS
from tests.fake.conftest import DISAGG, QUICK, SINGLE, SMALL
from tests.fake.hub_server import COMMIT, OTHER, Hub, serving
from tests.fake_engine.install import install
from tests.helpers import Run, begin, edited, end, harness, in_hub_cache, run, tensors, validated, wait_for

REPO = "private/verifier"


@pytest.fixture(scope="module")
def eagle3() -> dict[str, dict[str, bytes]]:
    return {name: CHECKPOINTS[name].files() for name in ("target", "eagle3")}


@pytest.fixture
def folders(tmp_path: Path, eagle3: dict[str, dict[str, bytes]]) -> dict[str, Path]:
    """The pair that the case runs on, in folders that are called something else."""
    found = {"verifier": tmp_path / "our model, v2", "drafter": tmp_path / "our-drafter"}
    for folder, files in zip(found.values(), eagle3.values(), strict=True):
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
    return found


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as found:
        yield found


def small(tmp_path: Path, changes: dict[str, Any] | None = None, case: str = SINGLE) -> list[str | Path]:
    """Arguments for a run of a small version of a case."""
    cases = edited(tmp_path / "cases", case, SMALL[case] | QUICK | (changes or {}))
    return ["--cases", cases, "--engine-python", install(tmp_path / "engine", {})]


def on_models(tmp_path: Path, verifier: dict[str, str], drafter: dict[str, str]) -> Path:
    """The case on other models, with what is expected of the known-answer pair that it has."""
    cases = edited(tmp_path / "cases", SINGLE, SMALL[SINGLE] | QUICK)
    document: Any = tomlkit.parse((cases / f"{SINGLE}.toml").read_text())
    document["serve"]["model"] = verifier
    document["serve"]["speculation"]["model"] = drafter
    (cases / f"{SINGLE}.toml").write_text(tomlkit.dumps(document))
    return cases


def given(folders: dict[str, Path]) -> list[str]:
    return [text for name, folder in folders.items() for text in ("--model", f"{name}={folder}")]


def properties(done: Run) -> dict[str, str]:
    document = validated(done.directory / "junit.xml")
    return {each.get("name"): each.get("value") for each in document.iter("property")}


def test_a_private_folder_is_verifier_and_drafter(tmp_path: Path, folders: dict[str, Path]) -> None:
    done = run(tmp_path, *small(tmp_path), *given(folders))
    assert done.code == 0, done.output
    assert done.result.case_id == "eagle3/known_answer@own"
    for folder in folders.values():
        sha256 = done.result.provenance[f"checkpoint.{folder}.sha256"]
        assert f"model {folder} at SHA-256 {sha256}" in done.result.provenance["unpinned"]
    assert properties(done)["provenance.unpinned"] == done.result.provenance["unpinned"]
    assert f"unpinned: model {folders['verifier']}" in done.output
    record = json.loads((done.directory / "models.json").read_text())
    assert record["changed"] == []
    assert set(record["before"][str(folders["drafter"])]) == {"config.json", "model.safetensors"}
    # The same content elsewhere is the same, and another content is not.
    shutil.move(folders["drafter"], moved := tmp_path / "elsewhere")
    again = run(tmp_path / "again", *small(tmp_path / "2"), *given(folders | {"drafter": moved}))
    assert again.code == 0, again.output
    before, after = (each.result.provenance for each in (done, again))
    assert before[f"checkpoint.{folders['drafter']}.sha256"] == after[f"checkpoint.{moved}.sha256"]


def test_a_model_can_be_named_as_the_case_calls_it(tmp_path: Path, folders: dict[str, Path]) -> None:
    done = run(tmp_path, *small(tmp_path), "--model", f"eagle3_aux={folders['drafter']}")
    assert done.code == 0, done.output
    assert set(json.loads((done.directory / "models.json").read_text())["before"]) == {str(folders["drafter"])}
    assert done.result.provenance["checkpoint.target.sha256"]


def test_each_server_of_prefill_and_decode_gets_it(tmp_path: Path, folders: dict[str, Path]) -> None:
    target = {"known_answer": "target"}
    changes = {f"roles/{role}/model": target for role in ("prefill", "decode")}
    alone = dict.fromkeys(("controls/prefill_alone", "controls/decode_alone"))
    done = run(tmp_path, *small(tmp_path, {**changes, **alone}, DISAGG), *given(folders))
    links = {path: str(path.readlink()) for path in done.directory.glob("cwd/*/*") if path.is_symlink()}
    assert set(links.values()) == {str(folder) for folder in folders.values()}, done.output


def test_a_case_can_name_folders(tmp_path: Path, folders: dict[str, Path]) -> None:
    cases = on_models(tmp_path, {"path": str(folders["verifier"])}, {"path": str(folders["drafter"])})
    done = run(tmp_path, "--cases", cases, "--engine-python", install(tmp_path / "engine", {}))
    assert done.code == 0, done.output
    assert done.result.case_id == SINGLE
    assert str(folders["verifier"]) in done.result.provenance["unpinned"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "verifier"], "--model verifier: must be like verifier=FOLDER"),
        (["--model", "verifier=/nowhere"], "--model verifier=/nowhere: no folder there; give the one that holds"),
        (["--model", "target=/tmp", "--model", "target=/tmp"], "--model target: given twice"),
        (
            ["--model", "drafters=/tmp"],
            "--model drafters: no such model in these cases; there are: drafter, eagle3_aux",
        ),
    ],
)
def test_an_option_that_names_no_folder_or_no_model_is_one_line(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = run(tmp_path, *small(tmp_path), *arguments)
    assert done.code == 2
    assert len(done.output.splitlines()) == 1
    assert words in done.output
    assert not (tmp_path / "runs").exists()


def cut(path: Path, end: int) -> None:
    path.write_bytes(path.read_bytes()[:end])


def _sharded(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model-00001-of-00002.safetensors").write_bytes(tensors())
    index = {"weight_map": {"weight": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json is no JSON table"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights (*.safetensors, or *.bin)"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "model.safetensors is empty"),
        (lambda folder: cut(folder / "model.safetensors", -9), "model.safetensors has "),
        (lambda folder: cut(folder / "model.safetensors", 50), "model.safetensors has no header: cut off"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 900), "model.safetensors has no header"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer (tokenizer.json, tokenizer.model)"),
        (lambda folder: (folder / "tokenizer.json").write_bytes(b""), "tokenizer.json is empty"),
        (lambda folder: (folder / "more.json").symlink_to("nowhere"), "more.json is a link that points nowhere"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe is no plain file"),
        (_sharded, "1 of the 2 parts in model.safetensors.index.json are not there: model-00002-of-00002.safetensors"),
        (_pointer, "model.safetensors is a pointer of Git LFS and not the file: git lfs pull"),
    ],
)
def test_a_folder_that_is_not_whole_is_one_line(
    tmp_path: Path, folders: dict[str, Path], damage: Any, words: str
) -> None:
    damage(folders["verifier"])
    done = run(tmp_path, *small(tmp_path), *given(folders))
    assert done.code == 4, done.output
    assert done.problems["prepare"].startswith(f"model folder {folders['verifier']}: {words}")
    [error] = validated(done.directory / "junit.xml").iterfind(".//error[@type='configuration']")
    assert error.get("message") == done.problems["prepare"]


def test_a_folder_that_changes_while_it_is_used_is_found_out(tmp_path: Path, folders: dict[str, Path]) -> None:
    rundir = tmp_path / "run"
    done = harness("serve", SINGLE, "--run-dir", rundir, *small(tmp_path), *given(folders))
    assert done.returncode == 0, done.stderr
    weights = folders["drafter"] / "model.safetensors"
    status = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))  # as if nothing had happened
    for stage in ("health-wait", "eval", "assert", "stop"):
        done = harness(stage, rundir)
    assert "changed while the run used it: model.safetensors" in (rundir / "junit.xml").read_text()
    assert json.loads((rundir / "result.json").read_text())["exit_code"] == 4


def from_hub(tmp_path: Path, hub: Hub, eagle3: dict[str, dict[str, bytes]]) -> list[str | Path]:
    """Arguments for a run of a case on two repositories without a commit."""
    hub.add(REPO, eagle3["target"])
    hub.add("private/drafter", eagle3["eagle3"])
    verifier, drafter = ({"repo": name, "revision": "unresolved"} for name in (REPO, "private/drafter"))
    return ["--cases", on_models(tmp_path, verifier, drafter), "--engine-python", install(tmp_path / "engine", {})]


def test_what_nobody_pinned_is_taken_at_first_use_and_again(
    tmp_path: Path, hub: Hub, eagle3: dict[str, dict[str, bytes]]
) -> None:
    arguments = from_hub(tmp_path, hub, eagle3)
    env = {**hub.environment(tmp_path / "hub"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    done = run(tmp_path / "1", *arguments, env=env)
    assert done.code == 0, done.output
    assert f"unpinned: model resolved at first use: {REPO}@{COMMIT}, not pinned by the project" in done.output
    assert done.result.provenance[f"model.{REPO}.revision"] == COMMIT
    assert f"model {REPO} at {COMMIT}" in properties(done)["provenance.unpinned"]
    assert json.loads((done.directory / "case.json").read_text())["checkpoints"][REPO]["revision"] == COMMIT

    hub.add(REPO, {**eagle3["target"], "added.json": b"{}"}, OTHER)  # somebody pushed
    assert run(tmp_path / "2", *arguments, env=env).result.provenance[f"model.{REPO}.revision"] == COMMIT
    done = run(tmp_path / "3", *arguments, "--allow-unpinned", env=env)
    assert (done.code, done.result.provenance[f"model.{REPO}.revision"]) == (0, OTHER)
    offline = {**env, "HF_HUB_OFFLINE": "1"}
    assert run(tmp_path / "4", *arguments, env=offline).result.provenance[f"model.{REPO}.revision"] == OTHER

    listed = harness("unpinned", env=env)
    assert f"{REPO}@{OTHER}" in listed.stdout
    assert harness("unpinned", "--forget", REPO, env=env).returncode == 0
    assert REPO not in harness("unpinned", env=env).stdout
    assert harness("unpinned", "--forget", REPO, env=env).returncode == 3


def test_what_nobody_pinned_is_taken_from_a_cache_that_was_carried_over(
    tmp_path: Path, eagle3: dict[str, dict[str, bytes]]
) -> None:
    with serving() as hub:
        arguments = from_hub(tmp_path, hub, eagle3)
    in_hub_cache(tmp_path / "hub", REPO, COMMIT, eagle3["target"])
    env = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run(tmp_path / "1", *arguments, env=env)
    assert done.code == 4
    assert "no commit of private/drafter is pinned, and the hub does not say which to take" in done.problems["prepare"]
    assert list(validated(done.directory / "junit.xml").iterfind(".//error[@type='network']"))
    in_hub_cache(tmp_path / "hub", "private/drafter", OTHER, eagle3["eagle3"])
    done = run(tmp_path / "2", *arguments, env=env)
    assert done.code == 0, done.output
    assert "not pinned by the project (the hub's cache, " in done.output


def test_a_fetch_that_may_succeed_is_repeated_on_record(
    tmp_path: Path, hub: Hub, eagle3: dict[str, dict[str, bytes]]
) -> None:
    arguments = from_hub(tmp_path, hub, eagle3)
    hub.answers = [("/tree/", 501)]
    env = {**hub.environment(tmp_path / "hub"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run(tmp_path, *arguments, env=env)
    assert done.code == 0, done.output
    assert f"fetching {REPO}: attempt 1 of 3 failed, again in 1 s: 127.0.0.1" in done.output
    assert "attempt 1 of 3" in (done.directory / "events.jsonl").read_text()


def test_an_interrupt_ends_a_download_at_once_and_the_next_run_completes_it(
    tmp_path: Path, hub: Hub, eagle3: dict[str, dict[str, bytes]]
) -> None:
    arguments = from_hub(tmp_path, hub, eagle3)
    env = {**hub.environment(tmp_path / "hub"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    hub.slow = {"model.safetensors"}
    process = begin(tmp_path / "1", *arguments, env=env)
    wait_for(lambda: any("GET" in line and "model.safetensors" in line for line in hub.asked))
    done = end(process, signal.SIGTERM, tmp_path / "1", timeout=20)
    assert done.code == 130, done.output
    hub.slow.clear()
    done = run(tmp_path / "2", *arguments, env=env)
    assert done.code == 0, done.output


def test_doctor_counts_only_whole_models(tmp_path: Path) -> None:
    plan = json.loads(harness("plan", "--platform", "cuda", "--format", "json").stdout)
    assert any(each["unpinned"] for each in plan)
    found = json.loads(harness("doctor", "--platform", "cuda", "--offline", "--format", "json").stdout)["machine"]
    for name in found["models"]:
        repo, commit = name.split("@")
        in_hub_cache(tmp_path, repo, commit if len(commit) == 40 else COMMIT, {"config.json": b"{}"})
    env = {"HF_HUB_CACHE": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = harness("doctor", "--platform", "cuda", "--offline", "--format", "json", env=env)
    models = json.loads(done.stdout)["machine"]["models"]
    assert len(models) > 20
    assert not any(models.values())
