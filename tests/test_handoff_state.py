"""Saving and loading a Handoff."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from handoffs import AT, GRADS, pair, run
from ravine import optim


class TestState:
    def test_what_is_saved(self):
        w = np.ones(5)
        handoff = optim.Handoff(pair(w), at=[AT])
        run(handoff, GRADS[:10])
        saved = handoff.state_dict()
        assert (saved["stage"], saved["steps"], saved["stage_steps"]) == (1, 10, 3)
        np.testing.assert_equal(saved["optimizers"], [optimizer.state_dict() for optimizer in handoff.optimizers])
        kept = copy.deepcopy(saved)
        run(handoff, GRADS[10:])
        np.testing.assert_equal(saved, kept)

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda s: {}, "it is not a dict with 'stage', 'steps', 'stage_steps', 'optimizers'"),
            (lambda s: {**s, "stage": 2}, "stage=2; expected one of 0 to 1"),
            (lambda s: {**s, "steps": -1}, "steps=-1; expected a whole number"),
            (lambda s: {**s, "optimizers": s["optimizers"][:1]}, "it has 1 optimizers; expected 2"),
            (
                lambda s: {**s, "optimizers": [s["optimizers"][0], {"state": {}}]},
                r"optimizers\[1\] \(SGD\): it is not a dict with 'state' and 'param_groups'",
            ),
            (
                lambda s: {**s, "optimizers": s["optimizers"][::-1]},
                r"optimizers\[0\] \(Adam\): .*\n  optimizers\[1\] \(SGD\): ",
            ),
        ],
    )
    def test_all_or_nothing(self, change, text):
        w = np.ones(5)
        handoff = optim.Handoff(pair(w), at=[AT])
        run(handoff, GRADS[:10])
        other = optim.Handoff(pair(w.copy()), at=[AT])
        run(other, GRADS[:2])
        before = pickle.dumps(other.state_dict())
        with pytest.raises(ValueError, match=rf"(?s)Handoff.load_state_dict: .* is unchanged:\n  .*{text}"):
            other.load_state_dict(change(handoff.state_dict()))
        assert pickle.dumps(other.state_dict()) == before
        assert other.stage == 0


@pytest.mark.parametrize("steps", [AT, AT + 2])
def test_whether_it_has_just_switched_is_saved(steps):
    """A schedule over it waits for the first step of a new stage, in a resumed run too."""
    handoffs = [optim.Handoff(pair(np.ones(5)), at=[AT]) for _ in range(2)]
    run(handoffs[0], GRADS[:steps])
    handoffs[1].load_state_dict(handoffs[0].state_dict())
    assert [handoff.has_just_switched for handoff in handoffs] == [steps == AT] * 2
