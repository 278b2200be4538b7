"""The suppression of static cues as a transform, for training loops of any kind."""

import math

import torch
from torch import Tensor, nn

from s2vc.pipeline.choices import STRATEGIES
from s2vc.pipeline.flow import Flow, load_flow
from s2vc.pipeline.static_cues import motion_preserved


class S2VC(nn.Module):
    """Turns clips into motion-preserved ones, by Algorithm 1: latents that vary over the clip by an STD below alpha are
    suppressed.

    alpha: the threshold of eq. 4; for the strategy tfd, the share of pixel values to keep. strategy: one of
    `s2vc.pipeline.choices.STRATEGIES`. flow: `default`, `steady`, a file that `load_flow` reads, or a Flow. Random
    strategies draw from torch's global generator, so `torch.manual_seed` and the workers of a DataLoader decide.
    Raises ValueError for an alpha below 0 and for another strategy, TypeError for an alpha that is no number, and
    FlowFileError for a flow that cannot be loaded.

    >>> S2VC(alpha=0.5)
    S2VC(alpha=0.5, strategy='zero', flow='default')
    """

    def __init__(self, alpha: float = 0.5, strategy: str = "zero", flow: str | Flow = "default"):
        super().__init__()
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}")
        if not isinstance(alpha, int | float):
            raise TypeError(f"alpha is a number, not {alpha!r}")
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha is a number of 0 or more, not {alpha!r}")
        self.alpha, self.strategy = alpha, strategy
        self.flow = load_flow(flow) if isinstance(flow, str) else flow
        self._flow_name = flow if isinstance(flow, str) else type(flow).__name__

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Return V_p of clips (..., 3, T, H, W) in [0, 1], in the same shape and dtype.

        It is computed in float32 or more, under autocast, too, so that clips in half precision are rounded once, at the
        end. It is not clamped: some of its values lie outside [0, 1]. Raises ValueError for another shape, and
        TypeError for pixels that are whole numbers.
        """
        if clips.dim() < 4 or clips.shape[-4] != 3:
            raise ValueError(f"expected clips of shape (..., 3, T, H, W), got {tuple(clips.shape)}")
        if not clips.is_floating_point():
            raise TypeError(f"expected clips of floating point in [0, 1], got {clips.dtype}: divide uint8 by 255")
        batch = clips.reshape(-1, *clips.shape[-4:]).to(torch.promote_types(clips.dtype, torch.float32))
        seed = int(torch.randint(2**31, ()))
        preserved, _ = motion_preserved(batch, self.flow, self.alpha, self.strategy, seed)
        return preserved.view(clips.shape).to(clips.dtype)

    def __repr__(self) -> str:
        return f"S2VC(alpha={self.alpha:g}, strategy={self.strategy!r}, flow={self._flow_name!r})"
