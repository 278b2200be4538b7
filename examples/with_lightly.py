"""S²VC with lightly: SimCLR's head and loss on pairs of a clip and its motion-preserved one.

    pip install lightly && python examples/with_lightly.py CACHE --variant alpha0.5-zero-video --steps 100

lightly needs torchvision: take the builds of torch and torchvision that belong together.
"""

import argparse

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch.utils.data import DataLoader

from s2vc.training.backbones import build_backbone
from s2vc.training.clips import PairClips
from s2vc.training.settings import TrainingSettings
from s2vc.training.views import PairViews


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache")
    parser.add_argument("--variant", default="alpha0.5-zero-video")
    parser.add_argument("--split", default=None)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=112)
    given = parser.parse_args()

    clips = PairClips(given.cache, [given.variant], clip_length=given.frames, split=given.split)
    loader = DataLoader(clips, batch_size=given.batch, shuffle=True, drop_last=True)
    if not len(loader):
        raise SystemExit(f"{len(clips)} clips do not fill a batch of {given.batch}: take a smaller --batch")
    views = PairViews(TrainingSettings(size=given.size))  # Crops, flips and colours, as s2vc-train has them.
    backbone, head = build_backbone("r3d18"), SimCLRProjectionHead(512, 512, 128)
    criterion = NTXentLoss(temperature=0.1)
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=1e-3)

    step, epoch = 0, 0
    while step < given.steps:
        clips.set_epoch(epoch)
        for frames, key in loader:
            embedded = [head(backbone(view).mean(dim=(2, 3, 4))) for view in (views.query(frames), views.key(key))]
            loss = criterion(*embedded)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            print(f"step {step}: loss {loss.item():.3f}")
            if step == given.steps:
                break
        epoch += 1


if __name__ == "__main__":
    main()
