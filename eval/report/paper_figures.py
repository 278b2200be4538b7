"""What was measured here beside what the paper prints of its figures: shares, correlations and tests."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from s2vc.eval.paper import MOVING_SHARE_ABOUT, PEOPLE_SHARE_BELOW, STATIC_BIAS_R
from s2vc.eval.report.result_files import Result
from s2vc.eval.report.sweeps import SweepView
from s2vc.eval.report.tables import Cell
from s2vc.pipeline.cache.quantise import Q8
from s2vc.pipeline.info.kept_share import PAPER_SHARES
from s2vc.pipeline.variants import Variant


@dataclass(frozen=True)
class FigureRow:
    """Holds one number of ours. figure: of the paper. what: was measured. paper: what it prints of that, as text. mark:
    of the result, or the name of the sweep, that it is from."""

    figure: str
    what: str
    paper: str
    here: Cell
    mark: str


NO_NUMBER = "no number"

FIGURES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "similarity": (
        ("intra_class_z", "Fig. 4", "cosine of frames of a class, all latents", NO_NUMBER),
        ("intra_class_z_p", "Fig. 4", "the same, static latents at 0", "greatly decreased"),
        ("intra_class_control", "Fig. 4", "the same, as many latents at 0 at random", "not shown"),
    ),
    "static-bias": (
        ("r_relative", "Fig. 6", "r of (a - s) / s with s", NO_NUMBER),
        ("r_relative_permuted", "Fig. 6", "the same, a dealt to the classes at random", "not shown"),
        ("r_moco_relative", "Fig. 6", "r of (a - s) / s with s", NO_NUMBER),
        ("r_moco_relative_permuted", "Fig. 6", "the same, a dealt to the classes at random", "not shown"),
    ),
    "saliency": (("correlation", "Fig. 7", "r of energy with the speed of optical flow", NO_NUMBER),),
    "people": (("people", "Supplement, Fig. 1", "share of people", f"less than {PEOPLE_SHARE_BELOW:g}%"),),
    "motion": (("moving", "Supplement, Fig. 1", "share of moving pixels", f"about {MOVING_SHARE_ABOUT:g}%"),),
    "normality": (
        ("pixels_published_h0", "Supplement, Fig. 5", "pixels accepted as normal", NO_NUMBER),
        ("normal_pixels_published_h0", "Supplement, Fig. 5", "normal numbers rounded like pixels", "not shown"),
        ("latents_published_h0", "Supplement, Fig. 5", "static latents accepted as normal", "most"),
        ("normal_latents_published_h0", "Supplement, Fig. 5", "normal numbers rounded like latents", "not shown"),
    ),
}
"""By task, the numbers of its results that stand for a figure: name, figure, what it is, and what the paper prints."""

METHODS = {"r_relative": "method", "r_moco_relative": "moco_method"}
"""These numbers are of a checkpoint whose method stands in the result under this name."""

METHOD_WORDS = {"s2vc": "S²VC", "moco": "MoCo"}

PERCENT = ("people", "moving", "published_h0")
"""Numbers whose names end so are shown as percent."""


def figure_rows(results: Sequence[Result], sweeps: Sequence[SweepView]) -> list[FigureRow]:
    """List what there is of the paper's figures, in its order."""
    rows = [*_kept_rows(results, sweeps), *(row for result in results for row in _rows_of(result))]
    order = ["Fig. 3", *dict.fromkeys(line[1] for lines in FIGURES.values() for line in lines)]
    return sorted(rows, key=lambda row: order.index(row.figure))


def _rows_of(result: Result) -> Iterator[FigureRow]:
    for name, figure, what, paper in FIGURES.get(result.task, ()):
        what, paper = _of_this_result(result, name, what, paper)
        if (value := result.numbers.get(name)) is not None and math.isfinite(value):
            text = f"{value:.1%}" if name.endswith(PERCENT) else f"{value:.2f}"
            yield FigureRow(figure, what, paper, Cell(text, repr(value)), result.mark)


def _of_this_result(result: Result, name: str, what: str, paper: str) -> tuple[str, str]:
    """Complete what a number is and what the paper prints of that, where it depends on how the result was made."""
    if name in METHODS:
        method = str(result.content.get(METHODS[name], "")).removesuffix("-online")
        known = method in STATIC_BIAS_R
        return f"{what}, {METHOD_WORDS.get(method, method or 'unknown method')}", (
            f"{STATIC_BIAS_R[method]:.2f}" if known else paper
        )
    if result.task == "people" and (detector := result.content.get("detector")):
        return f"{what}, by {detector}", paper
    if "latents" in name and result.content.get("latents_stored") == Q8:
        return f"{what} (in steps of 1/8: look at what is dithered)", NO_NUMBER
    return what, paper


def _kept_rows(results: Sequence[Result], sweeps: Sequence[SweepView]) -> Iterator[FigureRow]:
    """List the shares of latents that an alpha of the paper's keeps, in results on similarity and in sweeps."""
    for result in results:
        if result.task == "similarity" and (kept := result.numbers.get("kept")) is not None:
            yield from _kept_row(result.content.get("alpha"), "whole videos", kept, result.mark)
    for sweep in sweeps:
        for texts, cells in sweep.means.rows:
            try:
                variant = Variant.parse(texts[0])
            except ValueError:  # It is MoCo's.
                continue
            if variant.strategy == "zero" and cells[0].exact:
                windows = variant.rule.clip_length
                where = f"windows of {windows} frames" if variant.rule.scope == "clip" else "whole videos"
                yield from _kept_row(variant.alpha, where, float(cells[0].exact), sweep.name)


def _kept_row(alpha: Any, where: str, kept: float, mark: str) -> Iterator[FigureRow]:
    if isinstance(alpha, float) and alpha in PAPER_SHARES and math.isfinite(kept):
        paper = ", ".join(f"{share:.1%} ({dataset})" for dataset, share in PAPER_SHARES[alpha].items())
        what = f"share of latents kept, alpha {alpha:g}, {where}"
        yield FigureRow("Fig. 3", what, paper, Cell(f"{kept:.1%}", repr(kept)), mark)
