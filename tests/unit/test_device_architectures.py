"""Which accelerator is one that a case asks for."""

from __future__ import annotations

import re

import pytest

from harness.base.device_architectures import WANTED, suits
from harness.devices.amdgpu import _architecture


@pytest.mark.parametrize(
    ("architecture", "wanted", "fits"),
    [
        ("9.0", [], True),
        ("9.0", ["9.0"], True),
        ("9.0", ["8.9"], False),
        ("9.0", [">=8.9"], True),
        ("12.0", [">=9.0"], True),
        ("8.6", [">=8.9"], False),
        ("10.0", ["9.0", ">=10.0"], True),
        ("gfx942", ["gfx942", "gfx950"], True),
        ("gfx90a", ["gfx942", "gfx950"], False),
        ("gfx942", [">=9.0"], False),
        ("", [">=10.0"], True),
    ],
)
def test_an_accelerator_is_wanted_or_not(architecture: str, wanted: list[str], fits: bool) -> None:
    assert suits(architecture, wanted) is fits
    assert all(re.fullmatch(WANTED, each) for each in wanted)


@pytest.mark.parametrize("wrong", ["", ">=gfx942", "9", "sm_90", ">10.0", "9.0 ", "gfx942\n", "blackwell"])
def test_what_no_vendor_says_is_no_architecture(wrong: str) -> None:
    assert not re.fullmatch(WANTED, wrong)


@pytest.mark.parametrize(
    ("version", "name"), [(90402, "gfx942"), (90010, "gfx90a"), (90500, "gfx950"), (120001, "gfx1201"), (0, "")]
)
def test_the_kernels_number_is_amds_name(version: int, name: str) -> None:
    assert _architecture(version) == name
