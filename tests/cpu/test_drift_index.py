"""The report of drift on releases of the package index; skipped without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.host import package_index
from tests.helpers import edited, harness


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        if not package_index.wheels("vllm-router"):
            pytest.skip("the package index has no wheel of vllm-router")
    except package_index.Unavailable as error:
        pytest.skip(f"no package index: {error}")
    return tmp_path_factory.mktemp("cache")


def report(cache: Path, *words: str) -> tuple[int, Any]:
    done = harness("drift", *words, "--format", "json", env={"XDG_CACHE_HOME": str(cache)})
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)["reports"]


def found(one: Any) -> set[tuple[str, str]]:
    return {(each["what"], each["name"]) for each in one["findings"]}


CROSSED = "--kv-transfer-config.kv_connector_extra_config.enable_cross_layers_blocks of NixlConnector"


def test_vllm_0_33_reads_no_cross_layers_for_nixl(cache: Path, tmp_path: Path) -> None:
    case = "disagg/accuracy_qwen3_0_6b"
    everywhere = edited(tmp_path / "cases", case, {"platform/cuda/exclude": []}, generate=False, platform="cuda")
    code, (one,) = report(cache, "vllm==0.33.0", case, "--cases", str(everywhere))
    assert code == 1
    assert ("never read", CROSSED) in found(one)


def test_points_are_those_that_exist_on_the_build(cache: Path) -> None:
    _, (one,) = report(cache, "vllm==0.33.0", "disagg/*")
    assert not [each for each in found(one) if each[0] == "never read"]
    # Whatever a case of today uses is there: a finding of this kind is one of the report's own making.
    assert not [each for each in one["findings"] if each["what"] in ("missing", "unknown value", "not looked at")]
    assert "make_arg_parser of vllm/entrypoints/common/cli_args.py" in "\n".join(one["notes"])
    assert any(note.startswith("vllm:nixl_num_failed_transfers is described anew") for note in one["notes"])


def test_what_was_downloaded_is_kept(cache: Path) -> None:
    code, (one,) = report(cache, "vllm-router==0.1.17", "disagg/*")
    assert (code, one["findings"]) == (0, [])
    kept = list((cache / "inference-harness" / "sources").glob("*.zip"))
    assert kept
    assert sum(each.stat().st_size for each in kept) < 80_000_000  # of which a wheel has 300


def test_a_release_that_there_is_not_is_wrong_input(cache: Path) -> None:
    done = harness("drift", "vllm==999.0", env={"XDG_CACHE_HOME": str(cache)})
    assert done.returncode == 2
    assert "the newest is" in done.stderr
