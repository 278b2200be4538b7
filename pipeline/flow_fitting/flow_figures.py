"""Judge a flow on images that it was not fitted to: compute figures, and draw samples and the curve of its fit."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import stats
from torch import Tensor

from s2vc.pipeline.flow import LATENTS, Flow
from s2vc.pipeline.flow.likelihood import LEVELS, bits_from_latents, dequantised, evaluated_bits
from s2vc.pipeline.flow_fitting.fitting import FitRecord
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.figures import save_figure

TESTED_LATENTS = 64
"""This many dimensions, evenly spaced, are tested for normality over the held-out images."""

SAMPLES = 32
"""A sample sheet shows this many images, as many reconstructions from their latents, and as many draws of the flow."""


@dataclass(frozen=True)
class FlowFigures:
    """Holds the figures of a flow on held-out images.

    bits_clean, bits_noise: bits per dimension with uniform dequantisation, and at the training noise. nats_offset:
    log 256, which was added to the nats of a density over [0, 1]. error_rms, error_max: the error of decoding what was
    encoded, in the range [0, 1]. latent_*: statistics of all latents. ks_median: the Kolmogorov-Smirnov distance of one
    dimension over the images to N(0, 1), median over TESTED_LATENTS dimensions. ks_normal: the share of these
    dimensions for which N(0, 1) is not rejected at 0.05.
    """

    images: int
    bits_clean: float
    bits_noise: float
    noise: float
    nats_offset: float
    error_rms: float
    error_max: float
    latent_mean: float
    latent_std: float
    latent_min: float
    latent_max: float
    ks_median: float
    ks_normal: float


def judge(flow: Flow, images: Tensor, noise: float, done: Callable[[int], None] = lambda n: None) -> FlowFigures:
    """Return the figures of a flow on images (N, 3, 64, 64) uint8, N >= 2.

    noise: the training noise, in the range [0, 1]. All images are encoded twice; done(n) is called when n more are.
    """
    clean = evaluated_bits(flow, images, 0.0, done=done)
    noisy, squares, largest, latents = 0.0, 0.0, 0.0, []
    generator = torch.Generator(flow.device).manual_seed(0)
    for part in images.split(64):
        x = dequantised(part.to(flow.device), noise, generator)
        z, log_det = flow.encode(x)
        error = (flow.decode(z) - x).abs()
        noisy += float(bits_from_latents(z, log_det).sum())
        squares, largest = squares + float(error.square().sum()), max(largest, float(error.max()))
        latents.append(z.cpu())
        done(len(part))
    z = torch.cat(latents)
    chosen = z[:, torch.linspace(0, LATENTS - 1, TESTED_LATENTS).long()].double().numpy()
    tests = [stats.kstest(values, "norm") for values in chosen.T]
    return FlowFigures(
        images=len(images),
        bits_clean=clean,
        bits_noise=noisy / len(images),
        noise=noise,
        nats_offset=float(np.log(LEVELS)),
        error_rms=(squares / images.numel()) ** 0.5,
        error_max=largest,
        latent_mean=float(z.mean()),
        latent_std=float(z.std()),
        latent_min=float(z.min()),
        latent_max=float(z.max()),
        ks_median=float(np.median([t.statistic for t in tests])),
        ks_normal=float(np.mean([t.pvalue >= 0.05 for t in tests])),
    )


def sample_sheet(flow: Flow, images: Tensor, path: Path, temperature: float = 0.7) -> None:
    """Write held-out images (N, 3, 64, 64) uint8, their reconstructions from their latents, and draws of
    z = temperature · N(0, I) as a PNG."""
    shown = images[:SAMPLES].float() / 255
    z, _ = flow.encode(shown)
    drawn = flow.decode(temperature * torch.randn(SAMPLES, LATENTS, generator=torch.Generator().manual_seed(0)))
    rows = [_grid(part.cpu()) for part in (shown, flow.decode(z), drawn)]
    gap = np.full((8, rows[0].shape[1], 3), 255, np.uint8)
    picture = np.concatenate([part for row in rows for part in (row, gap)][:-1])
    with files.attempt(path) as aside:
        Image.fromarray(picture).save(aside, format="png")


def _grid(images: Tensor, columns: int = 8) -> np.ndarray:
    """Put images (N, 3, 64, 64), clamped to [0, 1], side by side: (64 N / columns, 64 columns, 3) uint8.

    Missing images of the last row are white.
    """
    missing = -len(images) % columns
    full = torch.cat([images.clamp(0, 1), torch.ones(missing, *images.shape[1:])])
    tiles = full.unflatten(0, (-1, columns)).permute(0, 3, 1, 4, 2).flatten(0, 1).flatten(1, 2)
    return (tiles.numpy() * 255).round().astype(np.uint8)


def plot_bits(records: list[FitRecord], path: Path) -> None:
    """Plot bits per dimension over the steps, of the batches and of held-out images, as a PNG.

    Without records nothing is written.
    """
    from matplotlib.figure import Figure

    if not records:
        return
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    steps, bits, held = (np.array([getattr(r, name) for r in records]) for name in ("step", "bits", "held_out"))
    looked = ~np.isnan(held)
    axes.plot(steps, bits, linewidth=0.7, alpha=0.5, label="batch")
    axes.plot(steps[looked], held[looked], marker=".", label="held out, moving average of the weights")
    # The curve falls steeply in the first steps; the axis is scaled to show the later ones.
    axes.set_ylim(np.nanmin(np.concatenate([bits, held])) - 0.1, np.nanquantile(bits, 0.9) + 0.3)
    axes.set_xlabel("step")
    axes.set_ylabel("bits per dimension")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path)
