"""What may be asked of an encode, and what is taken for a new cache where nothing is asked."""

from dataclasses import dataclass

from s2vc.pipeline.choices import SILENCE_SECONDS

FRAME_SIZE = (128, 171)

SHARD_SIZE = 16
FLOW = "default"


@dataclass(frozen=True)
class EncodeOptions:
    """These are what a user may ask of encode; None takes the cache's value, or the default for a new cache."""

    frame_size: tuple[int, int] | None = None
    frame_step: int | None = None
    shard_size: int | None = None
    flow: str | None = None
    precision: str = "auto"
    latents: str | None = None
    stream: int | None = None
    fit: str | None = None
    follow_links: bool = False
    retry: tuple[str, ...] = ()
    silence: float = SILENCE_SECONDS
