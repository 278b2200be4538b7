"""The metrics of a run as a picture."""

from pathlib import Path

import numpy as np

from s2vc.pipeline.storage.figures import save_figure
from s2vc.training.run_folder import TrainingStep

CURVE_POINTS = 50
"""Each point of a curve is a mean; the stretches of the run that they are taken over are equally long."""


def plot_curves(records: list[TrainingStep], chance: float, path: Path) -> None:
    """Plot loss, top-1 and top-5 with chance, top-1 within a batch, and speed over the steps, as a PNG."""
    from matplotlib.figure import Figure

    if not records:
        return
    steps = np.array([r.step for r in records])
    figure = Figure(figsize=(10, 3), layout="constrained")
    loss, accuracy, speed = figure.subplots(1, 3)
    shares = ["top1", "top5"]
    if any(r.batch_top1 != r.top1 for r in records):  # It is the same where a batch's keys are all the negatives.
        shares.append("batch_top1")
    for axes, names in ((loss, ["loss"]), (accuracy, shares), (speed, ["clips_per_second"])):
        for name in names:
            values = np.array([getattr(r, name) for r in records])
            if not np.isnan(values).all():
                axes.plot(*_averaged(steps, values), label=name)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    loss.set_ylabel("loss (nats)")
    accuracy.set_ylabel("share of clips")
    accuracy.axhline(chance, color="grey", linestyle=":", label="chance, top1")
    accuracy.set_ylim(0, 1)
    accuracy.legend()
    speed.set_ylabel("clips/s")
    save_figure(figure, path)


def _averaged(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average steps and values over CURVE_POINTS equal stretches of the run."""
    parts = min(CURVE_POINTS, len(steps))
    return tuple(np.array([p.mean() for p in np.array_split(a, parts)]) for a in (steps, values))  # type: ignore[return-value]
