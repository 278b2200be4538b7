"""Turn the options of a command line into the variants that they mean."""

from s2vc.manifests.errors import UserError
from s2vc.pipeline.choices import RANDOM_STRATEGIES
from s2vc.pipeline.variants import Variant
from s2vc.pipeline.windows import WindowRule

TFD_KEEP = 0.2
"""The paper's pixel-space baseline keeps this share."""


def window_rule(scope: str, clip_length: int | None, frame_step: int | None, window_stride: int | None) -> WindowRule:
    """Return the window rule that options mean. Raises UserError for options of scope clip with another scope."""
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
    """Return a variant for every level (alpha or share to keep) with every strategy, each once.

    Beside other strategies, tfd takes the shares alone, TFD_KEEP if none is given. draws, seed: for random strategies.
    Raises UserError for options that make no variant, or that none of the variants has a use for.
    """
    if alphas and set(strategies) == {"tfd"}:
        raise UserError(f"tfd works on pixels, where --alpha has no meaning: give --keep ({TFD_KEEP:g} in the paper)")
    if (draws, seed) != (1, 0) and not set(strategies) & set(RANDOM_STRATEGIES):
        raise UserError(f"--draws and --seed go with a random strategy: {', '.join(RANDOM_STRATEGIES)}")
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
