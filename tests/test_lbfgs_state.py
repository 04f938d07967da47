"""The state of LBFGS: saving and resuming, copies, hooks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import id_of
from closure_cases import CLOSURE_CASES
from lbfgs_steps import START, closure_of, everything
from ravine import optim


@pytest.mark.parametrize("config", CLOSURE_CASES[0].configs, ids=id_of)
@pytest.mark.parametrize("at", range(4))
def test_resuming_is_exact(config, at):
    straight, x = START.copy(), START.copy()
    whole, first = optim.LBFGS([straight], **config), optim.LBFGS([x], **config)
    for _ in range(4):
        whole.step(closure_of(straight))
    for _ in range(at):
        first.step(closure_of(x))
    saved = pickle.loads(pickle.dumps(first.state_dict()))
    y = x.copy()
    second = optim.LBFGS([y])
    second.load_state_dict(saved)
    assert second.has_stepped == (at > 0)
    np.testing.assert_equal(second.state_dict(), saved)
    for _ in range(4 - at):
        second.step(closure_of(y))
    np.testing.assert_array_equal(y, straight)
    np.testing.assert_equal(second.state_dict(), whole.state_dict())


class TestState:
    @pytest.fixture
    def stepped(self):
        x = START.copy()
        optimizer = optim.LBFGS([x], history_size=5, line_search_fn="strong_wolfe")
        optimizer.step(closure_of(x))
        return optimizer, x

    def test_plain_arrays_and_numbers(self, stepped):
        optimizer, x = stepped
        saved = optimizer.state_dict()
        assert list(saved["state"]) == [0]
        kinds = {name: type(value) for name, value in saved["state"][0].items()}
        numbers = {"func_evals": int, "n_iter": int, "t": float, "H_diag": float, "prev_loss": float}
        assert kinds == {**numbers, **dict.fromkeys(("d", "old_dirs", "old_stps", "ro", "prev_flat_grad"), np.ndarray)}
        assert saved["state"][0]["old_dirs"].shape == (5, 10)
        kept = copy.deepcopy(saved)
        optimizer.step(closure_of(x))
        np.testing.assert_equal(saved, kept)

    def test_a_saved_state_that_does_not_fit(self, stepped):
        optimizer, x = stepped
        saved = optimizer.state_dict()

        def broken(**changes):
            entry = {name: value for name, value in {**saved["state"][0], **changes}.items() if value is not None}
            return {**saved, "state": {0: entry}}

        state = saved["state"][0]
        cases = [
            (broken(d=None), "state 'd' is missing"),
            (broken(d=state["d"][:9]), r"state 'd' is float64, shape \(9,\); expected float64, shape \(10,\)"),
            (broken(old_dirs=state["old_dirs"].astype("f4")), r"state 'old_dirs'\[0\] is float32, shape \(10,\)"),
            (broken(ro=state["ro"][:3]), "'old_dirs', 'old_stps' and 'ro' have 5, 5 and 3 entries"),
            (broken(n_iter=-1), "state 'n_iter'=-1; expected a whole number"),
            (broken(t="far"), "state 't'='far' is a str; expected a number"),
            (broken(momentum_buffer=state["d"]), "LBFGS keeps no state 'momentum_buffer'"),
            ({**saved, "state": {0: state, 1: state}}, "it has a state for parameter 1; LBFGS keeps all under 0"),
            ({**saved, "param_groups": [{**saved["param_groups"][0], "lr": -1}]}, "lr=-1 is negative"),
            ({"state": {}}, "it is not a dict with 'state' and 'param_groups'"),
        ]
        other = optim.LBFGS([x.copy()])
        before = everything(other)
        for state_dict, text in cases:
            with pytest.raises(ValueError, match=rf"(?s)LBFGS.load_state_dict: .* is unchanged:.*{text}"):
                other.load_state_dict(state_dict)
            assert everything(other) == before

    @pytest.mark.parametrize("make", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"])
    def test_copies_go_on_alone(self, stepped, make):
        optimizer, x = stepped
        other = make(optimizer)
        (theirs,) = (p.data for p in other.param_groups[0]["params"])
        before = x.copy()
        for _ in range(2):
            other.step(closure_of(theirs))
        np.testing.assert_array_equal(x, before)
        for _ in range(2):
            optimizer.step(closure_of(x))
        np.testing.assert_array_equal(x, theirs)

    def test_repr(self):
        assert repr(optim.LBFGS([np.zeros(1)])) == (
            "LBFGS (\nParameter Group 0\n    history_size: 100\n    line_search_fn: None\n    lr: 1.0\n"
            "    max_eval: 25\n    max_iter: 20\n    tolerance_change: 1e-09\n    tolerance_grad: 1e-07\n)"
        )

    def test_hooks(self, stepped):
        optimizer, x = stepped
        calls = []
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: calls.append("before"))
        optimizer.register_step_post_hook(lambda opt, args, kwargs: calls.append("after"))
        optimizer.register_load_state_dict_post_hook(lambda opt: calls.append("loaded"))
        optimizer.step(closure=closure_of(x))
        optimizer.load_state_dict(optimizer.state_dict())
        assert calls == ["before", "after", "loaded"]

    def test_schedules_drive_it(self, stepped):
        optimizer, x = stepped
        schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
        for _ in range(4):
            optimizer.step(closure_of(x))
            schedule.step()
        assert optimizer.param_groups[0]["lr"] == 0
        assert np.isfinite(x).all()
