"""Every default of training on labels: the paper's epochs, and the published code's optimiser (Adam)."""

from dataclasses import dataclass

KS = (1, 5, 10, 20, 50)
"""The paper's tables give recall@k for each k of these."""

NATURAL = "natural"
ORDERS = (NATURAL, "shuffled", "still")
"""Frames of a clip are shown in one of these orders: shuffled is another than the natural one; still is the middle
frame throughout."""

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-3
BATCH = 128
LINEAR_MIN_STEPS, LINEAR_MIN_BATCH = 16, 8
"""Small sets are learned in batches of a sixteenth of the videos, or of 8, so that an epoch has some steps: the paper's
have 28 (HMDB51) or more."""

LINEAR_EPOCHS = 100
TRAIN_VIEWS = 4
"""The features of so many augmented views of each training clip are kept. The paper draws a new view at every step,
which costs a pass of the backbone; kept ones cost it once for all epochs."""
REDRAWN = "drawn anew at every step"
"""Stands for the number of views where they are drawn as in the paper."""

FINETUNE_EPOCHS = 500
FINETUNE_DROPOUT = 0.9
FINETUNE_BACKBONE_LR = 0.1
"""The backbone's learning rate is this share of the classifier's; random weights learn at the whole of it."""


@dataclass(frozen=True)
class ClassifierRecipe:
    """Says how a classifier is trained. decays: after these shares of the epochs the learning rate falls to a tenth.
    batch: clips of a step."""

    epochs: int
    decays: tuple[float, ...]
    batch: int


def recipe_entries(recipe: ClassifierRecipe, task: str) -> dict[str, int | str]:
    """Give what the description of a result says of its recipe."""
    decays = " ".join(f"{share:.3g}" for share in recipe.decays)
    return {f"epochs_{task}": recipe.epochs, "decays": decays, "batch": recipe.batch}


PAPER = "paper"
"""Names the recipe with the paper's epochs. It tells no decays: those of CoCLR's commands are taken."""

LINEAR_RECIPES = {
    PAPER: ClassifierRecipe(LINEAR_EPOCHS, (0.6, 0.8), BATCH),
    "published-ucf101": ClassifierRecipe(150, (60 / 150, 80 / 150), 32),
    "published-hmdb51": ClassifierRecipe(150, (40 / 150, 60 / 150), 32),
}
FINETUNE_RECIPES = {
    PAPER: ClassifierRecipe(FINETUNE_EPOCHS, (0.8, 0.9), BATCH),
    "published-ucf101": ClassifierRecipe(400, (130 / 400, 180 / 400), 32),
    "published-hmdb51": ClassifierRecipe(400, (100 / 400, 150 / 400), 32),
}
"""The published ones are those of the published code (SSVC's main_eval.py), by dataset; its batch is that of one
GPU."""

LAST, VALIDATION = "last", "validation"

SELECTIONS = (LAST, VALIDATION)
"""Which epoch's weights are tested: the last one's, or those of the one that is best on validation videos."""

TEST = "test"

MOVING_SPEED = 0.5
"""A pixel moves above this speed, in pixels per frame. Of drawn objects over still backgrounds (`s2vc-prep demo`,
128x171) 1 in 10,000 pixels far from any object is above it, and 83 % of those of an object; the overlap of what is
found with what moves (0.54, intersection over union) is flat from 0.5 to 1.5. At 0.1, 14 % are found where 7 % move."""

YOLO_CONFIDENCE, YOLO_OVERLAP = 0.25, 0.45
"""YOLOv5's defaults: boxes of less confidence are dropped, and of two that overlap by more (intersection over union)
the less confident one."""

YOLO_SIZE = 640
CAM_CLASSIFIERS = CAM_LINEAR, CAM_FINETUNE = ("linear", "finetune")

SWEEP_TASKS = ("retrieval", "linear", "order", "finetune")
"""What a sweep may evaluate, as eval.sweep.protocol does it."""

ALL_SPLITS = "all-splits"
"""As the name of a split, it stands for every split column that there is, each in turn."""

SWEEP_SELECTIONS = (VALIDATION, TEST)

PROTOCOL_FIELDS = (
    "retrieval_frames", "retrieval_clips", "per", "linear_epochs", "finetune_epochs", "classify_size",
    "classify_frames", "train_views", "group",
)  # fmt: skip
"""These fields of a Protocol say how its tasks are done; options have the same names."""

PER_TRIAL_SETTINGS = {
    "method": "--alphas and --keeps, and MoCo beside them",
    "alpha": "--alphas",
    "keep": "--keeps",
    "variant": "--alphas, --keeps, --strategies and --scope",
    "draws": "--strategies, with one draw of each",
    "seed": "--seeds",
    "workers": "--threads and --workers",
    "cache": "the argument CACHE",
}
"""A sweep gives each trial these settings itself, by options of its own."""
