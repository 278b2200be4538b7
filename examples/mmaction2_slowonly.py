# A configuration of mmaction2 1.x: SlowOnly-R50 on motion-preserved clips, or on their originals.
#
#     s2vc-prep export CACHE --alpha 0.5 --out CLIPS            # MP4s, with split1_train.txt and split1_test.txt
#     python tools/train.py examples/mmaction2_slowonly.py      # in a clone of mmaction2
#
# Set `clips` to CLIPS/VARIANT and `classes` to the number of classes. Its dicts are written as mmaction2 writes them:
# ruff: noqa: C408

default_scope = "mmaction"
clips = "CLIPS/alpha0.5-zero-video"
classes = 101

model = dict(
    type="Recognizer3D",
    backbone=dict(
        type="ResNet3dSlowOnly",
        depth=50,
        pretrained=None,
        lateral=False,
        conv1_kernel=(1, 7, 7),
        conv1_stride_t=1,
        pool1_stride_t=1,
        inflate=(0, 0, 1, 1),
        norm_eval=False,
    ),
    cls_head=dict(
        type="I3DHead",
        in_channels=2048,
        num_classes=classes,
        spatial_type="avg",
        dropout_ratio=0.5,
        average_clips="prob",
    ),
    data_preprocessor=dict(
        type="ActionDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        format_shape="NCTHW",
    ),
)

train_pipeline = [
    dict(type="DecordInit"),
    dict(type="SampleFrames", clip_len=8, frame_interval=2, num_clips=1),
    dict(type="DecordDecode"),
    dict(type="RandomResizedCrop"),
    dict(type="Resize", scale=(112, 112), keep_ratio=False),
    dict(type="Flip", flip_ratio=0.5),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]
test_pipeline = [
    dict(type="DecordInit"),
    dict(type="SampleFrames", clip_len=8, frame_interval=2, num_clips=1, test_mode=True),
    dict(type="DecordDecode"),
    dict(type="Resize", scale=(-1, 128)),
    dict(type="CenterCrop", crop_size=112),
    dict(type="FormatShape", input_format="NCTHW"),
    dict(type="PackActionInputs"),
]


train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="VideoDataset",
        ann_file=f"{clips}/split1_train.txt",
        data_prefix=dict(video=clips),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=4,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="VideoDataset",
        ann_file=f"{clips}/split1_test.txt",
        data_prefix=dict(video=clips),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="AccMetric")
test_evaluator = val_evaluator

train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=50, val_interval=5)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4))
