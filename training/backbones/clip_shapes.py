"""The clips that each backbone takes, by its name: how long, how far apart the frames, how large, and the shortest."""

from s2vc.training.backbones import BACKBONES

CLIP_LENGTHS = {name: registered.clip_length for name, registered in BACKBONES.items()}
FRAME_STEPS = {name: registered.frame_step for name, registered in BACKBONES.items()}
SIZES = {name: registered.size for name, registered in BACKBONES.items()}
SHORTEST_CLIPS = {name: registered.shortest for name, registered in BACKBONES.items()}

MIN_SIZE, MAX_SIZE = 32, 1024
"""Both are in pixels."""
