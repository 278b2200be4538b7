"""The trials of a sweep on Ray Tune, packed on the GPUs or cores there are."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from s2vc.eval.sweep.plan import SweepFolder, Trial, unfinished_trials
from s2vc.eval.sweep.protocol import Protocol, as_protocol
from s2vc.eval.sweep.trial import run_trial
from s2vc.manifests.errors import UserError
from s2vc.pipeline.cache import Cache
from s2vc.pipeline.cache.lock import locked
from s2vc.pipeline.cache.renderings import kept_share
from s2vc.pipeline.cluster.train_processes import run_in_thread
from s2vc.pipeline.storage import files
from s2vc.pipeline.storage.step_log import StepReader
from s2vc.pipeline.variants import Variant
from s2vc.training.run_folder import RunFolder, TrainingStep


@dataclass(frozen=True)
class TrialResources:
    """Holds what a trial gets of the cluster, and how many trials fit at a time. device: None takes what there is."""

    cpus: int
    gpus: int
    parallel_trials: int
    device: str | None = None


def cpus_of_nodes() -> list[int]:
    """Count the CPUs of each machine of the Ray that is running."""
    import ray

    return [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]


def share_resources(
    nodes: Sequence[int], gpus: int, trials: int, asked: int | None, most: int | None = None
) -> TrialResources:
    """Give each trial its part of a cluster: a GPU where there are any, and its part of the CPUs.

    nodes: CPUs of each machine; a trial lies on one. asked: CPUs for each, and most: trials at a time, where the user
    says so. Raises UserError where not even one trial fits, which Ray would wait for without a word.
    """
    trials = min(trials, most or trials)
    slots = max(1, min(trials, gpus or sum(nodes)))
    each = asked or max(1, min(sum(nodes) // slots, max(nodes)))
    if each > max(nodes):
        raise UserError(f"a trial of {each} CPUs does not fit: the largest machine has {max(nodes)}; lower --threads")
    fit = sum(node // each for node in nodes)
    return TrialResources(each, int(gpus >= 1), max(1, min(fit, trials, gpus or fit)))


def run_trials(
    folder: SweepFolder,
    trials: Sequence[Trial],
    shared: dict[str, Any],
    protocol: Protocol,
    resources: TrialResources,
    show: Callable[[Trial, int, bool], None],
    stop: Callable[[], bool],
) -> dict[str, str]:
    """Run trials to their ends on the Ray that is running.

    show(trial, steps trained, all evaluated) is called as they go on, by what they write. Where stop() says so, they
    end after the step they are in, with a checkpoint. Returns the reasons of those that failed, by name.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # Its new reporter prints even where it is to be silent.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    folder.stop.unlink(missing_ok=True)
    failed: dict[str, str] = {}
    try:
        # Tune runs in another thread, since in this one it would take Ctrl-C for itself.
        run_in_thread(
            lambda: failed.update(_run_on_tune(folder, trials, shared, protocol, resources)),
            _follower(folder, trials, protocol, show, stop),
        )
    finally:
        folder.stop.unlink(missing_ok=True)
    return failed


def _run_on_tune(
    folder: SweepFolder,
    trials: Sequence[Trial],
    shared: dict[str, Any],
    protocol: Protocol,
    resources: TrialResources,
) -> dict[str, str]:
    from ray import tune

    runs = str(folder.shared_runs.absolute()) if folder.shared_runs else None
    config = {
        "root": str(folder.root.absolute()),
        "runs": runs,
        "shared": shared,
        "cpus": resources.cpus,
        "device": resources.device,
    }
    config["protocol"] = asdict(protocol)
    tuner = tune.Tuner(
        tune.with_resources(_trainable, {"cpu": float(resources.cpus), "gpu": float(resources.gpus)}),
        param_space={**config, "trial": tune.grid_search([asdict(t) for t in trials])},
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder.root.absolute()),
            verbose=0,
            callbacks=[_silent_progress()],
            failure_config=tune.FailureConfig(max_failures=1),
        ),
    )
    grid = tuner.fit()
    failed = {}
    for outcome in (grid[i] for i in range(len(grid))):
        if outcome.error is not None and outcome.config is not None:
            failed[Trial(**outcome.config["trial"]).name] = _reason(outcome.error)
    files.remove(folder.root / "tune")  # These are Tune's own records; a sweep is resumed from the runs.
    return failed


def _trainable(config: dict[str, Any]) -> None:
    """Run one trial, in a process of Tune with its share of the cluster."""
    folder = SweepFolder(Path(config["root"]), Path(config["runs"]) if config["runs"] else None)
    run_trial(
        folder,
        Trial(**config["trial"]),
        config["shared"],
        as_protocol(config["protocol"]),
        config["cpus"],
        config["device"],
    )


def _silent_progress() -> Any:
    """Build what takes the place of Tune's own printing, which names each trial that ends even where it is silent."""
    from ray.tune.progress_reporter import TrialProgressCallback

    class Silent(TrialProgressCallback):
        def on_trial_result(self, *args: Any, **kwargs: Any) -> None:
            pass

        on_trial_error = on_trial_complete = on_trial_result

    return Silent()


def _follower(
    folder: SweepFolder,
    trials: Sequence[Trial],
    protocol: Protocol,
    show: Callable[[Trial, int, bool], None],
    stop: Callable[[], bool],
) -> Callable[[], None]:
    """Build a function that shows what is new in the trials' folders, and passes on the wish to stop."""
    readers = {trial: StepReader(RunFolder(folder.run(trial)).metrics, TrainingStep) for trial in trials}
    seen: dict[Trial, tuple[int, bool]] = {}

    def poll() -> None:
        for trial, reader in readers.items():
            before, _ = seen.get(trial, (0, False))
            steps = max([before, *(record.step for record in reader.new())])
            now = (steps, not unfinished_trials(folder, [trial], protocol))
            if now != seen.get(trial):
                seen[trial] = now
                show(trial, *now)
        if stop():
            folder.stop.touch()

    return poll


def _reason(error: BaseException) -> str:
    reported = [line for line in str(error).splitlines() if "UserError" in line or "Stopped" in line]
    lines = reported or [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip().split(": ", 1)[-1] if lines else type(error).__name__


def record_kept_shares(folder: SweepFolder, cache: Cache, variants: Sequence[Variant]) -> None:
    """Write down the share of latents that each rendered variant keeps, before it may be dropped."""
    kept_shares = folder.kept_shares()
    for variant in variants:
        share = kept_share(cache.storage, variant)
        if share is not None:
            kept_shares[variant.name] = share
    files.write_json(folder.kept, kept_shares)


def remove_variant(cache: Cache, variant: Variant) -> None:
    """Remove a rendered variant from the cache."""
    with locked(cache.storage):
        cache.storage.remove_variant(variant)
