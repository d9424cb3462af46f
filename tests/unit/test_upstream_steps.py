"""What the engine's own CI runs for which sources, and what we do: on lists like those of vLLM's repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import UsageError
from harness.cases.load import load
from harness.plan.points import everything, sources, touched
from harness.upkeep.rules import Checkout, problems
from harness.upkeep.upstream_steps import missing, steps
from harness.upstream.steps import Step
from tests.helpers import BASELINES, edited

SINGLE = "ngram/known_answer"
WORKFLOWS = {"ci.yml": "session: [ngram_cpu, ngram_cuda, ngram_rocm]"}

LIST = """
group: Spec Decode
steps:
- label: ":nvidia: N-Gram"
  key: spec-decode-ngram-suffix
  source_file_dependencies:
    - vllm/v1/spec_decode/
    - vllm/distributed
    - "!vllm/distributed/kv_transfer/"
    - tests/v1/e2e/spec_decode/
  mirror:
    amd:
      source_file_dependencies: [vllm/v1/spec_decode/, vllm/platforms/rocm.py]
- label: A step that is about nothing
- wait
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with such a list."""
    root = tmp_path / "checkout"
    (root / ".buildkite" / "test_areas").mkdir(parents=True)
    (root / "vllm" / "distributed").mkdir(parents=True)
    (root / ".buildkite" / "test_areas" / "spec_decode.yaml").write_text(LIST)
    return root


def test_a_step_has_the_sources_of_all_its_platforms(checkout: Path) -> None:
    first, second = steps(checkout)
    assert first.names == ("spec-decode-ngram-suffix", ":nvidia: N-Gram")
    assert first.paths == (
        "vllm/v1/spec_decode/", "vllm/distributed/", "tests/v1/e2e/spec_decode/", "vllm/platforms/rocm.py"
    )  # fmt: skip
    assert second.paths == ()


@pytest.mark.parametrize("text", ["steps: [", "", "- a", "steps: 3", "steps: [{source_file_dependencies: 3, key: x}]"])
def test_a_list_of_another_form_is_none_or_an_error_with_its_name(checkout: Path, text: str) -> None:
    path = checkout / ".buildkite" / "test_areas" / "spec_decode.yaml"
    path.write_text(text)
    if text == "steps: [":
        with pytest.raises(UsageError, match=r"spec_decode\.yaml: no list of steps: "):
            steps(checkout)
    else:
        assert all(step.paths == () for step in steps(checkout))


def test_what_upstream_runs_and_we_do_not_is_found(checkout: Path, tmp_path: Path) -> None:
    planned = everything(load(edited(tmp_path / "cases", SINGLE, {})))
    words = {name for each in planned for name in each.case.serve.env}
    held = [*sources(planned[0]), *(f"{path}x.py" for path in sources(planned[0]))]
    said = problems(planned, WORKFLOWS, Checkout(held, words, steps(checkout)))
    assert said == [
        "suite ngram: paths: 'vllm/distributed/' is missing, which runs 'spec-decode-ngram-suffix' in the engine's CI"
    ]
    other = [Step(("another",), ("vllm/x.py",))]
    said = problems(planned, WORKFLOWS, Checkout(held, words, other))
    assert said == ["suite ngram: upstream_steps: 'spec-decode-ngram-suffix' is no step of the engine's CI any more"]


def test_a_folder_covers_what_is_in_it_and_a_file_only_itself() -> None:
    assert missing(["a/b.py", "a/", "a"], ["a/"]) == ["a"]
    assert missing(["a/b.py", "a/b.pyi"], ["a/b.py"]) == ["a/b.pyi"]


@pytest.mark.parametrize(
    ("changed", "suites"),
    [
        ("vllm/v1/attention/backends/flash_attn.py", {"eagle3", "mtp", "disagg", "spec_disagg", "gsm8k", "eplb"}),
        ("vllm/model_executor/layers/mamba/mamba_mixer2.py", {"disagg", "eagle3", "mtp"}),
        ("vllm/model_executor/models/gpt_oss.py", {"eagle3"}),
        ("vllm/model_executor/models/qwen3_5_mtp.py", {"mtp", "spec_disagg"}),
        ("vllm/v1/kv_offload/base.py", {"disagg"}),
        ("vllm/v1/kv_cache_interface.py", {"disagg", "spec_disagg", "eagle3"}),
        ("vllm/v1/core/kv_cache_planning.py", {"disagg", "spec_disagg", "eagle3"}),
        ("vllm/engine/arg_utils.py", {"ngram", "draft_model", "gsm8k", "eplb"}),
        ("vllm/entrypoints/common/cli_args.py", {"ngram", "draft_model", "gsm8k", "eplb"}),
        ("vllm/platforms/rocm.py", {"eagle3", "mtp", "disagg"}),
        ("python/sglang/srt/server_args.py", {"sglang_eagle3", "sglang_pd", "gemma4_mtp"}),
        ("docs/index.md", set()),
    ],
)
def test_a_change_upstream_runs_the_suites_that_it_is_about(changed: str, suites: set[str]) -> None:
    planned = everything(load(BASELINES))
    skipped = {each.id for each in planned if each.skip}
    run = {each.suite for each in touched(planned, [changed]) if not each.skip and each.id not in skipped}
    assert suites <= run
    assert bool(suites) == bool(run)
