"""From the options of a command line to the variants they mean."""

from s2vc.manifests.errors import UserError
from s2vc.pipeline.static_cues import RANDOM_STRATEGIES
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule

TFD_KEEP = 0.2
"""The share the paper's pixel-space baseline keeps."""


def window_rule(scope: str, clip_length: int | None, frame_step: int | None, window_stride: int | None) -> WindowRule:
    if scope == "clip":
        return WindowRule("clip", clip_length or 16, frame_step or 1, window_stride)
    if clip_length or frame_step or window_stride:
        raise UserError("--clip-length, --frame-step and --window-stride go with --scope clip")
    return WindowRule()


def wanted_variants(
    alphas: tuple[float, ...],
    keeps: tuple[float, ...],
    strategies: tuple[str, ...],
    draws: int,
    seed: int,
    rule: WindowRule,
) -> list[Variant]:
    """Every level with every strategy, each once. Raises UserError for what makes no variant."""
    levels: list[dict[str, float]] = [{"alpha": a} for a in alphas] + [{"keep": q} for q in keeps]
    if not levels and set(strategies) != {"tfd"}:
        raise UserError("say how much to suppress: --alpha 0.5, or --keep 0.2")
    variants: dict[str, Variant] = {}
    for strategy in dict.fromkeys(strategies):
        own = [level for level in levels if "keep" in level] or [{"keep": TFD_KEEP}]
        for level in own if strategy == "tfd" else levels:
            for draw in range(draws if strategy in RANDOM_STRATEGIES else 1):
                chosen = {"draw": draw, "seed": seed} if strategy in RANDOM_STRATEGIES else {}
                try:
                    variant = Variant(strategy, **level, **chosen, rule=rule)  # type: ignore[arg-type]
                except ValueError as error:
                    raise UserError(str(error)) from error
                variants[variant.name] = variant
    return list(variants.values())
