"""The clips that each backbone takes: how long, how far apart the frames, how large, and the shortest of them."""

CLIP_LENGTHS = {"r3d18": 16, "s3d": 32, "r2d3d18": 40, "r3d18a": 16}
FRAME_STEPS = {"r3d18": 1, "s3d": 1, "r2d3d18": 3, "r3d18a": 1}
SIZES = {"r3d18": 112, "s3d": 128, "r2d3d18": 128, "r3d18a": 112}
"""These are the paper's, by backbone. Those of r2d3d18 are DPC's, whose classifier, too, takes 8 blocks of 5 frames."""

SHORTEST_CLIPS = {"r3d18": 2, "s3d": 5, "r2d3d18": 5, "r3d18a": 2}
"""S3D's pooling leaves nothing of shorter ones; r2d3d18 leaves one value of a small frame, which has no variance."""

MIN_SIZE, MAX_SIZE = 32, 1024
"""Both are in pixels."""
