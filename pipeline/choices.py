"""Names to choose from and defaults of s2vc-prep's options: plain values, which a command line shows at once."""

RANDOM_STRATEGIES = ("noise", "shuffle-clip", "shuffle-frame", "random")
"""These strategies draw random numbers. A rendered draw is fixed, so each of several draws is a variant of its own."""

STRATEGIES = ("zero", "reverse", "tfd", *RANDOM_STRATEGIES)
"""These are the ways to treat static latents. The paper's is zero; its ablations are noise, shuffle-clip,
shuffle-frame, and tfd, which works on pixels. Two are controls: reverse suppresses the moving latents, and random as
many as zero does, chosen at random."""

SILENCE_SECONDS = 120.0
"""A decoder that gives no byte for this long is taken to be hung."""

CRF = 18
"""Drawn videos are written with this constant rate factor of libx264: the quality is good, but not lossless."""

ORIGINAL = "original"
"""The stored frames are exported under this name."""

EXPORT_ENDINGS = {"mp4": ".mp4", "frames": "", "webdataset": ".mp4"}
"""Clips of each format have names with these endings; those of frames are folders of JPEGs."""

EXPORT_FORMATS = tuple(EXPORT_ENDINGS)

PREVIEW_COLUMNS, PREVIEW_SECONDS = 8, 3.0
"""By default a contact sheet has so many columns of frames and an animation as many strips in a row, at most, and an
animation is so many seconds long, at most."""

PREVIEW_VIDEOS = 4
"""A preview shows at most this many videos when none is asked for."""
