"""Figures of matplotlib as files that appear whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING

from s2vc.pipeline.storage import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure


PAPER, INK, GREY = "#ffffff", "#16181d", "#6b7280"
"""The colours of the background and of text in pictures and plots."""


def save_figure(figure: "Figure", path: Path, dpi: int = 120) -> None:
    """Write a figure in the format that the ending of its path names, such as .png, .pdf or .svg.

    dpi: dots per inch. Raises OSError where the file cannot be written.
    """
    with files.attempt(path) as aside:
        figure.savefig(aside, format=path.suffix[1:].lower(), dpi=dpi)
