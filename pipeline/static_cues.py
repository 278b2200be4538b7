"""The method decides which latents are static, and what replaces them (eqs. 4 and 5, Algorithm 1, and its ablations).

Throughout, z is (L, D): the latents of the L frames of a window, with D = 12,288.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from s2vc.pipeline.choices import STRATEGIES
from s2vc.pipeline.flow.architecture import SMALL
from s2vc.pipeline.flow.model import Flow

STILL = 1e-5
"""A latent, or for tfd a pixel value, of a smaller STD does not vary: equal frames that go through the flow in batches
of different sizes differ by 2e-6 at most in float32, and one grey level in one pixel of a frame moves latents by more
than 1e-3."""


class RunningStd:
    """This computes in float64 the sample STD (n - 1) over frames that come in pieces (Chan et al. 1979)."""

    def __init__(self) -> None:
        self.frames = 0
        self._mean: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def update(self, z: Tensor) -> None:
        """Add the next frames, (n, D) with n >= 1."""
        z = z.double()
        mean = z.mean(dim=0)
        squares = (z - mean).square_().sum(dim=0)
        total = self.frames + len(z)
        shift = mean - self._mean
        self._squares = self._squares + squares + shift.square() * (self.frames * len(z) / total)
        self._mean = self._mean + shift * (len(z) / total)
        self.frames = total

    def value(self) -> Tensor:
        """Return the STD of each latent, (D,) float32; after a single frame, which does not vary, it is 0.

        Raises ValueError if no frame was added.
        """
        if not isinstance(self._squares, Tensor):
            raise ValueError("no frame was taken in, so there is no deviation")
        return (self._squares / max(self.frames - 1, 1)).sqrt().float()


def standard_deviation(z: Tensor) -> Tensor:
    """Return the STD of z (L, D) over time, (D,) float32: the sample standard deviation (n - 1)."""
    running = RunningStd()
    running.update(z)
    return running.value()


def alpha_to_keep(std: Tensor, share: float) -> float:
    """Return the alpha at which `share` of the latents has STD >= alpha, given std (D,) float32.

    Latents that do not vary (STD < STILL) are kept only where all are asked for: a still window keeps none of them, and
    one in which fewer than the share vary keeps these. More than the share has STD >= alpha where STDs are equal to it:
    `suppressed_set` chooses among these.
    """
    kept = round(share * len(std))
    if kept == 0:
        return float(np.nextafter(np.float32(std.max().item()), np.float32(np.inf)))
    alpha = float(std.sort(descending=True).values[kept - 1])
    return alpha if kept == len(std) else max(alpha, STILL)


def suppressed_set(
    std: Tensor, alpha: float, strategy: str, rng: np.random.Generator, share: float | None = None
) -> Tensor:
    """Return which latents are suppressed, (D,) bool: by eq. 4 those with STD < alpha, compared in float32.

    share: for an alpha of `alpha_to_keep`, the share that it was made for. Exactly this share is kept at most: of
    latents whose STD is alpha, the first by number. Pixel values, which have few levels, often have equal STDs.
    Only the two controls, reverse and random, choose others.
    """
    static = std < float(np.float32(alpha))
    if share is not None and (excess := int((~static).sum()) - round(share * len(std))) > 0:
        equal = (std == float(np.float32(alpha))).nonzero()[:, 0]
        static[equal[len(equal) - excess :]] = True
    if strategy == "reverse":
        return ~static
    if strategy == "random":
        chosen = rng.choice(len(static), int(static.sum()), replace=False)
        static = torch.zeros_like(static)
        static[torch.from_numpy(chosen).to(static.device)] = True
    return static


def suppress(z: Tensor, static: Tensor, strategy: str, rng: np.random.Generator) -> Tensor:
    """Return z_p of a complete window: z (L, D) float32, with the latents in `static` (D,) bool suppressed."""
    return suppressor(static, strategy, rng)(z)


def suppressor(static: Tensor, strategy: str, rng: np.random.Generator) -> Callable[[Tensor], Tensor]:
    """Return a function that does what `suppress` does, for a window that comes in pieces of frames, in order.

    The function maps a piece (n, D) to z_p (n, D). For shuffle-clip, which permutes over the frames of a window, the
    window must come as one piece.
    """
    if strategy == "noise":
        draw = torch.from_numpy(rng.standard_normal(len(static), dtype=np.float32)).to(static.device)
        return lambda z: torch.where(static, draw, z)
    if strategy == "shuffle-clip":
        return lambda z: _shuffle_over_frames(z, static, rng)
    if strategy == "shuffle-frame":
        return lambda z: _shuffle_within_frames(z, static, rng)
    return lambda z: z.masked_fill(static, 0.0)


def _shuffle_over_frames(z: Tensor, static: Tensor, rng: np.random.Generator) -> Tensor:
    """Permute each static latent over the window's frames, by a permutation of its own."""
    chosen = static.nonzero()[:, 0]
    frames = np.repeat(np.arange(len(z))[:, None], len(chosen), axis=1)
    order = torch.from_numpy(rng.permuted(frames, axis=0)).to(z.device)
    z_p = z.clone()
    z_p[:, chosen] = z[:, chosen].gather(0, order)
    return z_p


def _shuffle_within_frames(z: Tensor, static: Tensor, rng: np.random.Generator) -> Tensor:
    """Permute the values of the static latents within each frame, by a new permutation for each frame."""
    chosen = static.nonzero()[:, 0]
    z_p = z.clone()
    for i in range(len(z)):
        order = torch.from_numpy(rng.permutation(len(chosen))).to(z.device)
        z_p[i, chosen] = z[i, chosen[order]]
    return z_p


def small_frames(frames: Tensor) -> Tensor:
    """Return X' by adaptive average pool (Algorithm 1 line 3): (N, 3, H, W) -> (N, 3, 64, 64), same dtype and range."""
    return functional.adaptive_avg_pool2d(frames, SMALL)


def upsample(change: Tensor, height: int, width: int) -> Tensor:
    """Upsample by nearest neighbour, as the published code does: (N, 3, 64, 64) -> (N, 3, height, width)."""
    return functional.interpolate(change, size=(height, width), mode="nearest")


def upsampled_places(length: int, device: torch.device) -> Tensor:
    """Return which of the 64 rows, or columns, `upsample` puts at each of `length` places: (length,) int64."""
    places = torch.arange(SMALL, dtype=torch.float32, device=device)
    return functional.interpolate(places[None, None], size=length, mode="nearest")[0, 0].long()


def add_change_(video: Tensor, change: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Make V + upsample(change · scale) of V, the last line of Algorithm 1, not clamped, and return it.

    video: V, (B, 3, T, H, W) float32, changed in place, since a training step has no memory for another copy. change:
    (B, T, 3, 64, 64) float32. scale: one number, or (B,) float32.
    """
    height, width = video.shape[-2:]
    large = upsample(change.flatten(0, 1), height, width).unflatten(0, change.shape[:2]).transpose(1, 2)
    factor = torch.as_tensor(scale, dtype=video.dtype, device=video.device)
    return video.addcmul_(large, factor.view(-1, 1, 1, 1, 1))


@torch.no_grad()
def motion_preserved(
    clip: Tensor, flow: Flow, alpha: float | Sequence[float], strategy: str = "zero", seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Apply Algorithm 1 in memory, for training of any kind: V_p = V + upsample(f⁻¹(z_p) - X').

    clip: (B, 3, T, H, W) float32 in [0, 1]. alpha: the threshold of eq. 4, or one for each of the B clips; for tfd, the
    share of pixel values to keep. seed: the seed of the strategies that draw random numbers.
    Returns V_p, of the shape of clip and not clamped, and the STD of each clip's latents over time, (B, 12288) float32
    (for tfd, the STD of its pooled pixels). A clip in which nothing is suppressed is returned unchanged.
    Raises ValueError if the clip has another shape, the strategy is unknown, or alphas are not one for each clip.
    """
    if clip.dim() != 5 or clip.shape[1] != 3:
        raise ValueError(f"expected a clip of shape (B, 3, T, H, W), got {tuple(clip.shape)}")
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}")
    batch = len(clip)
    alphas = list(alpha) if isinstance(alpha, Sequence) else [alpha] * batch
    if len(alphas) != batch:
        raise ValueError(f"{batch} clips take one alpha, or {batch} of them, not {len(alphas)}")
    frames = clip.transpose(1, 2).flatten(0, 1)
    x = small_frames(frames)
    values = (x.flatten(1) if strategy == "tfd" else flow.encode(x)[0]).unflatten(0, (batch, -1))
    std = torch.stack([standard_deviation(v) for v in values])
    values_p, touched = [], []
    for i in range(batch):
        rng = np.random.default_rng([seed, i])
        share = alphas[i] if strategy == "tfd" else None
        threshold = alphas[i] if share is None else alpha_to_keep(std[i], share)
        suppressed = suppressed_set(std[i], threshold, strategy, rng, share)
        values_p.append(suppress(values[i], suppressed, strategy, rng))
        touched.append(suppressed.any())
    z_p = torch.cat(values_p)
    x_p = z_p.view_as(x) if strategy == "tfd" else flow.decode(z_p)
    # Encoding and decoding round, so a clip in which nothing was suppressed is returned as it came.
    keep = torch.stack(touched).to(clip.device)[:, None, None, None, None]
    changed = add_change_(clip.clone(), (x_p.to(x) - x).unflatten(0, (batch, -1)))
    return torch.where(keep, changed, clip), std.to(clip.device)
