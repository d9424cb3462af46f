"""Two builds side by side: what is said of values that are made up, how builds are named, and what is reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from harness.base.errors import CannotJudge, UsageError
from harness.base.evidence import Acceptance, Verifications
from harness.cli.shares import share, shares_by_name
from harness.comparison import comparison_page, quantities
from harness.comparison.comparison_record import BuildRecord, CaseRecord, Comparison, Finding, StartRecord
from harness.comparison.losses import Shown, findings, texts
from harness.comparison.named_builds import build, made, maker, require_place, without_build
from harness.comparison.observed import Observed
from harness.images.engine_image import Build as ImageBuild
from harness.run.prepare import Options
from harness.statistics.interleaved_starts import interleaved
from tests.helpers import XSD

EVERY = quantities.chosen([], {})
OPTIONS = Options()


def accepted(drafts: int, *positions: int) -> Acceptance:
    return Acceptance(drafts, drafts * len(positions), sum(positions), positions)


def start(**changes: Any) -> Observed:
    plain = Observed(
        known=False,
        texts={f"i{each}": "text" for each in range(20)},
        right={f"i{each}": each % 2 == 0 for each in range(20)},
        accepted=accepted(100, 60, 40),
        groups=tuple(accepted(10, 6, 4) for _ in range(10)),
        speeds={"throughput": 100.0, "start_up": 20.0, "time_between_tokens": 0.1, "time_to_first_token": 0.5},
        asked="x",
    )
    return replace(plain, **changes)


def compared(
    first: Sequence[Observed], second: Sequence[Observed], wanted: Mapping[str, quantities.Quantity] = EVERY
) -> dict[str, Finding]:
    shown = [Shown(0, of, each) for of, several in ((False, first), (True, second)) for each in several]
    return {each.quantity: each for each in findings(shown, wanted, 0.05)}


def said(first: Sequence[Observed], second: Sequence[Observed], name: str) -> str:
    return compared(first, second)[name].said


def test_equal_starts_are_not_worse_in_anything() -> None:
    found = compared([start(), start()], [start(), start()])
    assert {each.said for each in found.values()} == {"not worse"}
    assert found["acceptance_per_position[1]"].second == 0.4
    each = {finding.alpha for finding in found.values()}
    assert len(each) == 1
    assert 1 - (1 - each.pop()) ** len(found) == pytest.approx(0.05)


def test_less_acceptance_in_every_group_is_worse() -> None:
    less = start(accepted=accepted(100, 50, 39), groups=tuple(accepted(10, 5, 4 - (at == 0)) for at in range(10)))
    found = compared([start(), start()], [less, less])
    length = found["acceptance_length"]
    assert (length.said, length.interval_of) == ("worse", "10 groups of requests, and starts")
    assert length.loss == pytest.approx(0.055)
    least, most = length.losses
    assert least is not None
    assert most is not None
    assert least < 0.055 < most


def test_groups_that_go_either_way_are_undecided() -> None:
    """The sum is lower, and what single groups say is all over the place: other prompts would say something else."""
    groups = tuple(accepted(10, *((9, 9) if at % 2 else (2, 0))) for at in range(10))
    less = start(accepted=accepted(100, 55, 45), groups=groups)
    assert said([start(), start()], [less, less], "acceptance_length") == "undecided"


def test_without_groups_drafts_stand_for_themselves() -> None:
    found = compared([start(groups=())], [start(groups=())])["acceptance_length"]
    assert found.interval_of == "drafts, taken as independent, and starts"
    assert (found.said, found.n) == ("undecided", 100)  # a hundred drafts say little
    uncounted = start(groups=(), accepted=Verifications(1000, 2500))
    assert compared([uncounted], [uncounted])["acceptance_length"].first == 2.5


def test_what_is_known_beforehand_has_no_noise() -> None:
    whole, less = start(known=True, groups=()), start(known=True, groups=(), accepted=accepted(103, 60, 37))
    found = compared([whole], [less])["acceptance_length"]
    assert (found.said, found.low, found.change) == ("worse", found.change, found.high)
    assert said([whole], [whole], "acceptance_length") == "not worse"


def test_starts_of_a_known_model_that_differ_all_the_same_are_noise() -> None:
    whole = [start(known=True, accepted=accepted(100, 60, each)) for each in (40, 20)]
    assert said(whole, [start(known=True, accepted=accepted(100, 60, 29))] * 2, "acceptance_length") == "undecided"


def test_a_build_that_stopped_drafting_is_worse() -> None:
    found = compared([start(), start()], [start(accepted=None), start(accepted=None)])
    assert (found["acceptance_length"].said, found["acceptance_length"].why) == ("worse", "A has it and B has not")
    assert found["acceptance_per_position"].said == "worse"
    assert said([start(accepted=None)], [start()], "acceptance_length") == "undecided"
    assert said([start(accepted=None)], [start(accepted=None)], "acceptance_length") == "not compared"


def test_a_position_at_which_nothing_is_accepted_any_more_is_worse() -> None:
    found = compared([start(), start()], [start(accepted=accepted(100, 60, 0))] * 2)
    assert (found["acceptance_per_position[1]"].said, found["acceptance_per_position[1]"].loss) == ("worse", 1.0)
    some = compared([start(), start()], [start(accepted=accepted(100, 60, 0)), start()])
    assert some["acceptance_per_position[1]"].said == "undecided"


def test_items_that_flip_the_same_way_are_worse_and_either_way_are_not() -> None:
    many = {f"i{each}": True for each in range(400)}
    other = {f"i{each}": "other" for each in range(20)}
    lost = start(right={name: at >= 30 for at, name in enumerate(many)}, texts=other)
    assert said([start(right=many)], [lost], "accuracy") == "worse"
    before = start(right={name: at >= 8 for at, name in enumerate(many)})
    after = start(right={name: at < 392 for at, name in enumerate(many)}, texts=other)
    found = compared([before], [after])["accuracy"]
    assert (found.said, found.change, found.relative) == ("undecided", 0.0, False)
    one = start(right={name: at > 0 for at, name in enumerate(many)}, texts=other)
    assert said([start(right=many)], [one], "accuracy") == "not worse"


def test_a_slower_build_is_worse_and_a_noisy_one_undecided() -> None:
    def seconds(*values: float) -> list[Observed]:
        return [start(speeds={"time_between_tokens": each}) for each in values]

    assert said(seconds(0.1, 0.1001), seconds(0.105, 0.1051), "time_between_tokens") == "worse"
    assert said(seconds(0.105, 0.1051), seconds(0.1, 0.1001), "time_between_tokens") == "not worse"
    noisy = compared(seconds(0.1, 0.12), seconds(0.105, 0.124))
    assert noisy["time_between_tokens"].said == "undecided"
    assert noisy["throughput"].said == "not compared"
    few = compared(seconds(0.1), seconds(0.2))["time_between_tokens"]
    assert (few.said, few.low, few.detects) == ("undecided", None, None)
    assert "nobody knows its noise" in comparison_page.words(few)


def test_how_many_rounds_a_speed_needs_is_said() -> None:
    def seconds(*values: float) -> list[Observed]:
        return [start(speeds={"start_up": each}) for each in values]

    found = compared(seconds(20.0, 20.6), seconds(20.1, 20.5), quantities.chosen(["start_up"], {"start_up": 0.01}))
    assert found["start_up"].said == "undecided"
    assert f"about {found['start_up'].rounds} rounds" in comparison_page.words(found["start_up"])
    assert found["start_up"].rounds > 1


def test_texts_are_counted_and_not_judged() -> None:
    other = {f"i{each}": "other" if each < 3 else "text" for each in range(20)}
    shown = [Shown(0, False, start()), Shown(0, True, start(texts=other)), Shown(0, True, start())]
    assert texts(shown).model_dump() == {"compared": 20, "differ": 3, "within": 3}


def test_quantities_and_margins_are_chosen_by_name() -> None:
    found = quantities.chosen(["throughput"], {"throughput": 0.5})
    assert [(name, each.margin) for name, each in found.items()] == [("throughput", 0.5)]
    with pytest.raises(UsageError, match="--quantity thruput: no such quantity; did you mean throughput"):
        quantities.chosen(["thruput"], {})
    with pytest.raises(UsageError, match="--margin accuracy: it is not compared"):
        quantities.chosen(["throughput"], {"accuracy": 0.1})
    assert shares_by_name("--margin", ["a=3%", "b=0.5"]) == {"a": 0.03, "b": 0.5}
    for wrong in ("a", "=3%", "a=", "a=3", "a=x%"):
        with pytest.raises(UsageError, match="--margin"):
            shares_by_name("--margin", [wrong])
    assert share("--until", "") is None


def test_a_build_is_what_its_spelling_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    for spelling in (str(python), "./env/bin/python", "./env", "env/bin/python"):
        found = build(spelling, OPTIONS)
        assert (found.options.engine_python, found.options.runtime) == (python, "local")
    assert found.command("a/b[x=1]") == f"harness run 'a/b[x=1]' --engine-python {python}"
    image = build("vllm/vllm-openai:v0.32.0", OPTIONS)
    assert (image.options.build.base_image, image.options.runtime) == ("vllm/vllm-openai:v0.32.0", "docker")
    wheel = tmp_path / "vllm-1.whl"
    wheel.touch()
    assert build("./vllm-1.whl", OPTIONS).options.build.engine_wheel == wheel
    for wrong in ("./none/python", "~/none", "", "-x", "two words", "./vllm-2.whl"):
        with pytest.raises(UsageError):
            build(wrong, OPTIONS)


def test_a_build_that_cannot_run_where_it_is_to_run_is_refused() -> None:
    with pytest.raises(UsageError, match="--runtime docker: /bin/sh runs in local; leave it out"):
        build("/bin/sh", Options(runtime="docker"))
    with pytest.raises(UsageError, match="--runtime local: some/image runs in docker"):
        build("some/image", Options(runtime="local"))


def test_options_that_name_one_build_are_refused() -> None:
    assert without_build(OPTIONS) == OPTIONS
    for options in (
        Options(engine_python=Path("x")),
        Options(build=ImageBuild(base_image="x")),
        Options(build=ImageBuild(engine_wheel=Path("x"))),
    ):
        with pytest.raises(UsageError, match="one build of several"):
            without_build(options)


def test_an_image_needs_a_container_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.comparison.named_builds.lifecycle.unavailable", lambda: "nobody answers")
    require_place(build("/bin/sh", OPTIONS))
    with pytest.raises(CannotJudge, match="nobody answers"):
        require_place(build("some/image", OPTIONS))


def test_a_command_that_makes_builds_has_a_place_for_the_name() -> None:
    assert maker("sh -c 'make {}' {}", "v1") == ["sh", "-c", "make v1", "v1"]
    for wrong in ("make", "make '{}"):
        with pytest.raises(UsageError, match="--make"):
            maker(wrong, "v1")


def test_what_a_command_made_is_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    written = {"output": "building\n/bin/sh\n", "status": 0}
    monkeypatch.setattr(
        "harness.comparison.named_builds.processes.run", lambda *_, **__: (written["status"], written["output"])
    )
    found = made("v1", "make {}", OPTIONS, lambda _: None)
    assert (found.name, found.spelling) == ("v1", "/bin/sh")
    for output, status, words in (
        ("no such version\n", 1, "status 1: no such version"),
        ("", 0, "it wrote nothing"),
        ("done.\nit is at ./x\n", 0, "its last line must name the build"),
    ):
        written.update(output=output, status=status)
        with pytest.raises(CannotJudge, match=words):
            made("v1", "make {}", OPTIONS, lambda _: None)


def record(*cases: CaseRecord) -> Comparison:
    builds = {"A": BuildRecord(spelling="/a", flags=("--engine-python", "/a"), engine="vllm 1"),
              "B": BuildRecord(spelling="/b", flags=("--engine-python", "/b"))}  # fmt: skip
    return Comparison.model_validate(
        {"harness": "0", "started": "2026-11-28T00:00:00+00:00", "rounds": 1, "false_alarm": 0.05, "builds": builds,
         "cases": cases, "host": {"cpus": "2"}}
    )  # fmt: skip


def case(*verdicts: str, broken: str = "") -> CaseRecord:
    values = {"first": 2.0, "second": 1.9, "change": 0.95, "low": 0.94, "high": 0.96, "margin": 0.01, "alpha": 0.01}
    made_up = [
        Finding.model_validate({"quantity": f"q{at}", "said": each, "unit": "x", "n": 4, **values})
        for at, each in enumerate(verdicts)
    ]
    began = StartRecord(build="A", round=1, folder="a|b", speeds={"start_up": 1.0})
    return CaseRecord(case="s/c", platform="cpu", findings=tuple(made_up), broken=broken, starts=(began,))


@pytest.mark.parametrize(
    ("cases", "code", "verdict"),
    [
        ([case("not worse", "not compared")], 0, "not worse"),
        ([case("not worse", "undecided", "worse")], 1, "worse"),
        ([case("not worse", "undecided")], 4, "undecided"),
        ([case("not compared")], 4, "could not be judged"),
        ([case("worse"), case(broken="it died")], 4, "worse"),
        ([case("not worse"), case("worse")], 1, "not worse"),
        ([case("undecided"), case("worse")], 1, "undecided"),
    ],
)
def test_what_is_worse_fails_and_what_is_undecided_is_never_green(
    cases: list[CaseRecord], code: int, verdict: str
) -> None:
    found = record(*cases)
    assert cases[0].said == verdict
    assert comparison_page.exit_code(found) == code


def test_junit_and_page_say_what_was_found(tmp_path: Path) -> None:
    found = record(case("worse", "not worse", "undecided", "not compared"), case(broken="B died | <b>"))
    comparison_page.write(tmp_path, found)
    document = etree.parse(tmp_path / "junit.xml")
    XSD.assertValid(document)
    kinds = {each.get("name"): [child.tag for child in each] for each in document.iterfind(".//testcase")}
    assert [kinds[f"q{at}"][0] for at in range(4)] == ["failure", "system-out", "error", "skipped"]
    (failure,) = document.iterfind(".//failure")
    assert str(failure.attrib["message"]).startswith("worse: A 2, B 1.9 x; 5.00% worse, 4.00% worse to 6")
    page = (tmp_path / comparison_page.PAGE).read_text()
    assert r"B died \| \<b\>" in page
    assert "harness run --engine-python /b s/c" in page
    assert comparison_page.exit_code(Comparison.model_validate_json(found.model_dump_json())) == 4


def test_a_loss_is_told_in_the_direction_of_its_quantity() -> None:
    slower = Finding(quantity="x", said="worse", higher=False, change=1.05, low=1.02, high=1.08)
    assert slower.loss == pytest.approx(0.05)
    assert list(slower.losses) == pytest.approx([0.02, 0.08])
    points = Finding(quantity="x", said="worse", relative=False, change=-0.05, low=-0.08, high=-0.02)
    assert list(points.losses) == pytest.approx([0.02, 0.08])


def test_rounds_are_a_b_b_a() -> None:
    assert ["AB"[second] for _, second in interleaved(2)] == list("ABBAABBA")
    assert math.fsum(number for number, _ in interleaved(3)) == 12
