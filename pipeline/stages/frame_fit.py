"""How frames of any shape become frames of the stored size: ffmpeg's filters for each way."""

from s2vc.pipeline.cache.settings import CROP, SQUEEZE

LONGEST = 16
"""A frame is scaled to at most so many times a side of what it is to fill; beyond that its shape is not kept, so that a
forged panorama of one row does not fill the memory."""


def fit_filters(height: int, width: int, fit: str, planes: str) -> str:
    """Return the filters of ffmpeg that make frames of height x width pixels of any others.

    fit: one of s2vc.pipeline.cache.settings.FITS. planes: the pixel format to cut in, one that does not share chroma
    among pixels, or a cut at an odd column would move. Shapes are those that players show, by the sample aspect ratio.
    """
    if fit == SQUEEZE:
        return f"scale={width}:{height}"
    across, down = (width, height) if fit == CROP else [min(height, width)] * 2
    # The smallest frame of the same shape that fills across x down.
    scaled_width = f"clip(round({down}*dar),{across},{LONGEST * across})"
    scaled_height = f"clip(round({across}/dar),{down},{LONGEST * down})"
    cut = f"crop='min(iw,{width})':'min(ih,{height})'"
    return f"scale='{scaled_width}':'{scaled_height}',format={planes},{cut},pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"
