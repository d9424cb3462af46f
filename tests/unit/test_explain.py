"""``harness explain``: class, cause, place, what is sound, wrong answers and commands, of runs and of reports."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from harness.base.domain import CheckResult, Outcome, Stage
from harness.base.errors import CannotJudge
from harness.explanation.fault_classes import CLASSES, PAGE, classify
from harness.explanation.red_rows import of_junit, of_result, one_causes
from harness.reports import junit
from harness.reports.result import Result
from harness.run.judge import judge
from harness.run.progress import Progress
from harness.run.rundir import RunDir
from tests.finished import SINGLE, finished
from tests.fuzz.program import harness
from tests.helpers import REPOSITORY

NEEDED = "ValueError: 4.38 GiB KV cache is needed, which is larger than the available KV cache memory (2.02 GiB)"
TOKEN = "hf_" + "a1B2c3D4" * 4
LOG = "\n".join(
    [f"(APIServer pid=7) INFO 11-28 10:00:00 [x.py:{number}] line {number}" for number in range(20)]
    + [
        f"(EngineCore pid=9) INFO 11-28 10:00:00 [x.py:1] {'token ' * 5}HF_TOKEN={TOKEN} and more words to be cut off",
        "(EngineCore pid=9) ERROR 11-28 10:00:01 [core.py:1] EngineCore failed to start.",
        "(EngineCore pid=9) ERROR 11-28 10:00:01 [core.py:1] Traceback (most recent call last):",
        '(EngineCore pid=9) ERROR 11-28 10:00:01 [core.py:1]   File "/x/kv.py", line 3, in check',
        f"(EngineCore pid=9) ERROR 11-28 10:00:01 [core.py:1] {NEEDED}",
        "(APIServer pid=7) RuntimeError: Engine core initialization failed. See root cause above.",
    ]
)


@pytest.fixture(scope="module")
def green(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("green"), SINGLE).path


@pytest.fixture(scope="module")
def no_drafts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("drafts"), SINGLE, {"server": {"no_drafts": True}}).path


@pytest.fixture
def broken(green: Path, tmp_path: Path) -> RunDir:
    """A run whose server ended while it was waited for."""
    shutil.copytree(green, tmp_path / "run")
    rundir = RunDir(tmp_path / "run")
    for name in ("result.json", "junit.xml", "measurements.json", "samples.jsonl", "ready.json", "events.jsonl"):
        (rundir.path / name).unlink()
    rundir.logs.mkdir(exist_ok=True)
    rundir.log("server").write_text(LOG)
    (rundir.path / "commands.sh").write_text(
        f"# One line a server; each runs in the foreground.\n# server\ncd {rundir.cwd}/server && env A=1 "
        """/engine/python -m server --config '{"method":"eagle3"}' --port 20000 --max-model-len 1024 """
        "--dtype bfloat16\n"
    )
    progress = Progress(rundir, lambda _: None)
    for stage in (Stage.PREPARE, Stage.SERVE):
        with progress.stage(stage):
            pass
    with pytest.raises(CannotJudge), progress.stage(Stage.HEALTH_WAIT):
        raise CannotJudge("server exited with status 1", cause=NEEDED)
    with progress.stage(Stage.STOP):
        pass
    judge(rundir)
    return rundir


def explained(path: Path) -> str:
    answer = harness(["explain", str(path)])
    assert (answer.code, answer.stderr) == (0, "")
    return answer.stdout


def test_a_server_that_ended_is_explained_to_the_line(broken: RunDir) -> None:
    text = explained(broken.path)
    assert text.startswith("eagle3/known_answer on cpu: error, class configuration\n")
    assert "cause: health-wait: server exited with status 1: ValueError: 4.38 GiB" in text
    assert "it stands in: logs/server.log, line 25, said by EngineCore pid=9:" in text
    (marked,) = re.findall(r"^> +25 (.*)$", text, re.MULTILINE)
    assert marked.startswith("ValueError: 4.38 GiB KV cache")
    assert len(re.findall(r"^[> ] +\d\d ", text, re.MULTILINE)) == 7  # five before, the line, and the one that is left
    assert "stages: prepare" in text
    assert f"read: {PAGE}#configuration" in text


def test_the_commands_can_be_copied(broken: RunDir) -> None:
    text = explained(broken.path).replace(" \\\n", " ")
    assert "harness run eagle3/known_answer --platform cpu" in " ".join(text.split())
    assert """--config '{"method":"eagle3"}' --port 20000 --max-model-len 1024""" in " ".join(text.split())


def test_no_line_is_wider_than_a_terminal(broken: RunDir) -> None:
    lines = explained(broken.path).splitlines()
    assert [line for line in lines if len(line) > 80 and str(broken.path) not in line] == []


def test_no_secret_is_shown_nor_half_of_one(broken: RunDir) -> None:
    text = explained(broken.path)
    assert "***" in text
    assert TOKEN[:9] not in text


def test_a_secret_of_the_environment_is_shown_nowhere(broken: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PASSWORD", "bfloat16")
    assert "bfloat16" not in explained(broken.path)


def test_a_drafter_that_drafts_nothing_is_one_cause_of_many_rows(no_drafts: Path, tmp_path: Path) -> None:
    result = RunDir(no_drafts).read("result", Result)
    assert result
    several = [result.model_copy(update={"name": f"known_answer_{number}"}) for number in range(4)]
    path = tmp_path / "junit.xml"
    path.write_bytes(junit.render(several))
    points, count = of_junit(path, path.read_bytes())
    (cause,) = one_causes(points)
    assert (count, len(cause.points)) == (4, 4)
    assert cause.rows == sum(check.outcome in ("fail", "error") for check in result.checks) * 4 >= 20
    assert cause.of.name == "engine"
    text = " ".join(explained(path).split())
    assert f"4 of 4 points are red, in {cause.rows} rows, for 1 reason" in text
    assert "drafted nothing" in text or "drafts 0" in text


def test_a_report_alone_is_explained_with_what_it_quotes(broken: RunDir, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "artefact.xml"
    alone.parent.mkdir()
    shutil.copy(broken.path / "junit.xml", alone)
    text = explained(alone)
    assert text.startswith("eagle3/known_answer on cpu: error, class configuration\n")
    assert "server exited with status 1: ValueError" in text
    assert "harness run eagle3/known_answer --platform cpu" in text


def test_rows_with_other_words_are_other_causes(green: Path) -> None:
    result = RunDir(green).read("result", Result)
    assert result
    red = []
    for number, why in enumerate(("port 8000 is taken", "port 9000 is taken", "no module named vllm")):
        check = CheckResult("teardown", Outcome.ERROR, message=why)
        changed = {"name": f"n{number}", "checks": (check,), "outcome": Outcome.ERROR}
        red += [point] if (point := of_result(result.model_copy(update=changed), None)) else []
    assert [len(cause.points) for cause in one_causes(red)] == [2, 1]


def test_wrong_answers_have_prompt_and_expectation(green: Path, tmp_path: Path) -> None:
    shutil.copytree(green, tmp_path / "run")
    rundir = RunDir(tmp_path / "run")
    samples = [json.loads(line) for line in (rundir.path / "samples.jsonl").read_text().splitlines()]
    main = [each for each in samples if each["run"] == "main"]
    for each in main:
        each["text"] = "999" + each["text"][3:]
    (rundir.path / "samples.jsonl").write_text("".join(json.dumps(each) + "\n" for each in samples))
    for name in ("result.json", "measurements.json"):
        (rundir.path / name).unlink()
    assert judge(rundir).outcome is Outcome.FAIL
    text = explained(rundir.path)
    assert text.count(" prompt: ") == text.count("    expected: ") == text.count("    got: '999") == 3
    assert main[0]["expected_text"].strip()[:10] in text
    assert "not at hand" not in text


def test_what_is_green_is_said_to_be(green: Path) -> None:
    assert explained(green).endswith(": pass; nothing is red\n")
    assert "nothing is red" in explained(green / "junit.xml")


def test_a_folder_has_every_run_and_names_what_it_cannot_read(broken: RunDir, no_drafts: Path, tmp_path: Path) -> None:
    shutil.copytree(no_drafts, tmp_path / "other")
    shutil.copytree(no_drafts, tmp_path / "damaged")
    (tmp_path / "damaged" / "result.json").write_text("{")
    text = " ".join(explained(tmp_path).split())
    assert "2 of 3 points are red" in text
    assert "for 2 reasons" in text
    assert "not read: " in text


def test_a_run_that_was_killed_says_so(broken: RunDir) -> None:
    (broken.path / "result.json").unlink()
    (broken.path / "events.jsonl").unlink()
    text = explained(broken.path)
    assert "class harness" in text
    assert "no verdict" in text


@pytest.mark.parametrize(("content", "says"), [("<testsuites", "not a JUnit file"), ("<x/>", "not a JUnit file")])
def test_a_file_that_is_no_report_is_refused_in_a_line(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(content)
    answer = harness(["explain", str(tmp_path / "junit.xml")])
    assert answer.is_a_refusal()
    assert says in answer.stderr


@pytest.mark.parametrize(("name", "code"), [("nowhere", 2), (".", 3)])
def test_nothing_to_explain_is_said_in_a_line(name: str, code: int, tmp_path: Path) -> None:
    answer = harness(["explain", str(tmp_path / name)])
    assert answer.is_a_refusal()
    assert answer.code == code


@pytest.mark.parametrize(
    ("row", "outcome", "text", "fault", "name"),
    [
        (
            "health-wait",
            "error",
            "server exited with status 2: x: error: unrecognized arguments: --y",
            "",
            "configuration",
        ),
        ("health-wait", "error", "server exited: torch.OutOfMemoryError: CUDA out of memory", "", "device"),
        ("eval", "error", "decode killed by SIGKILL after 4 of 8 answers", "", "host"),
        ("serve", "error", "[Errno 98] address already in use", "", "host"),
        ("prepare", "error", "OSError: You are trying to access a gated repo", "", "network"),
        ("prepare", "error", "something", "network", "network"),
        ("eval", "error", "internal error: KeyError: 'x'", "", "harness"),
        ("evidence", "error", "samples.jsonl is cut off", "", "harness"),
        ("eval", "error", "AssertionError: num_decodes: 3, num_spec_decodes: 5", "", "engine"),
        ("accuracy", "fail", "no such file", "", "engine"),
        ("eval", "error", "nothing moved for 60 s (timeouts.request)", "", "engine"),
    ],
)
def test_classes(row: str, outcome: str, text: str, fault: str, name: str) -> None:
    assert classify(row, Outcome(outcome), text, fault).name == name


def test_the_page_has_every_class_and_what_it_says() -> None:
    page = (REPOSITORY / PAGE).read_text()
    sections = page.partition("## Classes")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (\w+)$", sections, re.MULTILINE)) == sorted(each.name for each in CLASSES)
    folded = " ".join(sections.split())
    for each in CLASSES:
        assert each.meaning in folded
        assert each.step.rstrip(".").partition(";")[0] in folded
