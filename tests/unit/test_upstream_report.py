"""``harness upstream`` on small checkouts, with cases of ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.base.errors import NothingSelected, UsageError
from harness.cases.load import load
from harness.cli.upkeep_commands import upstream
from harness.cli.what_runs import OnlyOptions
from harness.engines import ENGINES
from harness.plan.points import everything, sources
from harness.upkeep.upstream_report import reports
from tests.helpers import BASELINES

FOLDER = "tests/v1/e2e/spec_decode/mtp/gemma4/test_mtp.py"
LENGTHS = "tests/v1/e2e/spec_decode/acceptance_rates/mtp_other/test_mtp.py"
TEST = """
import pytest
@pytest.mark.parametrize(
    ["setup", "expected_accuracy_threshold"],
    [(("mtp", "google/gemma-4-E4B-it", 1, "google/gemma-4-E4B-it-assistant"), {accuracy})],
)
def test_it(setup, expected_accuracy_threshold): ...
"""
RATES = """
def test_it(runner):
    run(
        model="google/gemma-4-E4B-it", draft_model="google/gemma-4-E4B-it-assistant", num_speculative_tokens=2,
        expected_acceptance_lengths={"mt-bench": 2.28, "gsm8k": 2.67 * 0.975, "humaneval": 2.68},
    )
"""
STEPS = """
steps:
- key: spec-decode-mtp-gemma4
  commands: [pytest v1/e2e/spec_decode/mtp/gemma4]
- key: another-mtp
  commands: [pytest v1/e2e/spec_decode/mtp/]
# - key: spec-decode-speculators-mtp-x
#   commands: [pytest v1/e2e/spec_decode/mtp/]
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return write(
        tmp_path / "checkout",
        {
            "PKG-INFO": "Metadata-Version: 2.4\nVersion: 9.1.0\n",
            "vllm/__init__.py": "",
            FOLDER: TEST.format(accuracy=0.6),
            LENGTHS: RATES,
            ".buildkite/test_areas/a.yaml": STEPS,
            ".git/x.py": "never looked at",
        },
    )


def call(capsys: pytest.CaptureFixture[str], checkout: Path, **options: object) -> tuple[int, str]:
    given = {"wanted": ["mtp/gemma4_e4b"], "form": "text", "same": False, "told": "", "cases": BASELINES}
    code = upstream(OnlyOptions(), checkout, **{**given, **options})  # type: ignore[arg-type]
    return code, capsys.readouterr().out


def test_the_command_says_what_differs_is_gone_or_new(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = call(capsys, checkout)
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "vllm, version 9.1.0: 1 differs, 3 gone, 2 new, 3 same (2 files)"
    assert lines[1].endswith(": accuracy: ours 0.5, theirs 0.6")
    assert lines[2] == f"    {FOLDER}:5 expected_accuracy_threshold, mtp/gemma4_e4b"
    gone = [line for line in lines if line.startswith("  gone: ")]
    assert sum("run_multi_connector_spec_decode_test.sh is not in the checkout" in line for line in gone) == 2
    assert "  gone: step: spec-decode-speculators-mtp-*: upstream's CI has it in a comment only" in gone
    new = [line for line in lines if line.startswith("  new: ")]
    assert "humaneval" in new[0]
    assert new[1] == "  new: step: another-mtp: no suite stands for it"
    code, out = call(capsys, checkout, same=True, form="markdown", told="commit 123")
    assert "## vllm: commit 123" in out
    assert "### Same" in out


def test_json_has_everything(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = call(capsys, checkout, form="json")
    (one,) = json.loads(out)["reports"]
    assert {each["what"] for each in one["lines"]} == {"differs", "gone", "new", "same"}


def test_nothing_that_differs_is_exit_code_0(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = "tests/v1/kv_connector/nixl_integration"
    script, judge = f"{folder}/run_multi_connector_spec_decode_test.sh", f"{folder}/test_spec_decode_metrics.py"
    steps = "steps: [{key: spec-decode-mtp-a}, {key: spec-decode-speculators-mtp-b}]"
    write(checkout, {FOLDER: TEST.format(accuracy=0.5), script: "", ".buildkite/test_areas/a.yaml": steps})
    code, out = call(capsys, checkout)
    assert (code, out.count("gone: ")) == (1, 2)
    assert "ours 1.3 is not there; figures of this kind that are: none" in out
    write(
        checkout, {script: f"pytest -x ${{ROOT}}/{judge}\n", judge: "def test_it():\n    assert accept_len() > 1.3\n"}
    )
    code, out = call(capsys, checkout)
    assert (code, "gone: " in out) == (0, False), out


def test_a_checkout_without_lists_of_steps_says_so(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {"python/sglang/__init__.py": "", ".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": "abc\n"},
    )
    (one,) = reports(root, everything(load(BASELINES)))
    assert (one.engine, one.checkout) == ("sglang", "commit abc")
    assert "the checkout has no lists of steps that can be read, so no step was compared" in one.notes
    assert all(each.what == "gone" for each in one.lines)


def test_what_is_no_checkout_or_of_no_case_is_one_line(checkout: Path, tmp_path: Path) -> None:
    planned = everything(load(BASELINES))
    with pytest.raises(UsageError, match="no such folder; name a checkout of vLLM or SGLang"):
        reports(tmp_path / "absent", planned)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no checkout of an engine: there is none of .*vllm/ \(vllm\)"):
        reports(tmp_path / "empty", planned)
    with pytest.raises(NothingSelected, match="none of these cases is for vllm"):
        reports(checkout, [each for each in planned if each.case.engine.name == "sglang"])


def test_every_suite_of_an_engine_with_figures_of_upstream_names_its_tests() -> None:
    """So that something new there is seen."""
    for each in everything(load(BASELINES)):
        about = each.case_file.suite.about
        published = any(model.repo for model in each.case.models())
        if ENGINES[each.case.engine.name].sources and each.on_menu and sources(each) and published:
            assert about.upstream_tests, f"{each.suite}/_suite.toml"
