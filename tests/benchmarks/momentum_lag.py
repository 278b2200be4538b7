"""Ask of a trained run whether originals find their keys by what its query encoder knows, or by its momentum encoder
alone, which lags behind it.

python -m tests.benchmarks.momentum_lag RUN [RUN ...]

RUN: a folder of `s2vc-train`, method s2vc or moco. The pairs of its first epoch are drawn and augmented again, and
embedded as in training. A key encoder only follows; where keys are other pictures than queries, nothing trains the
query encoder on them. The rows say what a key encoder would give that has caught up.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2vc.training.loader import EpochBatches, Loader
from s2vc.training.methods import build_training_task, open_clips
from s2vc.training.moco import MoCo
from s2vc.training.run_folder import RunFolder, read_checkpoint
from s2vc.training.settings import TrainingSettings, merge_settings, read_settings_file
from tests.benchmarks.measure import one_thread

DEVICE = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    one_thread()
    for run in parser.parse_args().runs:
        folder = RunFolder(run)
        settings = merge_settings(read_settings_file(folder.settings))
        print(f"{run.name}: means over an epoch of batches of {settings.batch}")
        for name, (loss, found) in compare_key_encoders(folder, settings).items():
            print(f"  {name}: loss {loss:.2f}, own key first {found:.1%}")


@torch.no_grad()
def compare_key_encoders(folder: RunFolder, settings: TrainingSettings) -> dict[str, tuple[float, float]]:
    """Return loss and own key first of originals among a batch's keys, for each key encoder."""
    clips = open_clips(settings)
    task = build_training_task(settings, clips, DEVICE)
    task.model.load_state_dict(read_checkpoint(folder.checkpoint)["state_dict"])
    model = task.model.train()  # As in training, batch norm takes the statistics of the batch.
    assert isinstance(model, MoCo)
    encoders = {"keys by the momentum encoder": model.encoder_k, "keys by the query encoder": model.encoder_q}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in encoders}
    batches = EpochBatches(clips.shards, settings.batch, settings.seed, 0, 1, None)
    for step, batch in enumerate(Loader(clips, batches, DEVICE, 0).epoch(0, 0)):
        torch.manual_seed(step)
        query, key = task.inputs(batch)
        q, order = embed(model.encoder_q, query, model.groups), torch.randperm(len(key))
        for name, encoder in encoders.items():
            k = embed(encoder, key[order], model.groups)[order.argsort()]
            found[name].append(score(q @ k.T, settings.temperature))
    return {
        name: (mean[0], mean[1]) for name, values in found.items() for mean in [torch.tensor(values).mean(0).tolist()]
    }


def embed(encoder: nn.Module, clips: Tensor, groups: int) -> Tensor:
    """Embed clips, normalised in groups: (N, dim), of length 1."""
    return functional.normalize(torch.cat([encoder(part).flatten(1) for part in clips.tensor_split(groups)]), dim=1)


def score(similarity: Tensor, temperature: float) -> tuple[float, float]:
    """Return the loss with negatives from the batch, and the share of rows whose own column is the highest."""
    own = torch.arange(len(similarity))
    loss = functional.cross_entropy(similarity / temperature, own)
    return loss.item(), (similarity.argmax(dim=1) == own).float().mean().item()


if __name__ == "__main__":
    main()
