"""What is measured between two reports."""

import math

import numpy as np
import pytest

from mspfn_tf.training import NotFiniteError
from mspfn_tf.training import meter as meter_module
from mspfn_tf.training.meter import Meter


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(meter_module, "time", clock)
    return clock


def logs(loss, norm=1.0):
    return {"loss": np.float32(loss), "psnr": 20.0, "gradient_norm": norm}


def test_means_speed_and_waiting(clock):
    meter = Meter(batch_size=4, steps=20)
    clock.now += 50  # compiling
    meter.add(0, logs(3.0))
    meter.restart_clock()
    for step in (1, 2):
        with meter.waiting():
            clock.now += 0.5
        clock.now += 1.5
        meter.add(step, logs(step))
    report = meter.report(3)
    assert report["loss"] == 2.0 and report["step"] == 3
    assert report["patches_per_second"] == pytest.approx(2 * 4 / 4)
    assert report["waiting"] == pytest.approx(0.25)
    assert report["seconds_left"] == pytest.approx(17 * 2)
    meter.start()
    assert meter.report(3) == {}


def test_the_first_step_alone_has_no_speed(clock):
    meter = Meter(4, 20)
    meter.add(0, logs(1.0))
    meter.restart_clock()
    assert math.isnan(meter.report(1)["seconds_left"])


@pytest.mark.parametrize("bad", [logs(math.nan), logs(math.inf), logs(1.0, math.nan)])
def test_what_is_not_finite_names_its_step(bad):
    meter = Meter(4, 20)
    for step, each in ((6, logs(1.0)), (7, bad), (8, logs(1.0))):
        meter.add(step, each)
    with pytest.raises(NotFiniteError, match="at step 7") as error:
        meter.report(9)
    assert error.value.step == 7
