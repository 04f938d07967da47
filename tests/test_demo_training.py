"""The demo's data, its optimizers, and how it trains and evaluates."""

from __future__ import annotations

import numpy as np
import pytest
from ravine import nn, optim
from ravine.demo import digits, networks, training
from ravine.demo.networks import Design
from ravine.demo.training import OPTIMIZERS, Data, Run, default_lr, train
from ravine.optim.schedule_free import ScheduleFree

for extra in ("sklearn", "threadpoolctl"):
    pytest.importorskip(extra)

PLAIN = Design("mlp", batch_norm=False, dropout=0)
FULL = Design("mlp", batch_norm=True, dropout=0.2)


@pytest.fixture(autouse=True)
def one_blas_thread():
    """Train as fast as the command does where a test does without it."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield


def test_same_seed_same_result():
    def run(seed):
        result = Run("adam", 0.004, 32, FULL)
        network = train(digits.load(seed), result, epochs=1, seed=seed, on_epoch=lambda run: None)
        return result, network

    (first, network), (again, same), (other, _) = run(3), run(3), run(4)
    assert first.train_loss == again.train_loss
    assert first.held_out_accuracy == again.held_out_accuracy
    for a, b in zip(network.parameters(), same.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    assert first.train_loss != other.train_loss


def test_batch_norm_and_dropout_learn_in_training_and_rest_in_evaluation(monkeypatch):
    data = digits.load(0)
    seen = []
    monkeypatch.setattr(training, "accuracy", lambda logits, labels: seen.append(network.training) or 0.0)

    def build(self, rng):
        nonlocal network
        network = original(self, rng)
        return network

    network, original = None, Design.build
    monkeypatch.setattr(Design, "build", build)
    trained = train(data, Run("adam", 0.004, 100, FULL), epochs=2, seed=0, on_epoch=lambda run: None)
    assert trained is network
    assert seen == [False] * 6
    assert not any(layer.training for layer in trained.layers)
    steps = 2 * (len(data.X) // 100)
    norms = [layer for layer in trained.layers if isinstance(layer, nn.BatchNorm1d)]
    assert [norm.num_batches_tracked for norm in norms] == [steps, steps]
    np.testing.assert_array_equal(trained(data.X[:5]), trained(data.X[:5]))
    np.testing.assert_allclose(trained(data.X[:5]), trained(data.X)[:5], rtol=1e-4, atol=1e-5)
    assert not np.array_equal(trained.train()(data.X[:5]), trained(data.X[:5]))


def test_the_share_of_the_layers_is_theirs_alone(monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(networks.time, "perf_counter", lambda: next(clock))  # each look takes a second
    data = Data(*[array[:64] for array in digits.load(0)])
    for design, layers in ((PLAIN, 0), (FULL, 4), (Design("cnn", batch_norm=True, dropout=0.2), 4)):
        run = Run("sgd", 0.1, 16, design)
        train(data, run, epochs=2, seed=0, on_epoch=lambda run: None)
        assert run.steps == 4
        assert run.layer_seconds == [4 * 2 * layers] * 2  # forward and backward
        assert run.step_seconds == [4 * 2] * 2  # before and after the closure
        assert 0 < run.step_share + run.layer_share < 1


def test_data():
    data = digits.load(0)
    assert data.X.dtype == data.X_held_out.dtype == np.float32
    assert len(data.X) + len(data.X_held_out) == 1797
    assert len(data.X_held_out) == 360
    assert data.X.min() == 0
    assert data.X.max() == 1
    assert np.bincount(data.y_held_out).min() >= 35


def test_the_schedule_is_stepped_once_an_epoch():
    rng = np.random.default_rng(0)
    data = Data(*(rng.random((8, 64), np.float32), rng.integers(0, 10, 8)) * 2)
    run = Run("sgd", 0.1, 3, PLAIN)
    seen = []
    train(data, run, epochs=4, seed=0, on_epoch=lambda run: seen.append(run.epochs))
    assert seen == [1, 2, 3, 4]
    np.testing.assert_allclose(run.lrs, 0.1 * 0.9 ** np.arange(4))
    assert len(run.train_loss) == len(run.train_accuracy) == len(run.held_out_loss) == len(run.held_out_accuracy) == 5
    assert run.steps == 2
    assert 0 < run.step_share < 1


def test_every_public_optimizer_is_compared():
    classes = {name: value for name, value in vars(optim).items() if isinstance(value, type)}
    public = {name for name, value in classes.items() if issubclass(value, optim.Optimizer)} - {"Optimizer"}
    params = [("w", nn.Parameter(np.zeros((1, 1)))), ("b", nn.Parameter(np.zeros(1)))]
    made = [choice.make(params, choice.lr)[0] for choice in OPTIMIZERS.values()]
    assert {type(optimizer).__name__ for optimizer in made} == public


def test_an_optimizer_that_nobody_tuned_has_its_own_learning_rate():
    families = {title: dict(family) for title, family in training.TUNED.items()}
    del families["After Adam"]["adabelief"], families["Gradients and their signs"]["muon"]
    ((title, found),) = training.others(families).items()
    assert title == "Others, not tuned"
    assert found["adabelief"] == training.Choice(optim.AdaBelief, 0.001, {})
    assert found["muon"] == training.Choice(optim.Muon, 0.001, {}, others="adamw")
    assert not {"sgd", "lbfgs", "sparseadam"} & found.keys()


def test_adam_hands_over_to_sgd():
    handoff = OPTIMIZERS["adam-then-sgd"].optimizer([np.zeros(1)], lr=0.004, **OPTIMIZERS["adam-then-sgd"].options)
    assert [type(optimizer) for optimizer in handoff.optimizers] == [optim.Adam, optim.SGD]
    assert [optimizer.defaults["lr"] for optimizer in handoff.optimizers] == [0.004, 0.05]
    assert handoff.at == [2 * (1437 // 32)]


def test_schedule_free_optimizers_are_evaluated_at_the_average(monkeypatch):
    calls = []
    for name in ("train", "eval"):
        turn = getattr(ScheduleFree, name)
        monkeypatch.setattr(ScheduleFree, name, lambda self, name=name, turn=turn: (calls.append(name), turn(self)))
    monkeypatch.setattr(
        training, "_evaluate", lambda network, data, run, averages: (calls.append("?"), run.train_loss.append(0.0))
    )
    rng = np.random.default_rng(0)
    data = Data(*(rng.random((8, 64), np.float32), rng.integers(0, 2, 8)) * 2)
    design = Design("mlp", batch_norm=False, dropout=0)
    train(data, Run("sgd-schedule-free", 0.1, 3, design), epochs=2, seed=0, on_epoch=lambda run: None)
    assert calls == ["?", "train", "eval", "?", "train", "eval", "?"]


@pytest.fixture
def after_each_step(monkeypatch):
    """Return a list of what to call after each step, with the network and the record."""
    watchers = []

    def step(network, run, optimizers, evaluation):
        original(network, run, optimizers, evaluation)
        for watch in watchers:
            watch(network, run)

    original = training._step
    monkeypatch.setattr(training, "_step", step)
    return watchers


@pytest.mark.parametrize("name", ["adam", "muon", "adam-then-sgd"])
def test_averaged_weights_are_evaluated_beside_the_others(name, after_each_step):
    data = digits.load(0)
    lr = OPTIMIZERS[name].lr
    plain = Run(name, lr, 100, FULL)
    train(data, plain, epochs=2, seed=0, on_epoch=lambda run: None)

    average = None
    seen = 0

    def watch(network, run):
        nonlocal average, seen
        params = [p.data.astype(np.float64) for p in network.parameters()]
        share = 1 - min(0.9, (1 + seen) / (10 + seen)) if seen else 1.0
        average = [a + share * (p - a) for a, p in zip(average or params, params, strict=True)]
        seen += 1

    after_each_step.append(watch)
    run = Run(name, lr, 100, FULL, ema=0.9)
    network = train(data, run, epochs=2, seed=0, on_epoch=lambda run: None)
    assert (run.train_loss, run.held_out_loss) == (plain.train_loss, plain.held_out_loss)

    for p, a in zip(network.parameters(), average, strict=True):
        p.data[...] = a
    norms = [layer for layer in network.layers if isinstance(layer, nn.BatchNorm1d)]
    optim.swa_utils.update_bn([data.X], network, norms)
    logits = network(data.X_held_out)
    assert run.ema_loss[-1] == pytest.approx(training.softmax_cross_entropy(logits, data.y_held_out)[0], rel=1e-4)
    assert run.ema_accuracy[-1] == pytest.approx(training.accuracy(logits, data.y_held_out), abs=0.003)
    assert len(run.ema_loss) == len(run.ema_accuracy) == 3
    assert run.ema_loss[-1] != run.held_out_loss[-1]


@pytest.mark.parametrize("name", ["sgd", "adam", "muon"])
def test_norms_and_clipped_steps_are_written_down(name, after_each_step):
    expected = []

    def watch(network, run):
        gradients = np.concatenate([p.grad.ravel() for p in network.parameters()])
        expected.append(np.linalg.norm(gradients.astype(np.float64)))
        if name == "sgd":
            moved = np.concatenate([p.data.ravel() for p in network.parameters()]) - before[-1]
            np.testing.assert_allclose(
                np.linalg.norm(moved), 0.2 * min(run.clip_norm, expected[-1]), rtol=1e-3, err_msg=str(len(expected))
            )
        before.append(np.concatenate([p.data.ravel() for p in network.parameters()]))

    after_each_step.append(watch)
    before = [np.concatenate([p.data.ravel() for p in FULL.build(np.random.default_rng(0).spawn(2)[0]).parameters()])]
    run = Run(name, OPTIMIZERS[name].lr, 100, FULL, clip_norm=1.5)
    train(digits.load(0), run, epochs=1, seed=0, on_epoch=lambda run: None)
    np.testing.assert_allclose(run.norms, expected, rtol=1e-5)
    np.testing.assert_allclose(run.clip_coefficients, np.minimum(1, 1.5 / (np.array(expected) + 1e-6)), rtol=1e-5)
    assert run.clipped == [norm > 1.5 for norm in expected]
    assert len(run.norms) == run.steps == 14
    assert 0 < sum(run.clipped) < 14


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_clips_and_averages_or_says_why_not(name):
    data = Data(*[array[:64] for array in digits.load(0)])
    clips = training.refusal(name, lambda each: each.step(lambda: 0.0, max_norm=1.0)) is None
    averages = training.refusal(name, optim.swa_utils.ExponentialMovingAverage) is None
    assert clips == (name != "lbfgs")
    assert averages == (clips and not name.endswith("schedule-free"))
    run = Run(name, 1e-3, 16, PLAIN, 0.1 if clips else None, 0.9 if averages else None)
    train(data, run, epochs=1, seed=0, on_epoch=lambda run: None)
    assert len(run.norms) == (4 if clips else 0)
    assert len(run.ema_loss) == (2 if averages else 0)


def test_default_lr_grows_with_the_batch():
    assert default_lr("adam", 32, 1437) == 0.004
    assert default_lr("adam", 1, 1437) < 0.004 < default_lr("adam", None, 1437)
    assert default_lr("adam", None, 10) == default_lr("adam", 10, 1437)
    assert default_lr("lbfgs", 32, 1437) < default_lr("lbfgs", None, 1437) == 1


@pytest.mark.parametrize("seed", range(5))
def test_lbfgs_reaches_90_percent_in_few_epochs(seed):
    run = Run("lbfgs", 1.0, None, PLAIN)
    train(digits.load(seed), run, epochs=5, seed=seed, on_epoch=lambda run: None)
    assert run.steps == 1
    assert run.held_out_accuracy[-1] > 0.9


def test_all_evaluations_of_a_step_drop_the_same():
    network = FULL.build(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    optimizer = optim.SGD(network.named_parameters())
    X, y = rng.random((32, 64), np.float32), rng.integers(0, 10, 32)
    first, second = training.Evaluation(network, [optimizer], X, y), training.Evaluation(network, [optimizer], X, y)
    loss = first()
    assert first() == loss
    assert training.Evaluation(network, [optimizer], X, y)() != loss
    assert second() == loss
    assert first.seconds > 0
