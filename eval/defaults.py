"""Every default of training on labels: the paper's epochs, and the published code's optimiser (Adam)."""

from dataclasses import dataclass

KS = (1, 5, 10, 20, 50)
"""The paper's tables give recall@k for each k of these."""

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-3
BATCH = 128
LINEAR_MIN_STEPS, LINEAR_MIN_BATCH = 16, 8
"""Small sets are learned in smaller batches, so that an epoch has some steps: the paper's have 28 (HMDB51) or more."""

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
