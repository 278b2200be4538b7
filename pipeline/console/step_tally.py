"""Show a job over shards as it gets on within them."""

from collections.abc import Mapping

from s2vc.pipeline.reporting import Advance


class StepTally:
    """Adds up videos and frames of steps that have ended and of steps that workers are in, and advances a progress.

    stage: the steps whose videos and frames are counted. before: steps that precede them, whose videos stand in a note.
    """

    def __init__(self, advance: Advance, stage: str, before: str = ""):
        self._advance, self._stage, self._before = advance, stage, before
        self._ended: dict[tuple[str, int], tuple[int, int]] = {}
        self._within: Mapping[tuple[str, int], tuple[int, int]] = {}
        self._shown = 0, 0

    def within(self, counts: Mapping[tuple[str, int], tuple[int, int]]) -> None:
        """Take the counts of steps, of which some may have ended since."""
        self._within = counts
        self._show()

    def ended(self, stage: str, shard: int, videos: int, frames: int) -> None:
        """Take what a step has done that has ended."""
        self._ended[stage, shard] = videos, frames
        self._show()

    def _show(self) -> None:
        counts = {**self._within, **self._ended}
        videos, frames = (sum(n[k] for (stage, _), n in counts.items() if stage == self._stage) for k in (0, 1))
        ready = sum(n[0] for (stage, _), n in counts.items() if stage == self._before)
        new, self._shown = (videos - self._shown[0], frames - self._shown[1]), (videos, frames)
        self._advance(*new, f"{ready} decoded" if ready > videos else "")
