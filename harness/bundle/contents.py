"""What a bundle is made of: cases and all that they need, brought together on a host that has a network."""

from __future__ import annotations

import hashlib
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness import __version__
from harness.base.errors import CannotJudge, NothingSelected, UsageError
from harness.bundle import writer
from harness.bundle.manifest import ENGINE_REQUIREMENTS, HARNESS_REQUIREMENTS, Manifest
from harness.bundle.writer import Content
from harness.containers import image_store, lifecycle
from harness.host import data_files, files, processes
from harness.images import requirements, source_tree
from harness.logs.root_cause import tail
from harness.plan.data_needs import datasets
from harness.plan.points import Planned
from harness.run import model_sources

_MACHINE = "x86_64"
_EMBEDDED_PIP = re.compile(r"virtualenv/seed/wheels/embed/(pip-([0-9.]+)-py3-none-any\.whl)")
_PYTHON = re.compile(r"3\.\d{1,2}")

Tick = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What a bundle shall hold.

    Attributes:
        cases: Folder of the case files.
        planned: Points of the cases, all on one platform.
        python: The other side's, as in ``3.12``.
        wheels: Folder with wheels of the engine; None for none.
        locked_engine: Also the locked requirements of the engines that the cases run on.
        images: Names of container images.
        checkpoints: Checkpoint set of the points.
    """

    cases: Path
    planned: Sequence[Planned]
    python: str
    wheels: Path | None = None
    locked_engine: bool = False
    images: Sequence[str] = ()
    checkpoints: str = ""


def make(order: Order, out: Path, part_size: int | None, on_tick: Tick) -> Manifest:
    """Write a bundle.

    Raises:
        UsageError: ``out`` is not empty, or something that is asked for does not exist.
        NothingSelected: None of the points can run.
        CannotJudge: A file, a wheel, a model or an image is not to be had.
    """
    writer.refuse_existing(out)
    if not _PYTHON.fullmatch(order.python):
        raise UsageError(f"--python {order.python}: must be like 3.12")
    if order.wheels is not None and not (order.wheels.is_dir() and any(order.wheels.glob("*.whl"))):
        raise UsageError(f"--wheels {order.wheels}: no folder with wheels")
    wanted = [each for each in order.planned if not each.skip]
    if not wanted:
        raise NothingSelected(f"{order.planned[0].id} does not run: {order.planned[0].skip}")
    revision = source_tree.revision()
    with tempfile.TemporaryDirectory(prefix="inference-harness-bundle-") as name:
        folder = Path(name)
        contents = [writer.bootstrap(), *_cases(order), *_data(wanted), *_models(wanted, on_tick)]
        wheels = _harness(order, folder / "wheels", revision.date, on_tick)
        contents += _installer(wheels)
        contents += _wheels(wheels, "wheels", "wheel", HARNESS_REQUIREMENTS)
        engine = _engine(order, wanted, folder / "engine-wheels", on_tick)
        contents += _wheels(engine, "engine-wheels", "engine-wheel", ENGINE_REQUIREMENTS)
        images = dict(_images(order.images, folder, on_tick))
        contents += [Content(f"images/{path.name}", "image", path) for _, path in images.values()]
        on_tick("writing")
        manifest = writer.made(
            contents,
            {
                "created": datetime.fromtimestamp(revision.date, UTC).isoformat(),
                "version": __version__,
                "revision": revision.name,
                "platform": wanted[0].platform,
                "python": order.python,
                "machine": _MACHINE,
                "cases": tuple(each.id for each in wanted),
                "checkpoints": order.checkpoints,
                "left_out": {each.id: each.skip for each in order.planned if each.skip},
                "images": {name: identity for name, (identity, _) in images.items()},
                "installed_bytes": writer.unpacked([*wheels, *engine]),
            },
        )
        writer.write(out, manifest, contents, date=revision.date, part_size=part_size)
    return manifest


def _cases(order: Order) -> Iterator[Content]:
    """The case files with what lies under them: the folder's defaults and the suites' own."""
    paths = {order.cases / "_defaults.toml"}
    for each in order.planned:
        paths |= {order.cases / each.suite / "_suite.toml", order.cases / each.suite / f"{each.case_file.name}.toml"}
    for path in sorted(paths):
        if path.is_file():
            yield Content(f"baselines/{path.relative_to(order.cases).as_posix()}", "case", path)


def _data(wanted: Iterable[Planned]) -> Iterator[Content]:
    needed = {dataset for each in wanted for dataset in datasets(each.case)}
    for dataset in sorted(needed, key=lambda each: each.file):
        yield Content(f"data/{dataset.file}", "data", data_files.fetch(dataset))


def _models(wanted: Iterable[Planned], on_tick: Tick) -> Iterator[Content]:
    """Known-answer checkpoints as their cache has them; models of the hub as plain files of the pinned commit."""
    models = {model.name: model for each in wanted for model in each.case.models()}
    for name, model in sorted(models.items()):
        on_tick(f"model {name}")
        if model.path:
            raise UsageError(f"{model.path}: a folder of yours is not packed; carry it over, to the same path")
        made = model_sources.have(model, on_tick)
        folder = Path(made.path)
        inside, kind = f"checkpoints/{folder.name}", "checkpoint"
        if model.repo:
            inside, kind = f"hub/models--{model.repo.replace('/', '--')}/snapshots/{made.revision}", "model"
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            yield Content(f"{inside}/{path.relative_to(folder).as_posix()}", kind, path)


def _harness(order: Order, folder: Path, date: int, on_tick: Tick) -> list[Path]:
    """Wheels of the harness and of all that it is locked with."""
    lock = (source_tree.root() / "requirements" / "harness.txt").read_text()
    _download(lock, order, folder, [], on_tick)
    # Dated by the commit, so that the same tree gives the same wheel.
    argv = [processes.own_interpreter(), "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    env = processes.environment({"SOURCE_DATE_EPOCH": str(date)})
    status, output = processes.run(argv, env=env, folder=source_tree.root(), on_tick=on_tick)
    if status != 0:
        raise CannotJudge("the harness's own wheel could not be built", cause=tail(output, 1), details=tail(output, 40))
    return sorted(folder.glob("*.whl"))


def _engine(order: Order, wanted: Iterable[Planned], folder: Path, on_tick: Tick) -> list[Path]:
    if not order.locked_engine:
        return sorted(order.wheels.glob("*.whl")) if order.wheels else []
    found = ["--find-links", str(order.wheels.absolute())] if order.wheels else []
    for engine, platform in sorted({(each.case.engine.name, each.platform) for each in wanted}):
        locks = source_tree.root() / "docker" / "requirements" / f"{engine}-{platform}"
        paths = [locks / name for name in ("torch.txt", "engine.txt") if (locks / name).is_file()]
        if not paths:
            raise UsageError(f"no {engine} for {platform} is locked here; give its wheels with --wheels FOLDER")
        for path in paths:
            _download(path.read_text(), order, folder, found, on_tick)
    return sorted(folder.glob("*.whl"))


def _download(lock: str, order: Order, folder: Path, extra: Sequence[str], on_tick: Tick) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder.parent / "wanted.txt"
    wanted.write_text(requirements.reduced(lock, requirements.environment(order.python, _MACHINE)))
    argv = [processes.own_interpreter(), "-m", "pip", "download", "--disable-pip-version-check", "--require-hashes"]
    argv += [*requirements.download_options(order.python, _MACHINE), *extra]
    argv += ["--dest", str(folder), "--requirement", str(wanted)]
    status, output = processes.run(argv, on_tick=on_tick)
    if status != 0:
        errors = [line for line in output.splitlines() if line.startswith("ERROR")]
        cause = f"{errors[-1] if errors else tail(output, 1)}; wheels at hand may be named with --wheels FOLDER"
        raise CannotJudge("a locked wheel is not to be had", cause=cause, details=tail(output, 40))


def _wheels(wheels: Sequence[Path], folder: str, kind: str, lock: str) -> Iterator[Content]:
    """Wheels and the lock that they are installed by: these, and no other content under their names."""
    if wheels:
        digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels}
        yield Content(lock, "requirements", requirements.of_wheels(digests).encode())
        for path in wheels:
            yield Content(f"{folder}/{path.name}", kind, path)


def _installer(wheels: Iterable[Path]) -> Iterator[Content]:
    """The pip that virtualenv, locked by hash, carries along: the other side may have none."""
    [path] = [each for each in wheels if each.name.startswith("virtualenv-")]
    with zipfile.ZipFile(path) as wheel:
        found = [match for name in wheel.namelist() if (match := _EMBEDDED_PIP.fullmatch(name))]
        if not found:
            raise CannotJudge(f"{path.name} carries no pip; the lock has a virtualenv this harness does not know")
        newest = max(found, key=lambda match: [int(part) for part in match[2].split(".")])
        yield Content(f"installer/{newest[1]}", "installer", wheel.read(newest[0]))


def _images(names: Iterable[str], folder: Path, on_tick: Tick) -> Iterator[tuple[str, tuple[str, Path]]]:
    for name in names:
        on_tick(f"saving image {name}")
        path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}-{files.digest_text(name)[:8]}.tar"
        try:
            yield name, (image_store.save(name, path), path)
        except lifecycle.ContainerFailed as error:
            raise CannotJudge(f"image {name} cannot be saved", cause=str(error)) from error


def size(text: str) -> int:
    """Bytes of a size as in ``48MiB``.

    Raises:
        UsageError: It is none.
    """
    match = re.fullmatch(r"(\d+)\s*(KiB|MiB|GiB)", text.strip())
    if not match or not int(match[1]):
        raise UsageError(f"--part-size {text}: must be like 48MiB (KiB, MiB, GiB)")
    return int(match[1]) << {"KiB": 10, "MiB": 20, "GiB": 30}[match[2]]
