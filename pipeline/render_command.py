"""This module writes the `s2vc-prep render` command that a user should run."""

import shlex

from s2vc.pipeline.variants import Variant, plain


def how_to_render(cache: object, variant: Variant) -> str:
    """Return the command line that renders a variant, or finishes one that is incomplete.

    The command of a random strategy renders the earlier draws as well. cache: a path or a CacheStorage; its text is the
    location.

    >>> how_to_render("cache", Variant(alpha=0.5))
    's2vc-prep render cache --alpha 0.5'
    """
    words = ["s2vc-prep", "render", shlex.quote(str(cache))]
    words += ["--alpha", plain(variant.alpha)] if variant.alpha is not None else ["--keep", plain(variant.keep)]
    rule = variant.rule
    options = {
        "--strategy": (variant.strategy, "zero"),
        "--draws": (variant.draw + 1, 1),
        "--seed": (variant.seed, 0),
        "--scope": (rule.scope, "video"),
        "--clip-length": (rule.clip_length, None),
        "--frame-step": (rule.frame_step, 1),
        "--window-stride": (rule.window_stride, (rule.clip_length or 0) * rule.frame_step or None),
    }
    words += [w for name, (value, default) in options.items() if value != default for w in (name, str(value))]
    return " ".join(words)
