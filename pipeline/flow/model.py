"""The 64x64 flow of the paper is AdvFlow's: f maps an image to latents that are standard normal over images."""

from functools import partial

import torch
from torch import Tensor, nn

from s2vc.pipeline.flow.architecture import (
    CENTRED,
    DEEP_LATENTS,
    DTYPES,
    IMAGE_SHAPE,
    LATENTS,
    PRECISIONS,
    SQUEEZED_SHAPE,
    Architecture,
)
from s2vc.pipeline.flow.couplings import (
    AffineCoupling,
    FixedConvolution,
    InvertibleSequence,
    Permutation,
    SpaceToChannel,
    Subnet,
    convolutional,
    fully_connected,
)
from s2vc.pipeline.flow.own_precision import without_autocast, without_tf32

FIRST_WEIGHTS = 0.03
"""A new subnet's weights have this standard deviation; its last layer starts at zero, so that a coupling is the
identity."""


CPU_SLICE = 8
"""On a CPU, this many frames go through the flow together; 4 to 8 measured fastest, and 32 was a third slower."""

GPU_SLICE = 512
"""On a GPU, so many; an online method may give thousands of frames, whose hidden layers would have 2^31 values."""


class Flow(nn.Module):
    """The flow is an invertible map between images (N, 3, 64, 64) in [0, 1] and latents (N, 12288).

    `forward` and `inverse` are differentiable and run in whatever dtype x has. `encode` and `decode` do the same
    without gradients, on the flow's device, in slices of the batch that fit it. What is in float32 is so on
    GPUs, too, and in a training step under autocast: TF32 and autocast are off meanwhile.
    """

    def __init__(self, architecture: Architecture = Architecture()):
        super().__init__()
        self.architecture = a = architecture
        conv = partial(convolutional, hidden=a.hidden)
        full = partial(fully_connected, hidden=a.width)
        self.high = InvertibleSequence(
            [p for k in range(a.high_blocks) for p in (AffineCoupling(3, conv), Permutation(3, k))]
        )
        self.squeeze = SpaceToChannel()
        self.low = InvertibleSequence(
            [
                p
                for k in range(a.low_blocks)
                for p in (FixedConvolution(12), AffineCoupling(12, conv), Permutation(12, k))
            ]
        )
        self.deep = InvertibleSequence(
            [
                p
                for k in range(a.deep_blocks)
                for p in (AffineCoupling(DEEP_LATENTS, full), Permutation(DEEP_LATENTS, k))
            ]
        )

    @without_tf32()
    @without_autocast
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (N, 3, 64, 64) to latents (N, 12288) and log |det Df(x)| (N,), in nats (eq. 1).

        Raises ValueError for another shape.
        """
        if x.shape[1:] != IMAGE_SHAPE:
            raise ValueError(f"expected images of shape (N, 3, 64, 64), got {tuple(x.shape)}")
        x, log_det = self.high(x.contiguous(memory_format=torch.channels_last))
        x, change = self.squeeze(x)
        log_det = log_det + change
        x, change = self.low(x)
        log_det = log_det + change
        deep, shallow = x.flatten(1).split([DEEP_LATENTS, LATENTS - DEEP_LATENTS], dim=1)
        deep, change = self.deep(deep)
        return torch.cat([deep, shallow], dim=1), log_det + change

    def __repr__(self) -> str:
        a, parameters = self.architecture, sum(p.numel() for p in self.parameters())
        size = f"hidden={a.hidden}, width={a.width}, blocks={a.high_blocks}+{a.low_blocks}+{a.deep_blocks}"
        return f"Flow({size}: {parameters:,} parameters, {self.precision}, {self.device})"

    @without_tf32()
    @without_autocast
    def inverse(self, z: Tensor) -> Tensor:
        """Map latents (N, 12288) to images (N, 3, 64, 64), which are not clamped (eq. 5).

        Raises ValueError for another shape.
        """
        if z.shape[1:] != (LATENTS,):
            raise ValueError(f"expected latents of shape (N, {LATENTS}), got {tuple(z.shape)}")
        deep, shallow = z.split([DEEP_LATENTS, LATENTS - DEEP_LATENTS], dim=1)
        x = torch.cat([self.deep.inverse(deep), shallow], dim=1).reshape(-1, *SQUEEZED_SHAPE)
        return self.high.inverse(self.squeeze.inverse(self.low.inverse(x)))

    @property
    def _subnets(self) -> list[Subnet]:
        return [m for m in self.modules() if isinstance(m, Subnet)]

    @property
    def _fixed_convolutions(self) -> list[FixedConvolution]:
        return [m for m in self.low if isinstance(m, FixedConvolution)]

    @property
    def device(self) -> torch.device:
        return self._subnets[0].last.weight.device

    @property
    def precision(self) -> str:
        """The subnets compute in this one of PRECISIONS; scales and shifts are always applied in float32."""
        if self._subnets[0].centre is not None:
            return CENTRED
        return str(self._subnets[0].last.weight.dtype).removeprefix("torch.")

    def for_inference(self, device: torch.device | str, precision: str) -> "Flow":
        """Freeze the flow, put it channels-last on a device with its subnets in one of PRECISIONS, and return it.

        `bfloat16-centred` means bfloat16, but the last convolution of each subnet gives the difference from a constant
        that is added in float32. Scales and shifts lie around values far from 0, where 8 bits round coarsely; with the
        constant taken out, errors of the latents are about 0.6 of those with `bfloat16`, at the same speed.
        Raises ValueError for another precision, and for a flow that is centred already.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, not {precision!r}")
        if self.precision == CENTRED:
            raise ValueError("a centred flow has rounded its weights for good: load it anew for another precision")
        self.requires_grad_(False).eval().to(device)
        if precision == CENTRED:
            self._centre_last_layers()
        dtype = getattr(torch, precision.removesuffix("-centred"))
        for subnet in self._subnets:
            subnet.to(dtype=dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for convolution in self._fixed_convolutions:
            convolution.keep_inverse()
        return self

    def _centre_last_layers(self) -> None:
        """Centre each convolutional subnet on the mean that its last layer gives for a grey image.

        Grey will do, since the image hardly matters: means over natural clips left errors of the latents 5 % smaller.
        """
        means: dict[Subnet, Tensor] = {}
        watched = [
            s.last.register_forward_hook(lambda layer, x, y, s=s: means.update({s: y.mean(dim=(0, 2, 3))}))
            for s in self._subnets
            if isinstance(s.last, nn.Conv2d)
        ]
        self.forward(torch.full((1, *IMAGE_SHAPE), 0.5, device=self.device))
        for handle in watched:
            handle.remove()
        for subnet, mean in means.items():
            subnet.centre_on(mean)

    def for_fitting(self, device: torch.device | str, precision: str) -> "Flow":
        """Give the flow float32 weights with gradients, on a device, with its subnets in one of DTYPES, and return it.

        Raises ValueError for another precision.
        """
        if precision not in DTYPES:
            raise ValueError(f"precision is one of {', '.join(DTYPES)}, not {precision!r}")
        for convolution in self._fixed_convolutions:
            convolution.kept_inverse = None
        self.float().requires_grad_(True).train().to(device)
        for subnet in self._subnets:
            subnet.autocast = torch.bfloat16 if precision == "bfloat16" else None
        return self

    @torch.no_grad()
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images x (N, 3, 64, 64) float32 in [0, 1] to z (N, 12288) float32 and log_det (N,) float32 in nats."""
        slices = x.to(self.device).split(frames_at_once(self.device))
        z, log_det = zip(*[self.forward(s) for s in slices], strict=True)
        return torch.cat(z), torch.cat(log_det)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Map latents z (N, 12288) float32 to images (N, 3, 64, 64) float32, about [0, 1], not clamped."""
        slices = z.to(self.device).split(frames_at_once(self.device))
        return torch.cat([self.inverse(s) for s in slices])


def frames_at_once(device: torch.device) -> int:
    """Return how many frames go through a flow together on a device."""
    return CPU_SLICE if device.type == "cpu" else GPU_SLICE


def new_flow(architecture: Architecture, seed: int) -> Flow:
    """Return an unfitted flow whose fixed rotations and weights are drawn by the seed.

    But for its rotations and permutations it is the identity.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        flow = Flow(architecture)
        for subnet in (m for m in flow.modules() if isinstance(m, Subnet)):
            for layer in subnet.children():
                nn.init.normal_(layer.weight, std=FIRST_WEIGHTS)  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
            nn.init.zeros_(subnet.last.weight)
    return flow
