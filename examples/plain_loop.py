"""S²VC in a plain PyTorch loop: clips of a cache, and for each its motion-preserved one, under a contrastive loss.

    python examples/plain_loop.py CACHE --variant alpha0.5-zero-video --steps 100

CACHE is one of `s2vc-prep encode`, with `s2vc-prep render CACHE --alpha 0.5`. No augmentation, no momentum encoder:
what a loop of your own needs of this package, and nothing else. `s2vc-train` does the rest.
"""

import argparse

import torch
from torch.nn import functional
from torch.utils.data import DataLoader

from s2vc.training.backbones import build_backbone
from s2vc.training.clips import PairClips, as_video, motion_preserved_video

TEMPERATURE = 0.1
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def prepare(video: torch.Tensor, size: int) -> torch.Tensor:
    """Resize and normalise clips (N, 3, T, H, W) in [0, 1]."""
    video = functional.interpolate(video, (video.shape[2], size, size), mode="trilinear")
    return (video - MEAN.view(3, 1, 1, 1)) / STD.view(3, 1, 1, 1)


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
    backbone, head = build_backbone("r3d18"), torch.nn.Linear(512, 128)
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=1e-3)

    step, epoch = 0, 0
    while step < given.steps:
        clips.set_epoch(epoch)  # Clips are drawn anew.
        for frames, key in loader:
            views = as_video(frames), motion_preserved_video(key)
            query, positive = (
                functional.normalize(head(backbone(prepare(view, given.size)).mean(dim=(2, 3, 4)))) for view in views
            )
            loss = functional.cross_entropy(query @ positive.T / TEMPERATURE, torch.arange(len(query)))
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
