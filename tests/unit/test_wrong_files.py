"""Files that no person should have to debug: each is refused in one line that names file and key."""

from __future__ import annotations

import os
import shutil
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import NothingSelected, UsageError
from harness.cases import document
from harness.cases.document import read
from harness.cases.load import load
from harness.run import supervise
from harness.run.console import Console
from harness.run.prepare import Options
from harness.run.rundir import directly_below
from harness.run.selection import matching, select
from tests.fake.conftest import ONE_POINT, SINGLE
from tests.fuzz import toml
from tests.helpers import BASELINES, edited, validated

LAYERS = {"case": f"{SINGLE}.toml", "suite": "eagle3/_suite.toml", "defaults": "_defaults.toml"}


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    return edited(tmp_path / "cases", SINGLE, {}, generate=False)


def refusal(folder: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1200
    return message


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("platform = 5", "platform: must be a table (it is 5)"),
        ('platform = ["cpu"]', "platform: must be a table"),
        ("platform.cpu = 5", "platform.cpu: must be a table (it is 5)"),
        ("platform.cpu.platform.cpu.title = 'x'", "platform.cpu.platform: a table for a platform has none of its own"),
        ("checkpoints = 5", "checkpoints: must be a table (it is 5)"),
        ("checkpoints.X = 5", "checkpoints.X: must be a table (it is 5)"),
        ("checkpoints.X.when = 5", "checkpoints.X.when: must be a list (it is 5)"),
        ("checkpoints.'../x'.title = 'x'", "checkpoints.'../x': must be like a name: at most 64 letters, digits"),
        ("when = 5", "when: must be a list (it is 5)"),
        ("when = [5]", "when.0: must be a table"),
        ("exclude = {}", "exclude: must be a list"),
        ("matrix.tp = 5", "matrix.tp: must be a table (it is 5)"),
        ("matrix.tp.1 = 5", "matrix.tp.1: must be a table"),
        ("matrix.tp.1.checks = 5", "matrix.tp.1.checks: must be a table (it is 5)"),
        ("matrix.tp.'../../../../x' = {}", "matrix.tp.'../../../../x': must be like a name"),
        ("matrix.tp.'.x' = {}", "matrix.tp..x: must be like a name"),
        ("matrix.'a=b'.x = {}", "matrix.a=b: must be like a name"),
        (f"matrix.tp.{'x' * 65} = {{}}", "must be like a name"),
        ("matrix.tp = {}", "matrix.tp: an axis without labels leaves no point"),
        ("roles = 5", "roles: must be a table (it is 5)"),
        ("roles.server = 5", "roles.server: must be a table (it is 5)"),
        ("controls.x = 5", "controls.x: must be a table (it is 5)"),
        ("timeouts = inf", "timeouts: inf is no number to count or compare with"),
    ],
)
def test_a_layer_of_another_shape(cases: Path, layer: str, line: str, words: str) -> None:
    path = cases / LAYERS[layer]
    content = toml.parsed(path)
    inside = content["defaults"] if layer == "suite" else content
    inside.pop(line.partition(" ")[0].partition(".")[0], None)
    if layer == "suite":
        path.write_bytes(b"title = 'x'\n[defaults]\n" + line.encode() + b"\n")
    else:
        path.write_bytes(line.encode() + b"\n" + toml.written(content))
    message = refusal(cases)
    # An axis is one whole, of all layers.
    assert message.startswith(f"{path}: ") or "without labels" in words
    assert words in message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("timeouts/start", float("nan"), "timeouts.start: nan is no number"),
        ("timeouts/stop", float("-inf"), "timeouts.stop: -inf is no number"),
        ("timeouts/start", -1.0, "timeouts.start: Input should be greater than 0"),
        ("timeouts/request", 0.0, "timeouts.request: Input should be greater than 0"),
        ("timeouts/stop", 1e308, "timeouts.stop: Input should be less than or equal to 604800"),
        ("topology/decode", -1, "topology.decode: Input should be greater than or equal to 1"),
        ("evaluation/concurrency", 0, "evaluation.concurrency: Input should be greater than or equal to 1"),
        ("evaluation/concurrency", 10**12, "evaluation.concurrency: Input should be less than"),
        ("topology/prefill", 10**12, "topology.prefill: Input should be less than or equal to 64"),
        ("serve/tensor_parallel_size", 10**12, "serve.tensor_parallel_size: Input should be less than"),
        ("serve/served_as", "..", "serve.served_as: must be like a name"),
        ("serve/flags/x", date(2020, 1, 1), "serve.flags.x: a date or time; write it as a text: '2020-01-01'"),
        ("serve/flags/x", time(1, 2), "serve.flags.x: a date or time; write it as a text: '01:02:00'"),
        ("serve/flags/x", 10**20, "serve.flags.x: a number that does not fit into 64 bits"),
        ("serve/flags/x", [{"a": 1}], "serve.flags.x: must be true, false, a number, a text, a list of"),
        ("serve/flags/x", [], "serve.flags.x: must be true, false, a number, a text, a list of"),
        ("serve/flags/a=b", 1, "serve.flags.a=b: must be like the name of a flag"),
        ("serve/flags/--x", 1, "serve.flags.--x: must be like the name of a flag, without the dashes"),
        ("serve/env/A=B", "1", "serve.env.A=B: must be like the name of an environment variable"),
        ("serve/env/A\0", "1", "no name: empty, too long, or with a control character"),
        ("serve/env/A", "\0", r"serve.env.A: a text with the control character '\x00'"),
        ("serve/env/A", "\u202e", "serve.env.A: a text with the control character"),
        ("serve/env/A", "x" * 30_000, "serve.env.A: a text of 30000 characters; at most 20000"),
        ("x", toml.nested(400, lists=True), "nested deeper than 32 levels"),
        ("x", toml.nested(40, lists=False), "nested deeper than 32 levels"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_value_of_the_defaults_that_nothing_can_hold(cases: Path, key: str, value: Any, words: str) -> None:
    path = cases / "_defaults.toml"
    content = toml.parsed(path)
    *tables, last = key.split("/")
    table = content
    for part in tables:
        table = table[part]
    table[last] = value
    path.write_bytes(toml.written(content))
    message = refusal(cases)
    assert message.startswith(f"{path}: ")
    assert words in message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x = 1e400", "x: inf is no number"),
        (f"x = {'1' * 5000}", "not valid TOML: "),
        (f"{'a.' * 200}a = 1", "nested deeper than 32 levels"),
        (f"{'a . ' * 50_000}a = 1", "nested deeper than 32 levels"),
        (f"{'a' * 200_000} = 1", "no name: empty, too long"),
        (f"x = '{'a' * 200_000}'", "x: a text of 200000 characters; at most 20000"),
        ("[" * 20_000, "not valid TOML: "),
        (f"x = {'[' * 20_000}", "nested deeper than 32 levels"),
        ("a.b = 1\n[a]\nb = 2", "not valid TOML: "),
        ("'' = 1", "no name: empty"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_line_that_nobody_means(cases: Path, line: str, words: str) -> None:
    path = cases / f"{SINGLE}.toml"
    path.write_text(f"{line}\n{path.read_text()}")
    message = refusal(cases)
    assert message.startswith(f"{path}: ")
    assert words in message


@pytest.mark.parametrize("name", ["folder", "fifo", "loop", "dangling", "device", "latin-1", "mark", "long", "cr"])
def test_a_case_file_that_is_no_text_of_a_person(cases: Path, name: str) -> None:
    path = cases / f"{SINGLE}.toml"
    content = path.read_bytes()
    path.unlink()
    match name:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "loop":
            path.symlink_to(path.name)
        case "dangling":
            path.symlink_to("nowhere")
        case "device":
            path.symlink_to("/dev/zero")
        case "latin-1":
            path.write_bytes(content + "# ü".encode("latin-1"))
        case "mark":
            path.write_bytes(b"\xef\xbb\xbf" + content)
        case "cr":
            path.write_bytes(content.replace(b"\n", b"\r"))
        case "long":
            with path.open("wb") as file:
                file.truncate(100 * 2**20)
    words = {
        "folder": "cannot be read: a folder, no file",
        "fifo": "cannot be read: a device or pipe, no file",
        "loop": "cannot be read: Too many levels of symbolic links",
        "dangling": "cannot be read: No such file or directory",
        "device": "cannot be read: a device or pipe, no file",
        "latin-1": "is not UTF-8; save it as UTF-8",
        "mark": "begins with a byte order mark; save it as UTF-8 without one",
        "cr": "not valid TOML: ",
        "long": "longer than 256 KiB",
    }
    message = refusal(cases)
    assert message.startswith(f"{path}: ")
    assert words[name] in message


def test_line_ends_of_another_system_are_fine(cases: Path) -> None:
    path = cases / f"{SINGLE}.toml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert load(cases)
    assert document.editable(path)


def test_a_wrong_value_is_said_of_the_file_that_it_stands_in(cases: Path) -> None:
    suite = cases / "eagle3" / "_suite.toml"
    suite.write_text(suite.read_text() + "\n[defaults.platform.cpu.timeouts]\nstart = 'soon'\n")
    assert refusal(cases).startswith(f"{suite}: defaults.timeouts.start: Input should be a valid number (it is 'soon')")


def test_a_matrix_too_large_to_plan_is_refused_before_it_is_made(cases: Path) -> None:
    axes = "\n".join(f"[matrix.axis{axis}]\n" + "\n".join(f"l{each} = {{}}" for each in range(50)) for axis in range(9))
    path = cases / f"{SINGLE}.toml"
    path.write_text(f"{path.read_text()}\n{axes}\n")
    assert "points, 1000 at most a case" in refusal(cases)
    path.write_text(
        path.read_text().partition("[matrix.axis0]")[0]
        + "\n".join(f"[matrix.{letter * 60}]\n{letter * 60} = {{}}" for letter in "abcd")
    )
    assert "shorten labels" in refusal(cases)


def test_a_text_that_parses_and_cannot_be_edited_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text("a = 5\n")
    assert document.editable(path)["a"] == 5
    path.write_text("a = [")
    with pytest.raises(UsageError, match=r"x\.toml: not valid TOML"):
        document.editable(path)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", ["../x", "..", "a/b", "/etc"])
def test_a_run_directory_is_directly_in_its_folder(tmp_path: Path, name: str) -> None:
    assert directly_below(tmp_path, "eagle3.x.tp=1@tiny") == tmp_path / "eagle3.x.tp=1@tiny"
    with pytest.raises(UsageError, match="leads out of it"):
        directly_below(tmp_path, name)


def test_a_point_whose_directory_leads_elsewhere_is_an_error_of_its_own(tmp_path: Path) -> None:
    cases = edited(tmp_path / "cases", SINGLE, {}, generate=False)
    edited(tmp_path / "cases", ONE_POINT, {}, generate=False)
    chosen = matching(cases, wanted=[], platform=None)
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    for folder in (runs, elsewhere):
        folder.mkdir()
    for each in chosen:
        (runs / each.folder).symlink_to(elsewhere)
    assert supervise.run_all(chosen, runs, Options(), Console()) == UsageError.exit_code
    suites = list(validated(runs / "junit.xml").iter("testsuite"))
    assert [suite.get("errors") for suite in suites] == ["1", "1"]
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("wanted", ["eagle3", "eagle3/", "eagle3/*", str(BASELINES / "eagle3"), "eagle?/*"])
def test_its_name_a_pattern_or_a_folder_is_all_of_a_suite(wanted: str) -> None:
    found = matching(BASELINES, wanted=[wanted], platform="cpu")
    assert {each.case_file.id for each in found} == {SINGLE, f"{SINGLE}_chunked"}


def test_a_path_is_the_case_in_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = select(BASELINES, wanted=[str(BASELINES / f"{SINGLE}.toml")], platform="cpu")
    assert [each.id for each in found] == [SINGLE]
    shutil.copy(BASELINES / f"{SINGLE}.toml", tmp_path / "other.toml")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NothingSelected, match=r"no case '\./other\.toml' below"):
        matching(BASELINES, wanted=["./other.toml"], platform=None)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("eagel3", "did you mean 'eagle3'"),
        ("known_answer_k1", r"did you mean 'mtp/known_answer_k1'\? All of that name: '\*/known_answer_k1'"),
        ("known_answer", r"did you mean 'api/known_answer', '.*/known_answer' or '.*/known_answer'\?"),
        ("true", "options such as --keep take no value"),
        ("x" * 10_000, r"no case 'x{10,90}… below .*; there are \d+: `harness plan` lists them"),
        ("eagle3/qwen3_8b[tp=1,backend=FLASH]", r"did you mean 'eagle3/qwen3_8b\[tp=1,backend=FLASH"),
        ("*nothing*", "no case"),
        ("", "no case ''"),
    ],
)
def test_a_name_of_no_case_gets_the_next_step_and_no_list(wanted: str, words: str) -> None:
    with pytest.raises(NothingSelected, match=words) as caught:
        matching(BASELINES, wanted=[wanted], platform=None)
    assert len(str(caught.value)) < 400
