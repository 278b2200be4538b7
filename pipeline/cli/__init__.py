"""Define the command line `s2vc-prep`, which makes motion-preserved clips from videos."""

from s2vc.pipeline.console.commands import command_line

# The commands stand in the order in which they are usually run.
COMMANDS = {
    "demo": "Draw a small set of videos and take it through all stages.",
    "sample": "Draw a set with two labels, motion and scene, whose correlation tests break.",
    "manifest": "Write the table of videos: from a folder, or a dataset's official lists.",
    "encode": "Decode every video once and cache frames, latents and STDs.",
    "render": "Write motion-preserved clips, per alpha, from the cached latents.",
    "preview": "Picture or animation of originals and variants, side by side.",
    "info": "What is in a cache, and which share of the latents each alpha keeps.",
    "drop": "Remove renderings, or what killed jobs left behind.",
    "export": "Write motion-preserved clips as files that play anywhere.",
    "verify": "Check every invariant of a cache's format.",
    "fit-flow": "Fit a normalizing flow to images, or to the frames of a cache.",
    "compare-flows": "Judge flows by what they leave of movers, of backgrounds, and of a codec's noise.",
    "flow-info": "What a flow is: architecture, figures on record, speed here.",
}


@command_line("s2vc-prep", COMMANDS, "s2vc.pipeline.cli")
def main() -> None:
    """Motion-preserved video datasets, computed once (S²VC, AAAI 2022).

    Videos are decoded and encoded by the flow a single time; each alpha is rendered from the cached latents.
    To resume a job that was stopped, run the same command again.
    """
