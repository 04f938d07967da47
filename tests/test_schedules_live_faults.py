"""What torch does wrong, where it is installed: whoever updates torch sees which faults are gone."""

from __future__ import annotations

import pytest
from schedule_cases import ravine_optimizer, ravine_schedules, sequence, torch_optimizer, torch_schedules
from schedule_helpers import quietly

torch = pytest.importorskip("torch")


class TestTorchStillDoesIt:
    """The faults that test_schedules_torch_faults.py shows the right values for."""

    def test_one_cycle(self):
        schedule = torch.optim.lr_scheduler.OneCycleLR(torch_optimizer(), 1, 10, anneal_strategy="linear")
        assert sequence(schedule, 11)[10][0] == pytest.approx(-0.14285, rel=1e-3)
        with pytest.raises(ZeroDivisionError):
            torch.optim.lr_scheduler.OneCycleLR(torch_optimizer(), 1, 10, pct_start=0.1)

    def test_warm_restarts(self):
        oracle = torch_optimizer()
        schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(oracle, 1, 3)
        quietly(schedule.step, 121)
        assert oracle.param_groups[0]["lr"] == pytest.approx(0, abs=1e-15)

    def test_negative_learning_rates(self):
        def chained(s, o):
            return s.ChainedScheduler([s.CosineAnnealingLR(o, 7, 0.01), s.StepLR(o, 5)])

        assert min(min(row) for row in sequence(chained(torch_schedules(), torch_optimizer()), 40)) < -0.001
        assert min(min(row) for row in sequence(chained(ravine_schedules(), ravine_optimizer()), 40)) == 0

    def test_compositions(self):
        s, o = torch_schedules(), torch_optimizer()
        with pytest.raises(NotImplementedError):
            sequence(s.SequentialLR(o, [s.StepLR(o, 3), s.ChainedScheduler([s.StepLR(o, 3)])], [2]), 5)
        with pytest.raises(ValueError, match="ReduceLROnPlateau"):
            s.SequentialLR(o, [s.StepLR(o, 3), s.ReduceLROnPlateau(o)], [2])
        s, o = torch_schedules(), torch_optimizer()
        first = sequence(s.SequentialLR(o, [s.ConstantLR(o, 0.5, 9), s.OneCycleLR(o, 0.75, 5)], [2]), 1)[0][0]
        assert first == 0.5 * 0.75 / 25

    def test_no_factor_and_no_steps(self):
        with pytest.raises(ZeroDivisionError):
            sequence(torch.optim.lr_scheduler.ConstantLR(torch_optimizer(), 0, 3), 5)
        assert sequence(torch.optim.lr_scheduler.ConstantLR(torch_optimizer(), 0.5, 0), 5)[4][0] == 0.025

    def test_a_new_cosine(self):
        oracle = torch_optimizer()
        sequence(torch.optim.lr_scheduler.CosineAnnealingLR(oracle, 5), 6)
        again = torch.optim.lr_scheduler.CosineAnnealingLR(oracle, 5)
        assert max(row[0] for row in sequence(again, 5)) == 0
