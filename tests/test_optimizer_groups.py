"""Parameter groups and their hyper-parameters."""

from __future__ import annotations

import numpy as np
import pytest
from arrays import ones
from ravine import optim


class TestGroups:
    def test_hyperparameters_of_their_own(self):
        a, b, c = np.zeros(1), np.zeros(1), np.zeros(1)
        optimizer = optim.SGD([{"params": [a], "lr": 1}, {"params": [b]}], lr=2)
        optimizer.add_param_group({"params": c, "lr": 3, "name": "late"})
        optimizer.step(ones(1, 1, 1))
        assert (a[0], b[0], c[0]) == (-1, -2, -3)
        optimizer.param_groups[0]["lr"] = np.float32(10)
        optimizer.step([np.ones(1), None, None])
        assert a[0] == -11
        assert optimizer.param_groups[2]["name"] == "late"
        assert optimizer.defaults["lr"] == 2

    def test_every_change_of_a_hyperparameter_counts(self):
        """However it is spelled: the compiled part compares them with those it has."""
        p = np.zeros(1)
        optimizer = optim.Adam([p], lr=1, eps=0)
        (group,) = optimizer.param_groups
        changes = [{"lr": 2}, {"lr": np.float32(3)}, {"betas": [0.0, 0.0]}, {"maximize": True}, {"eps": 0, "lr": 0.5}]
        for change in changes:
            group.update(change)
            before = p[0]
            optimizer.step([np.ones(1)])
            sign = 1 if group["maximize"] else -1
            np.testing.assert_allclose(p[0] - before, sign * float(group["lr"]), rtol=1e-12, err_msg=str(change))
        del group["lr"]
        with pytest.raises(ValueError, match="Adam: the group has no lr; set group"):
            optimizer.step([np.ones(1)])

    def test_groups_replaced_as_a_whole(self):
        p = np.zeros(1)
        optimizer = optim.SGD([p], lr=1)
        optimizer.step([np.ones(1)])
        optimizer.param_groups = ({**optimizer.param_groups[0], "lr": 2},)
        optimizer.step([np.ones(1)])
        assert p.tolist() == [-3]

    def test_adding_keeps_the_state(self):
        rng = np.random.default_rng(0)
        grads = rng.standard_normal((6, 3))
        expected, p = np.zeros(3), np.zeros(3)
        alone, grown = optim.Adam([expected]), optim.Adam([p])
        for t, g in enumerate(grads):
            if t == 3:
                grown.add_param_group({"params": [np.zeros(2)], "lr": 0.5})
            alone.step([g])
            grown.step([g] if t < 3 else [g, np.ones(2)])
        np.testing.assert_array_equal(p, expected)

    def test_rules_may_change_between_steps(self):
        """Momentum switched on later starts as at a first step: the gradient goes in undamped."""
        p = np.zeros(1)
        optimizer = optim.SGD([p], lr=1)
        optimizer.step([np.ones(1)])
        optimizer.param_groups[0].update(momentum=0.5, dampening=0.5)
        optimizer.step([np.ones(1)])
        assert optimizer.state[p]["momentum_buffer"].tolist() == [1]
        optimizer.step([np.ones(1)])
        assert optimizer.state[p]["momentum_buffer"].tolist() == [1]
        assert p.tolist() == [-3]
        optimizer = optim.Adam([p])
        optimizer.step([np.ones(1)])
        optimizer.param_groups[0]["amsgrad"] = True
        optimizer.step([np.ones(1)])
        assert set(optimizer.state[p]) == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
        assert optimizer.state[p]["step"] == 2

    def test_repr(self):
        optimizer = optim.SGD([np.zeros(1)], lr=0.5, momentum=0.9)
        assert repr(optimizer) == (
            "SGD (\nParameter Group 0\n    dampening: 0.0\n    lr: 0.5\n    maximize: False\n    momentum: 0.9\n"
            "    nesterov: False\n    weight_decay: 0.0\n)"
        )


def test_a_saved_state_names_the_parameters_of_each_group_once():
    optimizer = optim.SGD(
        [{"params": [np.zeros(1)]}, {"params": [np.zeros(1), np.zeros(1)]}, {"params": [np.zeros(1)]}]
    )
    assert [group["params"] for group in optimizer.state_dict()["param_groups"]] == [[0], [1, 2], [3]]
