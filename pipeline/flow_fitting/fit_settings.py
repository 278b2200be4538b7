"""How a flow is fitted."""

from dataclasses import dataclass


@dataclass(frozen=True)
class FitSettings:
    """Describes how a flow is fitted.

    steps: how many steps, of `batch` images each. lr: Adam's learning rate, reached by a linear warm-up over `warmup`
    steps and falling to zero by a cosine. noise: σ of the Gaussian noise, in the range [0, 1]. clip: the largest norm
    of all gradients together. decay: of the moving average of the weights, which starts lower and grows to this value.
    precision: of the subnets, "float32" or "bfloat16". judge_every: steps between two evaluations on held-out images.
    seed: of weights, order, flips and noise.
    """

    steps: int = 20_000
    batch: int = 64
    lr: float = 1e-3
    warmup: int = 100
    noise: float = 0.02
    clip: float = 1.0
    decay: float = 0.999
    precision: str = "float32"
    judge_every: int = 100
    seed: int = 0
