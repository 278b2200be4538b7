"""Sample how busy a GPU is while something runs on it."""

import statistics
import threading

import torch

INTERVAL = 0.1
"""Seconds between two samples; NVIDIA's driver gives the share of its own last interval."""


class BusyShare:
    """Samples, from start to stop, the share of the time in which a GPU computes anything, as nvidia-smi shows it."""

    def __init__(self, device: torch.device):
        self._device = device
        self._samples: list[int] = []
        self._problem = "" if device.type == "cuda" else "no GPU"
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to sample, in a thread."""
        if not self._problem:
            self._thread = threading.Thread(target=self._sample, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Sample no longer."""
        self._end.set()
        if self._thread:
            self._thread.join()

    def share(self) -> float | str:
        """Return the mean of the samples, 0 to 1, or why there are none."""
        return statistics.mean(self._samples) / 100 if self._samples else self._problem or "no sample"

    def _sample(self) -> None:
        while not self._end.wait(INTERVAL):
            try:
                self._samples.append(torch.cuda.utilization(self._device))
            except Exception as error:  # NVIDIA's library is missing, or refuses; the speed is measured all the same.
                self._problem = f"{type(error).__name__}: {error}"
                return
