"""Names that options of manifests and of the controlled set choose from."""

SPLIT_FOLDERS = ("auto", "always", "never")

TRAIN = "train"

TEST_PARTS = ("neutral", "matched", "swapped", "shake", "pan")
"""Their split columns have this order: where none is asked for, the first is meant."""
