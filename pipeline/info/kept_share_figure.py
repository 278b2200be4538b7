"""Draw the share of the latents that is kept against alpha, beside the paper's points."""

from pathlib import Path
from typing import Any

import numpy as np

from s2vc.manifests.errors import UserError
from s2vc.pipeline.info.kept_share import ALPHA_GRID, PAPER_SHARES, SCOPES, Curve
from s2vc.pipeline.storage.figures import GREY, INK, save_figure
from s2vc.pipeline.windows import HISTOGRAM_WINDOW

_LOOKS = {
    "video": ("#2563eb", "STD over the whole video"),
    SCOPES[1]: ("#ea7317", f"STD over windows of {HISTOGRAM_WINDOW} frames"),
}

PLOT_ENDINGS = (".png", ".pdf", ".svg")


def check_plot(path: Path) -> None:
    """Raise UserError if a path is a folder or its ending is none of PLOT_ENDINGS; call it before work is done."""
    if path.suffix.lower() not in PLOT_ENDINGS or path.is_dir():
        raise UserError(f"{path} is no figure to write: its name ends in one of {', '.join(PLOT_ENDINGS)}")


def plot_shares(curves: dict[str, Curve], videos: int, path: Path) -> None:
    """Write a figure of the share kept against alpha, with percentiles over videos and the paper's points.

    videos: how many videos the curves are of. Raises UserError for an ending that is none of PLOT_ENDINGS, without
    curves, and if the file cannot be written.
    """
    check_plot(path)
    if not curves:
        raise UserError("there is nothing to plot: no video is encoded")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    _draw(figure.add_subplot(), curves, videos)
    try:
        save_figure(figure, path, dpi=200)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def _draw(axes: Any, curves: dict[str, Curve], videos: int) -> None:
    from matplotlib.legend_handler import HandlerTuple

    for scope, curve in curves.items():
        colour, name = _LOOKS[scope]
        axes.fill_between(ALPHA_GRID, 100 * curve.low, 100 * curve.high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(ALPHA_GRID, 100 * curve.mean, color=colour, linewidth=2, label=name)
    # The points of the two data sets nearly coincide, so one is drawn as a diamond and the other as a ring around it.
    looks = {"UCF101": {"s": 70, "marker": "o", "facecolors": "none"}, "HMDB51": {"s": 16, "marker": "D", "color": INK}}
    points = []
    for name, look in looks.items():
        reported = [100 * both[name] for both in PAPER_SHARES.values()]
        points.append(axes.scatter(list(PAPER_SHARES), reported, edgecolors=INK, zorder=3, **look))
    axes.set(xlim=(0, 1), ylim=(0, 100), xlabel="alpha: latents with STD < alpha are suppressed", ylabel="latents kept")
    axes.set_xticks(np.arange(0, 1.01, 0.1))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f}%")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    lines, names = axes.get_legend_handles_labels()
    handles, names = [*lines, tuple(points)], [*names, f"paper ({', '.join(looks)})"]
    axes.legend(handles, names, handler_map={tuple: HandlerTuple(ndivide=None)}, frameon=False, loc="upper right")
    noun = "1 video" if videos == 1 else f"{videos} videos of equal weight; bands: 10th to 90th percentile"
    axes.set_title(f"Mean over {noun}", loc="left", fontsize=10, color=GREY)
