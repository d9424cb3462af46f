"""What must hold for every workflow and for the composite action; what the shell in them does is tested elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner
from ruamel.yaml import YAML

from harness.cases.load import load
from harness.devices.accelerators import on_paper
from harness.plan.listing import render
from harness.plan.points import everything
from tests.helpers import BASELINES, REPOSITORY
from tests.workflows import ACTION, WORKFLOWS, parsed, steps

PAGE = REPOSITORY / "docs" / "ci.md"
ALL = [*WORKFLOWS, ACTION]
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+){0,2}$")


def names(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", ALL, ids=names)
def test_every_action_is_pinned_to_a_commit_and_says_its_version(path: Path) -> None:
    lines = [line.strip().removeprefix("- ") for line in path.read_text().splitlines() if "uses:" in line]
    assert [line for line in lines if not PINNED.match(line)] == []
    # A step that stands for another is the same object.
    assert len(lines) == len({id(step) for step in [*steps(parsed(path))] if "uses" in step})


def test_one_action_has_one_commit_everywhere() -> None:
    used = {step["uses"] for path in ALL for step in steps(parsed(path)) if "uses" in step}
    assert len({each.partition("@")[0] for each in used}) == len(used)


@pytest.mark.parametrize("path", WORKFLOWS, ids=names)
def test_jobs_end_and_may_do_no_more_than_read(path: Path) -> None:
    """But for the job that keeps the report of drift as an issue, which has no checkout and no code of anybody's."""
    document = parsed(path)
    assert document["permissions"] == {}
    assert "pull_request_target" not in path.read_text()
    for name, job in document["jobs"].items():
        assert "timeout-minutes" in job, name
        if (path.name, name) == ("drift.yml", "issue"):
            assert job["permissions"] == {"actions": "read", "issues": "write"}
            assert [step for step in job["steps"] if "uses" in step or "/nox" in step["run"]] == []
        else:
            assert job["permissions"] in ({}, {"contents": "read"}), name


@pytest.mark.parametrize("path", ALL, ids=names)
def test_no_credentials_stay_and_no_expression_is_in_a_script(path: Path) -> None:
    for step in steps(parsed(path)):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        assert "${{" not in step.get("run", ""), step["run"]


def gpu() -> Any:
    return parsed(REPOSITORY / ".github" / "workflows" / "gpu.yml")


def test_code_on_a_gpu_host_is_of_the_commit_that_was_approved() -> None:
    jobs = gpu()["jobs"]
    assert "gpu-fork" in jobs["commit"]["environment"]
    assert "head.repo.full_name == github.repository" in jobs["commit"]["if"]
    for name in set(jobs) - {"commit"}:
        checkout, check = jobs[name]["steps"][:2]
        assert "commit" in jobs[name]["needs"]
        assert checkout["with"]["ref"] == "${{ needs.commit.outputs.sha }}"
        assert check["env"] == {"APPROVED": "${{ needs.commit.outputs.sha }}"}
        assert check["run"] == 'test "$(git rev-parse HEAD)" = "$APPROVED"'


def test_a_forks_code_gets_no_secret() -> None:
    jobs = gpu()["jobs"]
    assert [name for name, job in jobs.items() if "secrets." in json.dumps(job)] == ["accept"]
    assert [name for name, job in jobs.items() if job.get("environment") == "gpu"] == ["accept"]
    assert jobs["accept"]["if"] == "inputs.commit == ''"
    assert jobs["accept-fork"]["if"] == "inputs.commit != ''"
    for name in ("accept", "accept-fork"):
        assert "commit" in jobs[name]["needs"]  # which is skipped for a pull request of a fork
    assert "environment" not in jobs["accept-fork"]


def test_a_forks_code_is_run_as_any_other_but_for_the_token() -> None:
    ours, theirs = gpu()["jobs"]["accept"], gpu()["jobs"]["accept-fork"]
    (with_token,) = [step["env"] for step in ours["steps"] if "secrets." in json.dumps(step)]
    assert with_token.pop("HF_TOKEN") == "${{ secrets.HF_TOKEN }}"
    del ours["environment"], ours["if"], theirs["if"]
    assert ours == theirs


def test_a_job_on_a_gpu_host_may_take_as_long_as_its_cases_may_wait() -> None:
    for workflow in ("gpu.yml", "ci.yml"):
        job = parsed(REPOSITORY / ".github" / "workflows" / workflow)["jobs"]["accept"]
        assert job["timeout-minutes"] == "${{ matrix.timeout_minutes }}"
    for job in json.loads(render(everything(load(BASELINES)), "github", on_paper))["include"]:
        waiting = job["wait_for_devices"] * len(job["cases"].splitlines()) / 60
        assert bool(waiting) == bool(job["devices"])
        assert job["timeout_minutes"] >= 30 + waiting


@pytest.mark.parametrize("path", ALL, ids=names)
def test_a_step_gives_way_to_what_it_runs(path: Path) -> None:
    """A runner signals the step's shell, and nobody else."""
    lines = [line.strip() for step in steps(parsed(path)) for line in step.get("run", "").splitlines()]
    calls = [line for line in lines if "/nox" in line and "exit_code" not in line]
    assert calls
    assert [line for line in calls if not re.match(r"exec \S*/nox\S* -s ", line)] == []


def test_the_fragments_give_way_to_what_they_run() -> None:
    lines = [line.strip() for line in PAGE.read_text().splitlines()]
    calls = [line for line in lines if "./nox -s" in line and not line.startswith("./nox")]  # those are a hook's
    assert len(calls) == 5
    assert [line for line in calls if "exec ./nox" not in line] == []


@pytest.mark.parametrize("path", [path for path in WORKFLOWS if path.name not in ("pins.yml", "drift.yml")], ids=names)
def test_a_job_for_cases_takes_what_the_plan_gives_and_keeps_everything(path: Path) -> None:
    job = parsed(path)["jobs"]["accept"]
    given = set(json.loads(render(everything(load(BASELINES)), "github", on_paper))["include"][0])
    assert set(re.findall(r"matrix\.(\w+)", json.dumps(job))) <= given
    always = [step for step in job["steps"] if step.get("if") == "always()"]
    assert any("summary runs" in step.get("run", "") for step in always)
    assert any(step.get("uses", "").startswith("actions/upload-artifact@") for step in always)


def block(heading: str, language: str) -> str:
    found = re.search(rf"^## {heading}$.*?^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{PAGE.name} has no {language} under {heading}"
    return found[1]


def invalid(schema: str, text: str, folder: Path) -> str:
    """What a schema says about a text; empty if nothing."""
    path = folder / "fragment.yml"
    path.write_text(text)
    done = CliRunner().invoke(check_jsonschema, ["--builtin-schema", schema, str(path)])
    return "" if done.exit_code == 0 else done.output or repr(done.exception)


@pytest.mark.parametrize(
    ("heading", "schema", "damage"),
    [
        ("GitLab", "vendor.gitlab-ci", ("when: always", "when: perhaps")),
        ("Buildkite", "vendor.buildkite", ("timeout_in_minutes: ", "timeout_in_minutes: soon # ")),
        ("Your own repository", "vendor.github-workflows", ("runs-on: ", "runs-where: ")),
    ],
)
def test_a_fragment_of_the_page_is_valid(heading: str, schema: str, damage: tuple[str, str], tmp_path: Path) -> None:
    text = block(heading, "yaml")
    if schema == "vendor.github-workflows":
        indented = "".join(f"  {line}\n" for line in text.splitlines())
        text = f"on: [push]\njobs:\n{indented}"
    assert invalid(schema, text, tmp_path) == ""
    assert damage[0] in text
    assert invalid(schema, text.replace(*damage), tmp_path) != ""


def test_the_action_is_called_in_ten_lines_with_inputs_that_it_has() -> None:
    text = block("Your own repository", "yaml")
    assert len(text.splitlines()) <= 10
    (call,) = [step for step in YAML(typ="safe", pure=True).load(text)["accept"]["steps"] if "uses" in step]
    assert re.search(r"/inference-harness@[0-9a-f]{40}$", call["uses"])
    assert call["with"].keys() <= parsed(ACTION)["inputs"].keys()


def test_every_input_of_the_action_is_read_and_on_the_page() -> None:
    text, page = ACTION.read_text(), PAGE.read_text()
    inputs = parsed(ACTION)["inputs"]
    assert [name for name in inputs if f"inputs.{name} " not in text or f"`{name}`" not in page] == []


def test_the_page_names_what_the_workflow_for_gpus_reads() -> None:
    text = (REPOSITORY / ".github" / "workflows" / "gpu.yml").read_text()
    read = {"gpu-fork", *re.findall(r"\b(?:vars|secrets)\.(\w+)", text), *gpu()["on"]["workflow_dispatch"]["inputs"]}
    assert [name for name in sorted(read) if f"`{name}`" not in PAGE.read_text()] == []
