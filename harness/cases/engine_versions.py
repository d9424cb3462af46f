"""Versions of an engine, and conditions on them: version specifiers as pip has them (PEP 440)."""

from __future__ import annotations

from typing import Annotated, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import BeforeValidator, Field

from harness.base.settings import Strict, cut

NEWER = Version("9999")
"""Newer than every release."""
_UNTAGGED = (0, 2)
"""A development version below this is what a checkout without tags is called: 0.1.dev1, 0.0.0.dev0."""


def _specifiers(value: Any) -> Any:
    if isinstance(value, str):
        try:
            given = SpecifierSet(value)
        except InvalidSpecifier:
            given = SpecifierSet()
        if not len(given) or any(each.operator == "===" for each in given):
            raise ValueError(f"must be version specifiers, as in '>=0.29' or '>=0.26,<0.29', not {cut(repr(value))}")
    return value


class EngineCondition(Strict):
    """``engine`` of a rule."""

    version: Annotated[str, BeforeValidator(_specifiers)] = Field(
        description="Version specifiers of PEP 440, as in `>=0.26,<0.29`: the rule is for these versions of the case's "
        "engine. A development or pre-release version counts as the release that it leads to."
    )

    def holds(self, version: Version) -> bool:
        """Whether it is about ``version``, one that :func:`taken` gave."""
        return SpecifierSet(self.version).contains(version, prereleases=True)

    @property
    def bounds(self) -> set[str]:
        """The versions that it names: what it says can change at these only."""
        return {each.version.removesuffix(".*") for each in SpecifierSet(self.version)}


def taken(said: str) -> Version:
    """The release that a version stands for, as a build or a pin says it.

    What leads to a release has most of what it brings: 0.34.0.dev12+gabc counts as 0.34.0. A build that says no
    version, or none that means anything, is most often made of the newest sources: it counts as newer than every
    release.
    """
    try:
        version = Version(said)
    except InvalidVersion:
        return NEWER
    if version.is_devrelease and version.release < _UNTAGGED:
        return NEWER
    return Version(version.base_version if version.is_prerelease else version.public)


def words(said: str) -> str:
    """How a version is taken, where that is not as it stands; else empty."""
    version = taken(said)
    if version == NEWER:
        return "which is no release: it counts as newer than all of them"
    return f"which counts as {version}" if Version(said).is_prerelease else ""
