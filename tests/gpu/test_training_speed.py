"""What is measured of training: steady steps of one epoch, with a loader and without it."""

import pytest

from tests.gpu import training_speed
from tests.gpu.parts import Place

pytestmark = pytest.mark.slow  # It makes a cache by the real commands, each of which starts Ray.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    work = tmp_path_factory.mktemp("speed")
    return Place(work, work, "cpu", tiny=True)


def test_all_steps_are_of_one_epoch_and_a_run_after_another_begins_anew(place: Place) -> None:
    settings, clips = training_speed.opened(place, {"alpha": [0.5]})
    assert len(clips) // settings.batch > training_speed.steps_of(place)
    assert clips[len(clips) - 1]
    for _ in range(2):
        found = training_speed.with_loader(place, {"alpha": [0.5]})
        assert found["clips/s"] > 0 and found["steps counted"] == training_speed.steps_of(place) - 1
        assert found["GPU busy, share"] == "no GPU"


def test_a_step_without_a_loader_is_measured_however_weights_lie(place: Place) -> None:
    for channels_last in (True, False):
        found = training_speed.varied(place, {"alpha": [0.5]}, channels_last, benchmark=not channels_last)
        assert found["clips/s"] == pytest.approx(1000 * 4 / found["step, ms"])
