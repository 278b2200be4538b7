"""The paper's results as data: Tables 1 to 4, and Tables 1 and 2 of the supplement, with what each row was made with;
and what it prints of figures.

Numbers of tables and shares are percent, as printed. What a row was made with is named as our results and runs name
it, so that the two can be compared field by field. ASSUMPTIONS fills in what the paper does not say of its own rows; of
other authors' rows it says too little to compare with.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from s2vc.eval.defaults import (
    FINETUNE_RECIPES,
    KS,
    LAST,
    LINEAR_EPOCHS,
    LINEAR_RECIPES,
    NATURAL,
    PAPER,
    REDRAWN,
    TEST,
    recipe_entries,
)
from s2vc.pipeline.info.kept_share import PAPER_SHARES
from s2vc.training.choices import IMAGENET_MEAN, IMAGENET_STD, LABEL
from s2vc.training.clip_shapes import CLIP_LENGTHS, FRAME_STEPS, SIZES
from s2vc.training.dpc_settings import DPC_METHODS, DPC_SETTINGS, PAIR_SETTINGS
from s2vc.training.setting_checks import SUPERVISED_SETTINGS
from s2vc.training.settings import AUGMENTS, MAY_CHANGE, PRESETS, merge_settings

DATASETS = {"ucf101": "UCF101", "hmdb51": "HMDB51", "k200": "Kinetics-200", "k400": "Kinetics-400"}

SPLIT_VIDEOS = {"ucf101": (9537, 3783), "hmdb51": (3570, 1530)}
"""These are the training and test videos of split 1, which no other split has in this number."""

PRETRAINING_VIDEOS = {"ucf101": 9537, "k200": 80_000, "k400": 200_000}
"""So many videos are trained on: of UCF101 split 1, of Kinetics what the published code (k200) and the paper (k400)
say."""

KINETICS_LEFT = 0.9
"""Videos of Kinetics vanish from the net: a set with this share of them is taken for the whole."""

TABLE_1_CLIPS = {"r3d18": (224, 32)}
"""Size and frames of evaluation in Table 1, whose "Res." is that of pre-training, by the published commands."""

ASSUMPTIONS = (
    "The paper names neither split nor frame step, no data of pre-training for Tables 2 and 3, and no epochs for the "
    "classifier of natural and shuffled videos: split 1, consecutive frames, 500 epochs on UCF101, and the 100 epochs "
    "of its linear probe are assumed. DPC is run by its defaults, the supplement says: split 1, 8 blocks of 5 frames, "
    "3 apart, at 128x128, and windows of all 40 for evaluation and for the masks of S²VC are assumed. The resolution "
    "in Table 1 is that of pre-training; the published commands evaluate R3D-18 at 224x224 with 32 frames, and tell "
    "nothing of S3D, whose clips of pre-training are assumed. Query and key are two clips of a video, as in the "
    "published code. What else the paper does not say of optimisation, augmentation and classifiers is taken from it, "
    "as the defaults here are; precision and processes are not compared."
)

NOT_THE_PAPERS = (
    *MAY_CHANGE, "cache", "seed", "workers", "precision", "shards_at_hand", "queue_limit", "flow", "alpha", "keep",
    "draws",
)  # fmt: skip
"""Of these settings the paper says nothing, or what it says stands in others, such as the variant."""

CONTRASTIVE_SETTINGS = ("negatives", "queue", "momentum", "temperature", "norm_group", "key_scale")
"""Besides PAIR_SETTINGS, these mean something only where keys are compared."""

PAPER_FRAME_SIZE = "256x340"
"""The paper's crops come from full frames; a cache of this size keeps about as much."""

PAPER_FRAMES = frozenset(
    f"{size}{fit}" for size in (PAPER_FRAME_SIZE, "240x320") for fit in ("", " crop", " short-side")
)
"""Stored frames that keep about as much: 240x320 are UCF101's own, and with a fit frames keep their shape, too."""

STATIC_BIAS_R = {"s2vc": -0.40, "moco": -0.33}
"""Fig. 6: Pearson's r of the relative gain over still clips with the accuracy on still clips, by method. Neither the
dataset nor the classifier is named."""

PEOPLE_SHARE_BELOW, MOVING_SHARE_ABOUT = 20.0, 30.0
"""Fig. 1 of the supplement, whose bars have no numbers in the text: of the frames of three public datasets less than
this share shows people, and about this share moves."""


@dataclass(frozen=True)
class PaperRow:
    """Holds a row as printed. net: of our backbones, or another's name. values: percent by column, None for a dash.

    pretraining: method, data and epochs, by the names of training.settings; empty where the row is another author's.
    """

    method: str
    net: str
    values: tuple[float | None, ...]
    pretraining: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperTable:
    """Holds one task on one dataset out of a table. metrics: the columns, as our results name them. protocol: how it
    was evaluated, by the names that results of the task have."""

    name: str
    task: str
    dataset: str
    metrics: tuple[str, ...]
    rows: tuple[PaperRow, ...]
    protocol: dict[str, Any]


def _pretraining(method: str, dataset: str, epochs: int | None = None, **more: Any) -> dict[str, Any]:
    return {"method": method, "dataset": dataset, "epochs": epochs or PRESETS[dataset]["epochs"], **more}


def _s2vc_pretraining(net: str, dataset: str, epochs: int | None = None, strategy: str = "zero") -> dict[str, Any]:
    # Masks are per training clip: windows as long as the clips that are trained on.
    variant = f"alpha0.5-{strategy}-clip{CLIP_LENGTHS[net]}"
    return _pretraining("s2vc", dataset, epochs, variant=variant if strategy == "zero" else f"{variant}, {REDRAWN}")


# The columns are finetune UCF101, finetune HMDB51, linear probe UCF101, linear probe HMDB51.
_TABLE_1 = (
    PaperRow("3D RotNet, K400", "R3D", (62.9, 33.7, 47.7, 24.8)),
    PaperRow("CBT, K600+", "S3D", (79.5, 44.5, 54.0, 29.5)),
    PaperRow("VCOP, UCF101", "R(2+1)D", (72.4, 30.9, None, None)),
    PaperRow("DPC, K400", "R2D3D", (75.7, 35.7, None, None)),
    PaperRow("MemDPC, K400", "R2D3D", (78.1, 41.2, 54.1, 30.5)),
    PaperRow("SpeedNet, K400", "S3D", (81.1, 48.8, None, None)),
    PaperRow("RSPNet, K400", "R3D", (74.3, 41.8, None, None)),
    PaperRow("CoCLR, K400, with flow", "S3D", (87.9, 54.6, 74.5, 46.1)),
    PaperRow("IMRNet, K400, with P-frames", "R3D", (76.8, 45.0, None, None)),
    PaperRow("MoCo baseline, UCF101", "s3d", (69.3, 35.1, 46.6, 21.4), _pretraining("moco", "ucf101")),
    PaperRow("Ours, UCF101", "s3d", (74.5, 43.7, 51.0, 27.7), _s2vc_pretraining("s3d", "ucf101")),
    PaperRow("Ours, K200", "s3d", (82.5, 48.4, 63.8, 35.9), _s2vc_pretraining("s3d", "k200")),
    PaperRow("Ours, UCF101", "r3d18", (77.0, 45.8, 59.7, 27.9), _s2vc_pretraining("r3d18", "ucf101")),
    PaperRow("Ours, K400", "r3d18", (81.2, 50.5, 66.0, 36.5), _s2vc_pretraining("r3d18", "k400")),
)

# The columns are recall at 1, 5, 10, 20, 50.
_TABLE_2 = (
    PaperRow("SpeedNet", "S3D", (13.0, 28.1, 37.5, 49.5, 65.0)),
    PaperRow("VCOP", "R3D", (14.1, 30.3, 40.4, 51.1, 66.5)),
    PaperRow("MemDPC", "R3D", (20.2, 40.4, 52.4, 64.7, None)),
    PaperRow("Pace", "R3D", (23.8, 38.1, 46.4, 56.6, 69.8)),
    PaperRow("MoCo", "s3d", (32.8, 49.0, 57.5, 68.3, 80.7), _pretraining("moco", "ucf101")),
    PaperRow("Ours", "s3d", (36.9, 56.5, 65.6, 75.0, 86.3), _s2vc_pretraining("s3d", "ucf101")),
    PaperRow("Ours", "r3d18", (39.9, 57.1, 66.3, 75.6, 87.4), _s2vc_pretraining("r3d18", "ucf101")),
)
_TABLE_3 = (
    PaperRow("VCOP", "R3D", (7.6, 22.9, 34.4, 48.8, 68.9)),
    PaperRow("MemDPC", "R3D", (7.7, 25.7, 40.6, 57.7, None)),
    PaperRow("Pace", "R3D", (9.6, 26.9, 41.1, 56.1, 76.5)),
    PaperRow("BE", "R3D", (11.9, 31.3, 44.5, 60.5, 81.4)),
    PaperRow("MoCo", "s3d", (13.2, 31.8, 44.0, 59.7, 80.7), _pretraining("moco", "ucf101")),
    PaperRow("Ours", "s3d", (14.9, 37.5, 51.7, 68.3, 84.5), _s2vc_pretraining("s3d", "ucf101")),
    PaperRow("Ours", "r3d18", (18.1, 37.9, 51.1, 66.0, 84.4), _s2vc_pretraining("r3d18", "ucf101")),
)

# The columns are UCF101, HMDB51.
_TABLE_4 = (
    PaperRow("MoCo", "s3d", (25.4, 11.8), _pretraining("moco", "ucf101", 100)),
    PaperRow("TFD", "s3d", (29.1, 11.6), _pretraining("s2vc", "ucf101", 100, variant="keep0.2-tfd-clip32")),
    PaperRow("S²VC (set to random noise)", "s3d", (28.7, 12.6), _s2vc_pretraining("s3d", "ucf101", 100, "noise")),
    PaperRow("S²VC (shuffle - in clip)", "s3d", (25.8, 12.0), _s2vc_pretraining("s3d", "ucf101", 100, "shuffle-clip")),
    PaperRow(
        "S²VC (shuffle - in frame)", "s3d", (29.8, 14.0), _s2vc_pretraining("s3d", "ucf101", 100, "shuffle-frame")
    ),
    PaperRow("S²VC (set to 0)", "s3d", (30.5, 14.9), _s2vc_pretraining("s3d", "ucf101", 100)),
)

DPC_VARIANT = f"alpha0.5-zero-clip{CLIP_LENGTHS['r2d3d18']}-step{FRAME_STEPS['r2d3d18']}"
"""Masks are per training clip, as in MoCo's."""

# The columns are recall at 1 of UCF101 and of HMDB51, finetune UCF101.
_SUPPLEMENT_1 = (
    PaperRow("DPC", "r2d3d18", (7.1, 3.5, 45.7), _pretraining("dpc", "ucf101", 300)),
    PaperRow("DPC+S²VC", "r2d3d18", (9.3, 4.4, 47.5), _pretraining("dpc-s2vc", "ucf101", 300, variant=DPC_VARIANT)),
)

_SUPPLEMENT_2 = (
    PaperRow("Supervised, UCF101", "r3d18", (68.1, 73.5), _pretraining("supervised", "ucf101", 100)),
    PaperRow("S²VC, UCF101", "r3d18", (73.8, 79.1), _s2vc_pretraining("r3d18", "ucf101", 100)),
    PaperRow("Supervised, K400 (Hara et al.)", "R3D", (75.8, 75.8)),
    PaperRow("S²VC, K400", "r3d18", (81.6, 81.0), _s2vc_pretraining("r3d18", "k400", 100)),
)


def _by_column(
    name: str,
    rows: tuple[PaperRow, ...],
    columns: Sequence[tuple[str, str]],
    protocols: dict[str, dict[str, Any]],
) -> tuple[PaperTable, ...]:
    """Cut a table whose columns are tasks on datasets into its columns; rows with a dash there are left out."""
    cut = []
    for number, (task, dataset) in enumerate(columns):
        column = [
            PaperRow(r.method, r.net, (r.values[number],), r.pretraining) for r in rows if r.values[number] is not None
        ]
        metric = "recall@1" if task == "retrieval" else "top1"
        cut.append(PaperTable(name, task, dataset, (metric,), tuple(column), protocols[task]))
    return tuple(cut)


RECALLS = tuple(f"recall@{k}" for k in KS)

_LEARNED = {"augment": AUGMENTS[0], "select": LAST}
"""So the published code augments, and the weights of the last epoch are assumed to be tested."""

PROTOCOLS: dict[str, dict[str, Any]] = {
    # "Each 16-frame video clip from the test set is used as a query" holds whatever the backbone.
    "retrieval": {"frames": 16, "per": "clip"},
    "linear": recipe_entries(LINEAR_RECIPES[PAPER], "linear") | {"train_views": REDRAWN} | _LEARNED,
    "finetune": recipe_entries(FINETUNE_RECIPES[PAPER], "finetune") | _LEARNED,
    "order": {"epochs_linear": LINEAR_EPOCHS},
}

# "The default settings of the DPC" mean its own clips, where MoCo's queries have 16 frames.
DPC_PROTOCOLS = PROTOCOLS | {"retrieval": {"per": "clip"}}

_DATASETS = ("ucf101", "hmdb51")

TABLES: tuple[PaperTable, ...] = (
    *_by_column("Table 1", _TABLE_1, [(t, d) for t in ("finetune", "linear") for d in _DATASETS], PROTOCOLS),
    PaperTable("Table 2", "retrieval", "ucf101", RECALLS, _TABLE_2, PROTOCOLS["retrieval"]),
    PaperTable("Table 3", "retrieval", "hmdb51", RECALLS, _TABLE_3, PROTOCOLS["retrieval"]),
    *_by_column("Table 4", _TABLE_4, [("retrieval", d) for d in _DATASETS], PROTOCOLS),
    *_by_column(
        "Supplement, Table 1",
        _SUPPLEMENT_1,
        [*(("retrieval", d) for d in _DATASETS), ("finetune", "ucf101")],
        DPC_PROTOCOLS,
    ),
    *_by_column("Supplement, Table 2", _SUPPLEMENT_2, [("order", d) for d in _DATASETS], PROTOCOLS),
)


def kept_share_note(alpha: float) -> str:
    """Say which shares of latents the paper keeps at an alpha (Fig. 3); empty where it prints none."""
    shares = PAPER_SHARES.get(alpha, {})
    text = ", ".join(f"{share:.1%} of {dataset}'s" for dataset, share in shares.items())
    return f"the paper's alpha {alpha:g} keeps {text}, per training clip" if text else ""


def evaluation_settings(table: PaperTable, row: PaperRow) -> dict[str, Any]:
    """Tell how a row of the paper's own was evaluated, by the names of our results."""
    size, frames = SIZES[row.net], CLIP_LENGTHS[row.net]
    if table.name == "Table 1":
        size, frames = TABLE_1_CLIPS.get(row.net, (size, frames))
    return {
        "dataset": table.dataset,
        "split": "split1",
        "stored": PAPER_FRAME_SIZE,
        "backbone": row.net,
        "size": size,
        "frames": frames,
        "frame_step": FRAME_STEPS[row.net],
        "mean": " ".join(map(str, IMAGENET_MEAN)),
        "std": " ".join(map(str, IMAGENET_STD)),
        "test_split": TEST,
        "frame_order": NATURAL,
        **({} if table.task == "order" else {"label": LABEL}),
        **table.protocol,
    }


def pretraining_settings(row: PaperRow) -> dict[str, Any]:
    """Tell how the backbone of a row of the paper's own was made, by the names of training.settings, and on what: every
    setting that means something to its method and changes what is learned."""
    made = row.pretraining
    chosen = {"method": made["method"], "backbone": row.net, "epochs": made["epochs"]}
    if made["method"] in ("s2vc", "dpc-s2vc"):
        chosen["variant"] = [made["variant"].removesuffix(f", {REDRAWN}")]
    preset = {} if made["method"] in DPC_METHODS else PRESETS[made["dataset"]]
    settings = asdict(merge_settings(preset, chosen))
    known = {k: v for k, v in settings.items() if k not in (*NOT_THE_PAPERS, *meaningless_settings(made["method"]))}
    if "queue" in known:
        known["queue"] = settings["queue_limit"]
    known |= {"init": "none", "split": "split1", "variant": "none"} | made
    return known if made["dataset"] == "ucf101" else {k: v for k, v in known.items() if k != "split"}


def meaningless_settings(method: str) -> tuple[str, ...]:
    """Name the settings that mean nothing to a method."""
    if method in DPC_METHODS:
        only = () if method == "dpc-s2vc" else ("preserved",)
        return (*PAIR_SETTINGS, *SUPERVISED_SETTINGS, *CONTRASTIVE_SETTINGS, "query_scale", *only)
    if method == "supervised":
        return (*(s for s in PAIR_SETTINGS if s != "jitter"), *DPC_SETTINGS, *CONTRASTIVE_SETTINGS)
    return (*SUPERVISED_SETTINGS, *DPC_SETTINGS)
