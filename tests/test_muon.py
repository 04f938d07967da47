"""Muon: matrices alone, products by NumPy, one step or none."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, id_of
from ravine import config, optim, reference
from ravine.optim import muon

CONFIGS = next(case.configs for case in CASES if case.optimizer is optim.Muon)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 3), (64, 64), (40, 300), (300, 40), (0, 4)], ids=str)
@pytest.mark.parametrize("settings", CONFIGS, ids=id_of)
def test_the_reference_up_to_rounding(settings, shape, dtype):
    rng = np.random.default_rng(0)
    p, *grads = rng.standard_normal((4, *shape)).astype(dtype)
    expected, state = p.copy(), {}
    optimizer = optim.Muon([p], **settings)
    for g in grads:
        optimizer.step([g])
        if p.size:
            reference.muon(expected, g, state, **settings)
    np.testing.assert_allclose(p, expected, rtol=0, atol=3e-5 if dtype == np.float32 else 1e-12)
    if p.size:
        np.testing.assert_array_equal(optimizer.state[p]["momentum_buffer"], state["momentum_buffer"])


def test_the_steps_are_nearly_orthogonal():
    w = np.zeros((20, 50))
    optim.Muon([w], lr=1, weight_decay=0).step([np.random.default_rng(0).standard_normal(w.shape)])
    values = np.linalg.svd(w, compute_uv=False)
    assert 0.6 < values.min() < values.max() < 1.3


def test_vectors_are_refused():
    with pytest.raises(ValueError, match=r"Muon: params\[1\] \(float64, shape \(3,\)\): expected a matrix. Give what"):
        optim.Muon([np.zeros((2, 2)), np.zeros(3)])


@pytest.mark.parametrize("threads", [1, 4])
def test_what_breaks_off_changes_nothing(monkeypatch, threads):
    """An interrupt during the products leaves step k, not half of step k + 1."""
    config.set_num_threads(threads)
    w = np.ones((200, 300))
    g = np.random.default_rng(0).standard_normal(w.shape)
    optimizer = optim.Muon([w])
    optimizer.step([g])
    before, saved = w.copy(), optimizer.state_dict()

    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(muon, "_make_orthogonal", interrupt)
        with pytest.raises(KeyboardInterrupt):
            optimizer.step([g])
    np.testing.assert_array_equal(w, before)
    np.testing.assert_equal(optimizer.state_dict(), saved)
    optimizer.step([g])


def test_settings_edited_later():
    """Every one is felt at the next step."""
    rng = np.random.default_rng(0)
    p, *grads = rng.standard_normal((4, 6, 4))
    expected, state = p.copy(), {}
    optimizer = optim.Muon([p])
    for g, edit in zip(
        grads, ({}, {"nesterov": False, "momentum": 0.5}, {"maximize": True, "ns_steps": 2}), strict=True
    ):
        optimizer.param_groups[0].update(edit)
        optimizer.step([g])
        settings = {key: optimizer.param_groups[0][key] for key in optimizer._checks}
        reference.muon(expected, g, state, **settings)
    np.testing.assert_allclose(p, expected, rtol=1e-12)


def test_torch_in_16_bits():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    p, *grads = rng.standard_normal((6, 30, 20))
    q = torch.nn.Parameter(torch.from_numpy(p.copy()))
    start = p.copy()
    theirs, ours = torch.optim.Muon([q], lr=0.1), optim.Muon([p], lr=0.1)
    for g in grads:
        q.grad = torch.from_numpy(g)
        theirs.step()
        ours.step([g])
    assert np.linalg.norm(p - q.detach().numpy()) < 0.02 * np.linalg.norm(p - start)
