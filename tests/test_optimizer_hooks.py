"""Hooks around steps, saving and loading."""

from __future__ import annotations

import numpy as np
import pytest
from ravine import nn, optim


class TestHooks:
    def test_around_steps(self):
        calls = []
        w = np.zeros(1)
        optimizer = optim.SGD([w], lr=1)

        def double(opt, args, kwargs):
            calls.append("pre")
            grads, *rest = args
            return ([2 * g for g in grads], *rest), kwargs

        handle = optimizer.register_step_pre_hook(double)
        with optimizer.register_step_post_hook(lambda opt, args, kwargs: calls.append(w[0])):
            optimizer.step([np.ones(1)])
        assert calls == ["pre", -2]
        handle.remove()
        handle.remove()
        optimizer.step([np.ones(1)])
        assert calls == ["pre", -2]
        assert w[0] == -3

    def test_around_saving_and_loading(self):
        calls = []
        optimizer = optim.SGD([np.zeros(1)])
        optimizer.register_state_dict_pre_hook(lambda opt: calls.append("second"))
        optimizer.register_state_dict_pre_hook(lambda opt: calls.append("first"), prepend=True)
        optimizer.register_state_dict_post_hook(lambda opt, saved: {**saved, "extra": 1})
        optimizer.register_load_state_dict_pre_hook(
            lambda opt, saved: {key: value for key, value in saved.items() if key != "extra"}
        )
        optimizer.register_load_state_dict_post_hook(lambda opt: calls.append("loaded"))
        saved = optimizer.state_dict()
        assert saved["extra"] == 1
        optimizer.load_state_dict(saved)
        assert calls == ["first", "second", "loaded"]

    def test_a_step_inside_a_step_is_refused(self):
        optimizer = optim.SGD([np.zeros(1)], lr=1)
        optimizer.register_step_pre_hook(lambda opt, args, kwargs: opt.step([np.ones(1)]))
        with pytest.raises(RuntimeError, match=r"SGD.step: this optimizer is in the middle of a step"):
            optimizer.step([np.ones(1)])
        parameter = nn.Parameter(np.zeros(1))
        optimizer = optim.SGD([parameter], lr=1)
        with pytest.raises(RuntimeError, match="in the middle of a step"):
            optimizer.step(closure=optimizer.step)
        optimizer.step()


def test_a_hook_that_takes_itself_away():
    """And another that registers a hook: those of this step are as they were when it began."""
    calls = []
    optimizer = optim.SGD([np.zeros(1)])

    def once(*_):
        calls.append("once")
        handle.remove()
        optimizer.register_step_post_hook(lambda *_: calls.append("later"))

    handle = optimizer.register_step_post_hook(once)
    optimizer.register_step_post_hook(lambda *_: calls.append("always"))
    optimizer.step([np.ones(1)])
    assert calls == ["once", "always"]
    optimizer.step([np.ones(1)])
    assert calls == ["once", "always", "always", "later"]
