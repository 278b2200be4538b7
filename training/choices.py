"""Names that settings of training choose from, and defaults: plain values, which a command line shows at once."""

COLOUR_JITTER = (0.4, 0.4, 0.4, 0.1)
"""These are the strengths of brightness, contrast, saturation and hue."""

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

RGB = tuple[float, float, float]

NORMALISATIONS: dict[str, tuple[RGB, RGB]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "kinetics": ((0.4345, 0.4051, 0.3775), (0.2768, 0.2713, 0.2737)),
    "hara2018": ((114.7748 / 255, 107.7354 / 255, 99.475 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "torchvision": ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Means and deviations of channels in [0, 1] that checkpoints were trained with. imagenet: CoCLR, SSVC, DPC. kinetics:
Hara's 3D-ResNets-PyTorch since 2020. hara2018: its first checkpoints, for pixels of 0 to 255. torchvision: its video
models. half: pixels of -1 to 1, as of I3D and S3D in TensorFlow."""

PAIR_MODES = ("independent", "same")

HEADS = ("mlp", "linear")

LABEL = "label"
"""This column holds class numbers, whose names are in class_name. It is meant where no other is asked for."""

ALL_ROWS = "all"
"""As the name of a split, it makes every row a training row."""

TRAIN = "train"
