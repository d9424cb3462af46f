"""Base images: the file of their pins, and what is built on."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.base.errors import CannotJudge, UsageError
from harness.cases.load import load
from harness.containers import image_store
from harness.host import first_use
from harness.images import base_images, registry
from harness.images.base_images import Pin, Place, mirror, parse
from harness.plan.points import everything
from harness.upkeep.rules import problems
from tests.helpers import BASELINES, REPOSITORY, edited

FILE = Path("pins.toml")
DIGEST = f"sha256:{'a' * 64}"
TEXT = f"""
[vllm.cuda]
image = "docker.io/vllm/vllm-openai"
tag = "v1.2.3"
digest = "{DIGEST}"
engine = "in base"
source = "written by a test"
read = 2026-01-02
"""


def pin(**changes: str) -> Pin:
    text = TEXT
    for key, value in changes.items():
        text = "\n".join(f'{key} = "{value}"' if line.startswith(f"{key} =") else line for line in text.splitlines())
    return parse(text, FILE)["vllm", "cuda"]


def test_every_engine_and_platform_of_a_case_has_a_base_image() -> None:
    needed = {(each.case.engine.name, each.platform) for each in everything(load(BASELINES)) if each.on_menu}
    assert set(base_images.load()) == needed
    assert base_images.FILE == REPOSITORY / "docker" / "pins.toml"


def test_the_dockerfile_has_no_base_of_its_own() -> None:
    lines = (REPOSITORY / "docker" / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("ARG BASE_IMAGE")] == ["ARG BASE_IMAGE"]


def test_a_reference_has_the_tag_for_people_and_the_digest_for_engines() -> None:
    assert pin().reference() == f"docker.io/vllm/vllm-openai:v1.2.3@{DIGEST}"
    assert pin(digest="unresolved").reference() == "docker.io/vllm/vllm-openai:v1.2.3"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (None, Place("docker.io", "vllm/vllm-openai")),
        ("127.0.0.1:5000", Place("127.0.0.1:5000", "vllm/vllm-openai")),
        ("mirror.test/hub/proxy", Place("mirror.test", "hub/proxy/vllm/vllm-openai")),
    ],
)
def test_a_mirror_replaces_the_registry_and_nothing_else(place: str | None, expected: Place) -> None:
    assert pin().at(place) == expected
    if place:
        assert mirror(place) == place
        assert pin().reference(place) == f"{place}/vllm/vllm-openai:v1.2.3@{DIGEST}"


@pytest.mark.parametrize("text", ["https://mirror.test", "mirror", "mirror.test/", "a b", "mirror.test:x", ""])
def test_what_is_no_mirror_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be like HOST"):
        mirror(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("engine =", "engin =", "vllm.cuda.engin: unknown key; did you mean 'engine'?"),
        ("[vllm.cuda]", "[vllm.gpu]", "vllm.gpu: unknown key; did you mean 'cpu'?"),
        ("[vllm.cuda]", "[vlm.cuda]", "vlm: unknown key; did you mean 'vllm'?"),
        ('tag = "v1.2.3"\n', "", "vllm.cuda.tag: missing; add it"),
        ("v1.2.3", "v1:2", "vllm.cuda.tag: must be like v0.30.0, not 'v1:2'"),
        ("docker.io/vllm/vllm-openai", "vllm/vllm-openai", "vllm.cuda.image: must be like docker.io/library/python"),
        (DIGEST, DIGEST[:-1], "vllm.cuda.digest: must be like sha256: and 64 hexadecimal digits, or unresolved"),
        ('"in base"', '"inside"', "vllm.cuda.engine: Input should be 'in base' or 'from wheels' (it is 'inside')"),
        ("2026-01-02", '"soon"', "vllm.cuda.read: Input should be a valid date (it is 'soon')"),
        ("written by a test", "", "vllm.cuda.source: String should have at least 10 characters (it is '')"),
        ("[vllm.cuda]", "[vllm.cuda", "not valid TOML: "),
    ],
)
def test_a_wrong_file_is_one_line_with_file_and_key(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageError) as raised:
        parse(TEXT.replace(old, new), FILE)
    assert str(raised.value).startswith(f"pins.toml: {message}")
    assert "\n" not in str(raised.value)


def test_what_is_built_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_images, "FILE", tmp_path / "pins.toml")
    base_images.FILE.write_text(TEXT)
    expected = base_images.Base(f"docker.io/vllm/vllm-openai:v1.2.3@{DIGEST}", holds_engine=True)
    assert base_images.base("vllm", "cuda", allow_unpinned=False) == expected
    with pytest.raises(UsageError, match="no base image for sglang on rocm; add one, or name yours with --base-image"):
        base_images.base("sglang", "rocm", allow_unpinned=True)

    base_images.FILE.write_text(TEXT.replace(DIGEST, "unresolved"))
    tag = "docker.io/vllm/vllm-openai:v1.2.3"
    assert base_images.base("vllm", "cuda", allow_unpinned=False, may_ask=False) == base_images.Base(
        tag, holds_engine=True
    )
    allowed = base_images.base("vllm", "cuda", allow_unpinned=True, mirror="mirror.test")
    assert allowed.reference == "mirror.test/vllm/vllm-openai:v1.2.3"
    assert "as its tag is now" in allowed.unpinned

    base_images.FILE.unlink()
    with pytest.raises(UsageError, match="cannot be read: No such file or directory; run from a checkout"):
        base_images.base("vllm", "cuda", allow_unpinned=False)


def test_what_nobody_pinned_is_the_same_again_until_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(base_images, "FILE", tmp_path / "pins.toml")
    base_images.FILE.write_text(TEXT.replace(DIGEST, "unresolved"))
    here: list[str] = []
    monkeypatch.setattr(image_store, "image_id", lambda name: name if name in here else None)

    def silent(*_: str) -> str | None:
        raise registry.NoAnswer("docker.io: no answer in time")

    monkeypatch.setattr(registry, "digest", silent)
    with pytest.raises(CannotJudge, match="no registry says what it is") as raised:
        base_images.base("vllm", "cuda", allow_unpinned=False)
    assert raised.value.fault == "network"
    here.append("docker.io/vllm/vllm-openai:v1.2.3")
    found = base_images.base("vllm", "cuda", allow_unpinned=False)
    assert (found.reference, "base image of this machine" in found.unpinned) == (here[0], True)

    monkeypatch.setattr(registry, "digest", lambda *_: None)
    with pytest.raises(CannotJudge, match=r"docker\.io has no image vllm/vllm-openai") as raised:
        base_images.base("vllm", "cuda", allow_unpinned=False)

    monkeypatch.setattr(registry, "digest", lambda *_: DIGEST)
    first = base_images.base("vllm", "cuda", allow_unpinned=False)
    assert first.reference == f"docker.io/vllm/vllm-openai:v1.2.3@{DIGEST}"
    assert "resolved at first use" in first.unpinned
    monkeypatch.setattr(registry, "digest", lambda *_: f"sha256:{'9' * 64}")
    assert base_images.base("vllm", "cuda", allow_unpinned=False) == first
    [taken] = first_use.everything()
    assert (taken.kind, taken.name, taken.value) == ("base image", "docker.io/vllm/vllm-openai:v1.2.3", DIGEST)
    first_use.forget(taken)
    assert "sha256:999" in base_images.base("vllm", "cuda", allow_unpinned=False).reference


def test_a_case_without_a_base_image_is_a_problem(tmp_path: Path) -> None:
    planned = everything(load(edited(tmp_path, "draft_model/known_answer", {})))
    workflows = {"ci.yml": "draft_model_cpu"}
    assert problems(planned, workflows, None, {("vllm", "cpu")}) == []
    assert problems(planned, workflows, None, {("vllm", "cuda")}) == [
        "docker/pins.toml: vllm.cpu: missing, though draft_model/known_answer runs there"
    ]
