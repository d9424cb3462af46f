"""Every checkpoint that answers on its own, as transformers computes it: neither the engine nor our simulator."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from known_answer import safetensors
from known_answer import vocabulary as v
from known_answer.architectures import ARCHITECTURES
from known_answer.checkpoints import CHECKPOINTS, Files
from known_answer.landmarks import ledger
from known_answer.prompts import question, short
from known_answer.simulate import Request, simulate
from known_answer.table import TABLE
from tests.unit.llama_reference import read

PROGRAM = Path(__file__).with_name("transformers_texts.py")
KEYS = (7, 80)
ASKED = [name for name, each in CHECKPOINTS.items() if each.answers is TABLE]

BY_CONTENT = ("qwen3_5", "qwen3_next", "granite_moe_hybrid", "jamba")
"""Those that answer ledgers too."""

MOST_UNLIKE = {"target", "mimo", "deepseek_v2", "qwen3_5"}
"""One of each kind of attention and of drafting. Each start costs seconds of a core: the others are for ``--long``."""


def in_bf16(files: Files) -> Files:
    """What transformers reads without a package that the engine's environment has not: neither MXFP4 nor FP8."""
    config = json.loads(files["config.json"])
    if not config.pop("quantization_config", None):
        return files
    tensors = read(files["model.safetensors"])
    # Its experts are (experts, in, out), where files in MXFP4 have (experts, out, in).
    stacked = {name: tensor.swapaxes(1, 2) for name, tensor in tensors.items() if tensor.ndim == 3}
    return files | {
        "config.json": json.dumps(config).encode(),
        "model.safetensors": safetensors.render(tensors | stacked),
    }


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in MOST_UNLIKE else pytest.mark.long) for name in ASKED]
)
def test_transformers_says_what_the_table_says(name: str, engine_python: Path, tmp_path: Path) -> None:
    for file, content in in_bf16(CHECKPOINTS[name].files()).items():
        (tmp_path / file).write_bytes(content)
    keys, prompts = [*KEYS], [question(key) for key in KEYS]
    # Gemma's windows need the end of a line, and a key that is out of their reach: only a question has both.
    if not name.startswith("gemma"):
        keys.append(KEYS[0])
        prompts.append(short(KEYS[0]))
    if name in BY_CONTENT:
        keys.append(KEYS[1])
        prompts.append(ledger(KEYS[1], 300))
    requests = [Request(v.byte(prompt[-1]), 64, key) for prompt, key in zip(prompts, keys, strict=True)]
    answers = [simulate(request, 0)[0] for request in requests]
    assert answers_of(engine_python, tmp_path, prompts) == answers


@pytest.mark.long
def test_transformers_agrees_past_the_length_from_which_yarn_stretches(engine_python: Path, tmp_path: Path) -> None:
    for file, content in in_bf16(CHECKPOINTS["gpt_oss"].files()).items():
        (tmp_path / file).write_bytes(content)
    prompt = "She sat. " * 480 + question(KEYS[0])
    assert len(v.encode(prompt)) > ARCHITECTURES["gpt_oss"].config["rope_scaling"]["original_max_position_embeddings"]
    answer = simulate(Request(v.byte(prompt[-1]), 64, KEYS[0]), 0)[0]
    assert answers_of(engine_python, tmp_path, [prompt]) == [answer]


def answers_of(engine_python: Path, folder: Path, prompts: list[str]) -> list[list[int]]:
    """The tokens that transformers answers with."""
    asked = {"folder": str(folder), "prompts": [v.encode(prompt) for prompt in prompts], "max_tokens": 43}
    done = subprocess.run(
        [engine_python, PROGRAM], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in found["missing"] if ".visual." not in name] == []  # nobody looks at pictures
    return [list(answer) for answer in found["answers"]]
