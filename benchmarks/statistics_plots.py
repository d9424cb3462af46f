"""Draw what docs/statistics.md shows: `python benchmarks/statistics_plots.py`, from an environment with the dev lock.

The pictures are computed from harness/statistics alone, and come out the same each time.
"""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt

from harness.checks.noise import least_width
from harness.statistics import decisions, sequential
from harness.statistics.estimate import normal_quantile
from harness.statistics.looks import Equal, Loss, limits
from harness.statistics.sequential import Errors

INTO = Path(__file__).parent.parent / "docs" / "statistics"
SHARE, ALPHA = 0.75, 0.01


def power_against_n() -> None:
    """How often a loss of accuracy is seen, by the number of items, and by the flat band of 5 points beside it."""
    figure, (tested, band) = plt.subplots(1, 2, figsize=(9.0, 3.6), sharey=True)
    n = np.arange(20, 4001, 10)
    error = np.sqrt(SHARE * (1 - SHARE) / n)
    for loss in (0.01, 0.02, 0.05, 0.10):
        by_test = [decisions.power_at(loss, normal_quantile(1 - ALPHA) * each, each) for each in error]
        by_band = [decisions.power_at(loss, 0.05, each) for each in error]
        tested.plot(n, by_test, label=f"a loss of {loss * 100:.0f} points")
        band.plot(n, by_band)
    tested.plot(n, [decisions.false_alarms(normal_quantile(1 - ALPHA) * each, each, two_sided=False) for each in error],
                "k:", label="no loss: a false alarm")  # fmt: skip
    band.plot(n, [decisions.false_alarms(0.05, each, two_sided=False) for each in error], "k:")
    tested.set_title(f"a bound for {ALPHA:.0%} false alarms")
    band.set_title("a flat band of 5 points")
    for axes in (tested, band):
        axes.set_xlabel("items (right answers expected of 75 %)")
        axes.grid(alpha=0.3)
    tested.set_ylabel("how often it is red")
    tested.legend(fontsize=8, loc="center right")
    _write(figure, "power.svg")


def a_sequential_run() -> None:
    """Three sequences of answers, each until it is decided."""
    draw, errors, margin, budget = np.random.default_rng(7), Errors(0.01, 0.05), 0.05, 1200
    figure, axes = plt.subplots(figsize=(9.0, 3.6))
    for truth, told in ((0.75, "no loss"), (0.70, "a loss of 5 points"), (0.60, "a loss of 15 points")):
        steps = sequential.steps_of_shares(draw.random(budget) < truth, SHARE, margin)
        verdict = sequential.decided(steps, errors, budget)
        path = np.cumsum(steps)[: verdict.after]
        axes.plot(np.arange(1, verdict.after + 1), path, label=f"{told}: {verdict.decision} after {verdict.after}")
        axes.plot([verdict.after], path[-1:], "o", color=axes.lines[-1].get_color())
    axes.axhline(errors.fails_at, color="k", linestyle="--")
    axes.axhline(errors.passes_at, color="k", linestyle="--")
    axes.text(budget, errors.fails_at + 0.15, "fail: the loss is 100 times as likely", ha="right", fontsize=8)
    axes.text(budget, errors.passes_at - 0.75, "pass: no loss is 20 times as likely", ha="right", fontsize=8)
    axes.set_xlim(0, budget)
    axes.set_ylim(errors.passes_at - 1.2, errors.fails_at + 1.2)
    axes.set_xlabel("answers")
    axes.set_ylabel("log likelihood ratio, loss to none")
    axes.grid(alpha=0.3)
    axes.legend(loc="center right", fontsize=8)
    _write(figure, "sequence.svg")


def looks_at_fixed_questions() -> None:
    """Three runs of the same questions, each until a look decides: what is lost hits single drafts."""
    draw, errors, ends = np.random.default_rng(3), Errors(0.01, 0.05), [150, 300, 600, 1200, 2400]
    expected, loss = 1.21, Loss(margin=0.02 * 1.21, most=3.0)
    equal = [Equal(expected, 0.0, 5, least_width(expected, n, of_items=False, part=n / ends[-1])) for n in ends]
    at = [limits(each, loss, n, errors, len(ends), two_sided=False) for each, n in zip(equal, ends, strict=True)]
    figure, axes = plt.subplots(figsize=(9.0, 3.6))
    floor = 0.93
    axes.step(ends, [each.fail_below / expected for each in at], "k--", where="mid", label="fails below")
    passing = [(n, each.pass_from / expected) for n, each in zip(ends, at, strict=True) if each.pass_from < 9]
    axes.step(*zip(*passing, strict=True), "k:", where="mid", label="passes from here on")
    for lost, told in ((0.0, "no loss"), (0.02, "a loss of 2 %, the margin"), (0.10, "a loss of 10 %")):
        events = draw.random(ends[-1]) < lost * expected / loss.most
        values = [expected - events[:n].sum() * loss.most / n for n in ends]
        said = [each.decision(value) for each, value in zip(at, values, strict=True)]
        over = next((index for index, each in enumerate(said) if each != "inconclusive"), len(ends) - 1)
        ended = f"{told}: {said[over]} after {ends[over]} drafts"
        shown = [max(value / expected, floor) for value in values[: over + 1]]
        axes.plot(ends[: over + 1], shown, "o-", label=ended)
    axes.set_xscale("log")
    axes.set_xticks(ends, [str(n) for n in ends])
    axes.minorticks_off()
    axes.set_ylim(floor - 0.005, 1.01)
    axes.set_xlabel("drafts at each look")
    axes.set_ylabel("acceptance length by that of equal runs")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
    _write(figure, "looks.svg")


def _write(figure: plt.Figure, name: str) -> None:
    INTO.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(INTO / name, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = (INTO / name).read_text()
    (INTO / name).write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


if __name__ == "__main__":
    mpl.rcParams["svg.hashsalt"] = "inference-harness"
    power_against_n()
    a_sequential_run()
    looks_at_fixed_questions()
    print(f"written: {INTO}; the error of a share at n = 80 is {math.sqrt(SHARE * (1 - SHARE) / 80):.1%}")
