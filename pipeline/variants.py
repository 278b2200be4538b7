"""A variant is one rendering of a cache: how static cues are chosen and suppressed. Its name spells the settings."""

import dataclasses
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from s2vc.pipeline.choices import RANDOM_STRATEGIES, STRATEGIES
from s2vc.pipeline.windows import WindowRule

MAX_NAME = 200
"""A name has at most this many characters. A file system allows 255, and a file that is being written has a longer
name."""


@dataclass(frozen=True)
class Variant:
    """A variant holds the settings of motion/VARIANT/. Exactly one of alpha and keep is given.

    alpha: latents with STD < alpha are static (eq. 4). keep: alpha is set per window so that this share of the latents
    is kept. draw: the number, from 0, of this rendering among several of a random strategy. seed: the seed of all
    random numbers. rule: how a video is cut into windows. Raises ValueError for settings that do not go together.
    """

    strategy: str = "zero"
    alpha: float | None = None
    keep: float | None = None
    draw: int = 0
    seed: int = 0
    rule: WindowRule = WindowRule()

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}, not {self.strategy!r}")
        if (self.alpha is None) == (self.keep is None):
            raise ValueError("a variant has either an alpha or a share to keep")
        if self.alpha is not None and not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"alpha is a number of 0 or more, not {self.alpha}")
        if self.keep is not None and not 0 <= self.keep <= 1:
            raise ValueError(f"the share to keep lies in 0 to 1, not {self.keep}")
        if self.strategy == "tfd" and self.alpha is not None:
            raise ValueError("tfd works on pixels, where alpha has no meaning: give the share to keep (paper: 0.2)")
        if self.strategy == "shuffle-clip" and self.rule.scope != "clip":
            raise ValueError("shuffle-clip permutes the frames of a window: it needs scope clip")
        if self.strategy not in RANDOM_STRATEGIES and (self.draw or self.seed):
            raise ValueError(f"{self.strategy} draws no random numbers: it has no draws and no seed")
        if self.draw < 0 or self.seed < 0:
            raise ValueError("draw and seed are 0 or more")
        if len(self.name) > MAX_NAME:
            raise ValueError(f"the numbers of a variant are its name, and {self.name[:24]}… would be too long for one")

    @property
    def name(self) -> str:
        """The folder has this name, for example `alpha0.5-zero-video` or `keep0.2-noise-clip16-step2-draw1`.

        Variants that mean the same have the same name.

        >>> Variant(alpha=0.50).name
        'alpha0.5-zero-video'
        """
        level = f"alpha{plain(self.alpha)}" if self.alpha is not None else f"keep{plain(self.keep)}"
        parts = [level, self.strategy, self.rule.scope]
        if self.rule.scope == "clip":
            parts[-1] += str(self.rule.clip_length)
            if self.rule.frame_step != 1:
                parts.append(f"step{self.rule.frame_step}")
            if self.rule != WindowRule("clip", self.rule.clip_length, self.rule.frame_step):
                parts.append(f"stride{self.rule.window_stride}")
        if self.strategy in RANDOM_STRATEGIES:
            parts.append(f"draw{self.draw}")
            if self.seed:
                parts.append(f"seed{self.seed}")
        return "-".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the fields of variant.json."""
        fields = dataclasses.asdict(self)
        rule = fields.pop("rule")
        return fields | rule

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Variant":
        rule_names = {f.name for f in dataclasses.fields(WindowRule)}
        rule = WindowRule(**{k: v for k, v in fields.items() if k in rule_names})
        return cls(rule=rule, **{k: v for k, v in fields.items() if k not in rule_names})

    @classmethod
    def parse(cls, name: str) -> "Variant":
        """Return the variant of a name, whose numbers may be spelled in any way. Raises ValueError for other text."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is no variant; an example is alpha0.5-zero-video")
        g = match.groupdict()
        whole = {k: int(g[k]) for k in ("length", "step", "stride", "draw", "seed") if g[k] is not None}
        rule = WindowRule()
        if whole.get("length") is not None:
            rule = WindowRule("clip", whole["length"], whole.get("step", 1), whole.get("stride"))
        level = {g["level"]: float(g["number"])}
        return cls(g["strategy"], **level, draw=whole.get("draw", 0), seed=whole.get("seed", 0), rule=rule)


_NAME = re.compile(
    r"(?P<level>alpha|keep)(?P<number>[0-9]+(\.[0-9]+)?)-(?P<strategy>" + "|".join(STRATEGIES) + r")"
    r"-(video|clip(?P<length>[0-9]+)(-step(?P<step>[0-9]+))?(-stride(?P<stride>[0-9]+))?)"
    r"(-draw(?P<draw>[0-9]+))?(-seed(?P<seed>[0-9]+))?"
)


EXAMPLE_ALPHAS = (0.1, 0.3, 0.5, 0.8)
"""The alphas of the demo, of a preview where nothing is rendered yet, and of a comparison of flows."""


def variants_named(names: Iterable[str]) -> list[Variant]:
    """Return the variants that have exactly these names, in their order; other names and spellings are skipped."""
    found = []
    for name in names:
        try:
            variant = Variant.parse(name)
        except ValueError:
            continue
        if variant.name == name:
            found.append(variant)
    return found


def plain(number: float | None) -> str:
    """Write a number without an exponent or needless zeros: 0.5, 1, 0.00001."""
    assert number is not None
    return np.format_float_positional(number, trim="-")
