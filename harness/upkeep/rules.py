"""What must hold for all cases together, so that nothing falls out of CI or can only pass: ``harness check``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from harness.cases.overlays import idle
from harness.engines import ENGINES
from harness.plan import points
from harness.plan.expected_values import datasets, expected_values
from harness.plan.points import Planned, attached_only
from harness.plan.soundness import of_point
from harness.upkeep import baseline_rules, upstream_steps
from harness.upkeep.seen_on_paper import blind_axes
from harness.upkeep.unused import Tree, leftovers, old_exclusions, unused_pins
from harness.upkeep.workflows import reach
from harness.upstream.steps import Step

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off"}


# What the names of environment variables begin with that engines' libraries and programs read.
_LIBRARIES = (
    "CUDA_", "CUBLAS_", "CUDNN_", "FLASHINFER_", "GLOO_", "GOMP_", "HF_", "HIP_", "HSA_", "KMP_", "LD_", "MALLOC_",
    "MC_", "MIOPEN_", "MKL_", "MOONCAKE_", "NCCL_", "NIXL_", "NUMBA_", "NVIDIA_", "NVSHMEM_", "OMP_", "OPENBLAS_",
    "OTEL_", "PYTHON", "PYTORCH_", "RAY_", "RCCL_", "ROCM_", "ROCR_", "ROCSHMEM_", "TOKENIZERS_", "TORCHINDUCTOR_",
    "TORCH_", "TRANSFORMERS_", "TRITON_", "UCX_",
)  # fmt: skip


@dataclass(frozen=True)
class Checkout:
    """An engine's repository.

    Attributes:
        paths: Of all its files, relative to its root.
        words: Everything in its sources that could be the name of an environment variable.
        steps: Of the engine's own CI.
    """

    paths: Sequence[str]
    words: Collection[str]
    steps: Sequence[Step] = ()

    def lacks(self, engine: str, word: str) -> bool:
        """Whether it is a checkout of ``engine``, and ``word`` is not in it."""
        return word not in self.words and any(f"/{engine}/" in f"/{path}" for path in self.paths)


def problems(
    planned: Sequence[Planned],
    workflows: Mapping[str, str],
    checkout: Checkout | None,
    pinned: Collection[tuple[str, str]] | None = None,
    tree: Tree | None = None,
    today: date | None = None,
) -> list[str]:
    """Every broken rule, one line each, with the file it is about.

    Args:
        planned: Everything there is.
        workflows: Text of each CI workflow by path.
        checkout: Of the engine; None if none is at hand.
        pinned: Engines and platforms with a base image; None where no image is built.
        tree: What lies around the cases; None if they are not those of a source tree.
        today: For what is too old; None: nothing is.
    """
    found = [
        *_not_run(planned, workflows),
        *_off_menu(planned),
        *_untitled(planned),
        *_spelt_two_ways(planned),
        *_without_twin(planned),
    ]
    found += [*_not_in_checkout(planned, checkout)] if checkout is not None else []
    found += [*old_exclusions(planned, today)] if today is not None else []
    found += [*blind_axes(planned)]
    found += [*idle(list({each.case_file.id: each.case_file for each in planned}.values()))]
    for each in planned:
        found += of_point(each)
        found += _read_by_nobody(each)
        found += _of_another_run(each)
        found += baseline_rules.of_point(each, today)
    if tree is not None:
        found += [*leftovers(planned, tree), *(unused_pins(planned, pinned) if pinned is not None else [])]
    if pinned is not None:
        found += _without_base(planned, pinned)
    if checkout is not None:
        found += _matching_nothing(planned, checkout.paths)
        found += _not_run_as_upstream(planned, checkout)
    return list(dict.fromkeys(found))


def _not_run(planned: Sequence[Planned], workflows: Mapping[str, str]) -> Iterator[str]:
    """Sessions that no workflow runs, and suites of which nothing runs."""
    reached = [reach(text) for text in workflows.values()]
    for session, each in sorted({each.session: each for each in planned if each.on_menu}.items()):
        if not any(one.runs(each) for one in reached):
            yield f"session {session}: no workflow runs it; there are {', '.join(workflows) or 'none'}"
    for case_file in {each.case_file.id: each.case_file for each in planned}.values():
        for platform in case_file.platforms:
            matrix = case_file.matrix(platform)
            if all(matrix.excluded(variant) for variant in matrix.variants()):
                yield f"{case_file.path}: every point of its matrix is excluded on {platform}"


def _off_menu(planned: Sequence[Planned]) -> Iterator[str]:
    """Cases that no session runs though one could, and those that a session could only break on."""
    for each in planned:
        why = "judges nothing" if each.case.measure_only else ""
        why = "can only be attached" if attached_only(each.case) else why
        if each.on_menu and why:
            yield f"{each.case_file.path}: {why}, and no session can run that: menu = false in {each.suite}/_suite.toml"
        elif not each.on_menu and not why:
            yield f"{each.case_file.path}: could run, and no session does; put it into a suite without menu = false"


def _without_base(planned: Sequence[Planned], pinned: Collection[tuple[str, str]]) -> Iterator[str]:
    """Engines on platforms for which no image can be built."""
    for each in planned:
        engine = each.case.engine.name
        if each.on_menu and (engine, each.platform) not in pinned:
            yield f"docker/pins.toml: {engine}.{each.platform}: missing, though {each.case_file.id} runs there"


def _untitled(planned: Sequence[Planned]) -> Iterator[str]:
    """Suites that nobody can read on the menu, or that no change of the engine would run."""
    for suite in {each.suite: each.case_file.suite for each in planned}.values():
        on_menu = any(each.on_menu for each in planned if each.suite == suite.name)
        for key in ("title", *(("paths",) if on_menu else ())):
            if not getattr(suite.about, key):
                yield f"suite {suite.name}: {key}: missing; add it to {suite.name}/_suite.toml"


def _without_twin(planned: Sequence[Planned]) -> Iterator[str]:
    """Kinds of case that a machine without an accelerator does not see, and nobody says why."""
    on_cpu = {each.case_file.id for each in planned if each.platform == "cpu"}
    for each in planned:
        twin = each.case.cpu_twin
        if each.on_menu and each.case_file.id not in on_cpu and twin not in on_cpu and not twin.startswith("none: "):
            wrong = f"{twin!r} is no case that runs on cpu" if twin else "missing"
            yield f"{each.case_file.path}: cpu_twin: {wrong}; name one, or write `none: ` and why there is none"


def _spelt_two_ways(planned: Sequence[Planned]) -> Iterator[str]:
    """One environment variable with the same truth value in different words: some readers know only one of them."""
    spellings: dict[tuple[str, bool], dict[str, str]] = defaultdict(dict)
    for each in planned:
        for role in each.case.topology.roles:
            for name, value in each.case.serve_of(role).env.items():
                if value.lower() in _TRUE | _FALSE:
                    spellings[name, value.lower() in _TRUE].setdefault(value, each.case_file.id)
    for (name, _), values in spellings.items():
        if len(values) > 1:
            where = ", ".join(f"{value!r} in {case}" for value, case in sorted(values.items()))
            yield f"serve.env.{name}: one value in two spellings: {where}"


def _variables(each: Planned) -> Iterator[str]:
    for role in each.case.topology.roles:
        yield from each.case.serve_of(role).env


def _read_by_nobody(each: Planned) -> Iterator[str]:
    """Environment variables that neither the engine nor a library reads: a switch with nothing behind it."""
    engine = ENGINES[each.case.engine.name]
    if attached_only(each.case):
        return  # nothing is started that would be given them
    for name in _variables(each):
        if not name.startswith((*engine.prefixes, *_LIBRARIES)):
            yield (
                f"{each.case_file.path}: serve.env.{name}: neither {engine.name} nor a library it uses has names like "
                "this: nothing reads it"
            )


def _not_in_checkout(planned: Sequence[Planned], checkout: Checkout) -> Iterator[str]:
    """Environment variables with the engine's prefix that its sources do not know."""
    for each in planned:
        engine = ENGINES[each.case.engine.name]
        for name in _variables(each):
            if name.startswith(engine.prefixes) and checkout.lacks(engine.name, name):
                yield f"{each.case_file.path}: serve.env.{name}: occurs nowhere in the checkout of {engine.name}"


def _of_another_run(each: Planned) -> Iterator[str]:
    """Observations behind a baseline that are not those which the case will make, where that is known beforehand."""
    if datasets(each.case_file, each.platform, each.variant):
        return  # computed from data that need not be here: `harness generate --check` does
    for name, (key, number) in each.case.evaluation.counted().items():
        settings = getattr(each.case.checks, name)
        if settings is not None and getattr(settings, key) != number:
            yield f"{each.case_file.path}: checks.{name}.{key}: is {getattr(settings, key)}, the case makes {number}"
    known = expected_values(each.case_file, each.platform, each.variant, checkpoints=each.checkpoints)
    for name in ("acceptance_length", "acceptance_per_position"):
        baseline = getattr(each.case.checks, name)
        if baseline and name in known and baseline.n != known[name]["n"]:
            yield f"{each.case_file.path}: checks.{name}: n: is {baseline.n}, the case makes {known[name]['n']} drafts"


def _matching_nothing(planned: Sequence[Planned], sources: Sequence[str]) -> Iterator[str]:
    # A checkout is of one engine: what belongs to another cannot be looked for in it.
    for suite, each in _of_the_checkout(planned, sources).items():
        for path in points.sources(each):
            if not any(points.below(name, path) for name in sources):
                yield f"suite {suite}: paths: {path!r} matches no file of the engine's checkout"


def _of_the_checkout(planned: Sequence[Planned], sources: Sequence[str]) -> dict[str, Planned]:
    """A point of each suite whose engine it is."""
    held = {name for name, spec in ENGINES.items() if any(path.startswith(spec.sources) for path in sources)}
    return {each.suite: each for each in planned if each.case.engine.name in held}


def _not_run_as_upstream(planned: Sequence[Planned], checkout: Checkout) -> Iterator[str]:
    """Sources whose change makes the engine's own CI run what a suite stands for, and not the suite."""
    for suite, each in _of_the_checkout(planned, checkout.paths).items():
        about = ENGINES[each.case.engine.name].sources
        for pattern in each.case_file.suite.about.upstream_steps:
            like = [step for step in checkout.steps if step.is_like(pattern)]
            if checkout.steps and not like:
                yield f"suite {suite}: upstream_steps: {pattern!r} is no step of the engine's CI any more"
            wanted = [path for step in like for path in step.paths if path.startswith(about)]
            for path in dict.fromkeys(upstream_steps.missing(wanted, points.sources(each))):
                yield f"suite {suite}: paths: {path!r} is missing, which runs {pattern!r} in the engine's CI"
