"""Every default of training on labels: the paper's epochs, and the published code's optimiser (Adam)."""

KS = (1, 5, 10, 20, 50)
"""The paper's tables give recall@k for each k of these."""

LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-3
BATCH = 128
LINEAR_MIN_STEPS, LINEAR_MIN_BATCH = 16, 8
"""Small sets are learned in smaller batches, so that an epoch has some steps: the paper's have 28 (HMDB51) or more."""

LINEAR_EPOCHS = 100
LINEAR_DECAYS = (0.6, 0.8)
"""At each of these shares of the epochs the learning rate falls to a tenth."""
TRAIN_VIEWS = 4
"""The features of so many augmented views of each training clip are kept. The paper draws a new view at every step,
which costs a pass of the backbone; kept ones cost it once for all epochs."""

FINETUNE_EPOCHS = 500
FINETUNE_DROPOUT = 0.9
FINETUNE_BACKBONE_LR = 0.1
"""The backbone's learning rate is this share of the classifier's."""
