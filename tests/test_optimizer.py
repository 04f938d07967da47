"""What all optimizers share: forms of parameters and gradients, groups, state, hooks, processes and threads."""

from __future__ import annotations

import array
import copy
import multiprocessing
import pickle
import threading

import numpy as np
import pytest
from cases import CASES
from ravine import config, nn, optim


def ones(*shapes, dtype=np.float64):
    return [np.ones(shape, dtype) for shape in shapes]


class TestFormsOfParameters:
    """The same arrays in every form give the same update, in the very arrays that were given."""

    def expected(self):
        return [-1.0, -1.0]

    @pytest.mark.parametrize(
        "form",
        [
            lambda a, b: [a, b],
            lambda a, b: (a, b),
            lambda a, b: iter([a, b]),
            lambda a, b: {"a": a, "b": b},
            lambda a, b: {"a": a, "b": b}.items(),
            lambda a, b: [("a", a), ("b", b)],
            lambda a, b: [{"params": [a]}, {"params": [b]}],
            lambda a, b: [{"params": {"a": a}}, {"params": b}],
            lambda a, b: [nn.Parameter(a), nn.Parameter(b, name="b")],
            lambda a, b: [nn.Parameter(a), b],
        ],
    )
    def test_in_place(self, form):
        a, b = np.zeros(2), np.zeros((2, 2))
        optim.SGD(form(a, b), lr=1).step(ones(2, (2, 2)))
        assert a.tolist() == [-1, -1]
        assert b.tolist() == [[-1, -1], [-1, -1]]

    def test_buffers(self):
        values, raw = array.array("f", [0, 0]), bytearray(8)
        view = memoryview(raw).cast("f")
        optim.SGD([values, view], lr=1).step(ones(2, 2, dtype=np.float32))
        assert list(values) == [-1, -1]
        assert view.tolist() == [-1, -1]

    def test_objects_with_data_and_grad(self):
        class Weight:
            def __init__(self):
                self.data, self.grad = np.zeros(2), np.ones(2)

        weight = Weight()
        optimizer = optim.SGD([weight], lr=1)
        optimizer.step()
        assert weight.data.tolist() == [-1, -1]
        optimizer.zero_grad()
        assert weight.grad.tolist() == [0, 0]
        optimizer.zero_grad(set_to_none=True)
        assert weight.grad is None
        weight.data = np.zeros(2)
        with pytest.raises(ValueError, match=r"the data of params\[0\] has been replaced"):
            optimizer.step()

    def test_memory_maps(self, tmp_path):
        path = tmp_path / "weights"
        np.zeros(4, np.float32).tofile(path)
        mapped = np.memmap(path, np.float32, "r+")
        optim.SGD([mapped], lr=1).step([np.ones(4, np.float32)])
        mapped.flush()
        assert np.fromfile(path, np.float32).tolist() == [-1] * 4
        with pytest.raises(ValueError, match=r"params\[0\] \(float32, shape \(4,\)\) is read-only"):
            optim.SGD([np.memmap(path, np.float32, "r")])

    def test_a_list_that_changes_while_it_is_read(self):
        class Growing:
            """A gradient that changes the list it is in when it is looked at."""

            def __init__(self, grads):
                self.grads, self.values = grads, np.ones(2)

            @property
            def __array_interface__(self):
                self.grads.clear()
                return self.values.__array_interface__

        a, b = np.zeros(2), np.zeros(2)
        grads = []
        grads += [Growing(grads), np.ones(2)]
        optim.SGD([a, b], lr=1).step(grads)
        assert (a.tolist(), b.tolist(), grads) == ([-1, -1], [-1, -1], [])

    def test_axes_of_length_one_and_empty_arrays(self):
        column = np.zeros((4, 1))[::2][:1]
        empty = np.zeros((0, 3))[:, ::2]
        optim.SGD([column, empty], lr=1).step([np.ones((1, 1)), column[1:].repeat(2, axis=1)])
        assert column.tolist() == [[-1]]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("order", ["C", "F"])
def test_memory_orders(case, order):
    """Parameters in either order with gradients in either order, of any strides, or read-only: the same values."""
    rng = np.random.default_rng(0)
    # Optimizers that look at matrices take no stacks of them in any order.
    shape = (3, 4) if case.matrices or case.optimizer is optim.Adafactor else (3, 4, 5)
    start, gradient = rng.standard_normal((2, *shape))
    padded = np.zeros((3, 8, *shape[2:]))
    padded[:, ::2] = gradient
    packed = np.zeros(gradient.nbytes + 1, np.uint8)[1:].view(np.float64).reshape(gradient.shape)
    packed[...] = gradient
    read_only = gradient.copy()
    read_only.flags.writeable = False
    forms = [gradient, np.asfortranarray(gradient), padded[:, ::2], gradient[::-1].copy()[::-1], packed, read_only]
    expected = start.copy()
    optimizer = case.optimizer([expected])
    for _ in forms:
        optimizer.step([gradient])
    p = np.array(start, order=order)
    optimizer = case.optimizer([p])
    for form in forms:
        optimizer.step([form])
    if order == "F" and (case.norms or case.matrices):
        np.testing.assert_allclose(p, expected, rtol=1e-13)
    else:
        np.testing.assert_array_equal(p, expected)
    assert p.flags.f_contiguous == (order == "F")
    for name, value in optimizer.state[p].items():
        assert np.isscalar(value) or value.flags.f_contiguous == (order == "F") or 1 in value.shape, name


class TestFormsOfGradients:
    def test_groups(self):
        a, b, c = np.zeros(1), np.zeros(1), np.zeros(1)
        groups = [{"params": {"a": a}}, {"params": {"b": b, "c": c}}]
        for grads in (
            ones(1, 1, 1),
            tuple(ones(1, 1, 1)),
            iter(ones(1, 1, 1)),
            [ones(1), ones(1, 1)],
            {"a": np.ones(1), "b": np.ones(1), "c": np.ones(1)},
            [{"a": np.ones(1)}, {"b": np.ones(1), "c": np.ones(1)}],
        ):
            for p in (a, b, c):
                p.fill(0)
            optim.SGD(groups, lr=1).step(grads)
            assert (a[0], b[0], c[0]) == (-1, -1, -1)

    def test_none_leaves_parameter_and_state_alone(self):
        a, b = np.zeros(2), np.zeros(2)
        optimizer = optim.Adam({"a": a, "b": b})
        optimizer.step({"a": np.ones(2), "b": None})
        assert not b.any()
        assert optimizer.state[b] == {}
        assert len(optimizer.state) == 1
        assert list(optimizer.state_dict()["state"]) == [0]
        optimizer.step([None, np.ones(2)])
        np.testing.assert_array_equal(a, b)
        assert optimizer.state[a]["step"] == optimizer.state[b]["step"] == 1

    def test_parameters_carry_gradients(self):
        p, frozen = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(2), requires_grad=False)
        optimizer = optim.SGD([p, frozen], lr=1)
        p.grad += 1
        optimizer.step()
        assert p.data.tolist() == [-1, -1]
        assert frozen.grad is None
        optimizer.zero_grad()
        assert p.grad.tolist() == [0, 0]
        optimizer.zero_grad(set_to_none=True)
        assert p.grad is None
        optimizer.step()
        assert p.data.tolist() == [-1, -1]
        p.grad = np.ones(2)
        optimizer.step()
        assert p.data.tolist() == [-2, -2]

    def test_zero_grad_replaces_a_read_only_gradient(self):
        p = nn.Parameter(np.zeros(2))
        gradient = np.ones(2)
        gradient.flags.writeable = False
        p.grad = gradient
        optim.SGD([p]).zero_grad()
        assert p.grad.tolist() == [0, 0]
        assert gradient.tolist() == [1, 1]


def test_parameter_behaves_like_its_array():
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    p = nn.Parameter(w, name="w")
    assert p.data is w
    assert (p.shape, p.ndim, p.size, p.dtype, len(p)) == ((2, 3), 2, 6, np.float32, 2)
    assert np.asarray(p) is w
    np.testing.assert_array_equal(np.ones((1, 2), np.float32) @ p, np.ones((1, 2), np.float32) @ w)
    assert np.array(p, np.float64).dtype == np.float64
    assert repr(p).startswith("Parameter(array") or "name='w'" in repr(p)
    fortran = nn.Parameter(np.zeros((2, 3), order="F"))
    assert fortran.grad.flags.f_contiguous


def test_parameters_may_share_a_name():
    """Layers call their parameters "weight" and "bias"; only gradients by name need to tell them apart."""
    first, second = nn.Parameter(np.zeros(1), name="weight"), nn.Parameter(np.zeros(1), name="weight")
    optimizer = optim.SGD([first, second], lr=1)
    optimizer.step(ones(1, 1))
    assert second.data.tolist() == [-1]
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(ValueError, match="grads is a dict, but two parameters are named 'weight'"):
        optimizer.step({"weight": np.ones(1)})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_states_hold_no_subnormals(case, dtype):
    """The means of a gradient that has become 0 go to 0, instead of staying where arithmetic is slow."""
    tiny = np.finfo(dtype).tiny
    for settings in case.configs:
        p = case.shaped(np.ones(40, dtype))
        optimizer = case.optimizer([p], **settings)
        optimizer.step([case.shaped(np.geomspace(float(tiny), 1, 40).astype(dtype))])
        for _ in range(50):
            optimizer.step([np.zeros_like(p)])
            for name, value in optimizer.state[p].items():
                assert np.isscalar(value) or not ((value != 0) & (np.abs(value) < tiny)).any(), name


class TestClosures:
    def test_by_position_and_by_name(self):
        p = nn.Parameter(np.zeros(1))
        optimizer = optim.SGD([p], lr=1)

        def closure():
            p.grad = p.data - 1
            return 0.5

        assert optimizer.step(closure) == 0.5
        assert optimizer.step(closure=closure) == 0.5
        assert optimizer.step() is None
        assert p.data.tolist() == [1]


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
        with pytest.raises(KeyError, match="lr"):
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestState:
    def train(self, optimizer, grads):
        for g in grads:
            optimizer.step([g[: p.size].reshape(p.shape).copy() for p in optimizer.param_groups[0]["params"]])

    @pytest.fixture
    def params(self, case):
        return lambda: [case.shaped(np.ones(5)), case.shaped(np.ones(2))]

    @pytest.fixture
    def grads(self):
        return np.random.default_rng(0).standard_normal((9, 5))

    @pytest.mark.parametrize("at", range(9))
    def test_resuming_is_exact(self, case, params, grads, at):
        for settings in case.configs:
            straight = params()
            self.train(case.optimizer(straight, **settings), grads)
            trained = params()
            first = case.optimizer(trained, **settings)
            self.train(first, grads[:at])
            saved = pickle.loads(pickle.dumps(first.state_dict()))
            resumed = [p.copy() for p in trained]
            second = case.optimizer(resumed)
            second.load_state_dict(saved)
            self.train(second, grads[at:])
            for p, q in zip(straight, resumed, strict=True):
                np.testing.assert_array_equal(p, q)

    def test_saved_state_is_a_copy(self, case, params, grads):
        trained = params()
        optimizer = case.optimizer(trained)
        self.train(optimizer, grads[:3])
        saved = optimizer.state_dict()
        kept = copy.deepcopy(saved)
        self.train(optimizer, grads[3:])
        np.testing.assert_equal(saved, kept)
        optimizer.load_state_dict(saved)
        self.train(optimizer, grads[3:])
        np.testing.assert_equal(saved, kept)

    @pytest.mark.parametrize("make", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"])
    def test_copies_go_on_alone(self, case, params, grads, make):
        trained = params()
        optimizer = case.optimizer(trained)
        optimizer.register_step_post_hook(lambda *args: None)
        self.train(optimizer, grads[:3])
        other = make(optimizer)
        theirs = [p.data for p in other.param_groups[0]["params"]]
        before = [p.copy() for p in trained]
        self.train(other, grads[3:])
        for p, q in zip(trained, before, strict=True):
            np.testing.assert_array_equal(p, q)
        self.train(optimizer, grads[3:])
        for p, q in zip(trained, theirs, strict=True):
            np.testing.assert_array_equal(p, q)

    def test_extra_keys_of_groups_come_back(self, case, params, grads):
        optimizer = case.optimizer(params())
        optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.5)
        other = case.optimizer(params())
        other.load_state_dict(optimizer.state_dict())
        assert other.param_groups[0]["initial_lr"] == optimizer.param_groups[0]["initial_lr"]
        assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_state_cannot_be_edited_by_accident():
    w = np.zeros(2)
    optimizer = optim.Adam([w])
    optimizer.step([np.ones(2)])
    with pytest.raises(TypeError, match="does not support item assignment"):
        optimizer.state[w]["exp_avg"] = np.zeros(2)
    with pytest.raises(KeyError, match="no parameter of this optimizer is that object"):
        optimizer.state[np.zeros(2)]
    assert list(optimizer.state) == optimizer.param_groups[0]["params"]
    assert "exp_avg" in repr(optimizer.state)


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


def step_in_child(connection, optimizer, w):
    if optimizer is None:
        optimizer = optim.SGD([w], lr=1)
    optimizer.step([np.ones_like(w)])
    connection.send(w.sum())


class TestProcessesAndThreads:
    N = 200_000

    @pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
    def test_a_child_can_step_after_a_parallel_step(self, method):
        config.set_num_threads(2)
        w = np.zeros(self.N, np.float32)
        optimizer = optim.SGD([w], lr=1)
        optimizer.step([np.ones_like(w)])
        context = multiprocessing.get_context(method)
        receive, send = context.Pipe()
        # A forked child goes on with the optimizer it inherits; the others start with arrays alone.
        child = context.Process(target=step_in_child, args=(send, optimizer if method == "fork" else None, w))
        child.start()
        try:
            assert receive.poll(60), "the child hangs"
            assert receive.recv() == -2 * self.N
        finally:
            child.kill()
            child.join()

    def test_threads_with_optimizers_of_their_own(self):
        rng = np.random.default_rng(0)
        grads = rng.standard_normal((20, 70_000))
        expected = np.zeros(70_000)
        alone = optim.Adam([expected])
        for g in grads:
            alone.step([g])
        params = [np.zeros(70_000) for _ in range(4)]

        def train(p):
            optimizer = optim.Adam([p])
            for g in grads:
                optimizer.step([g])

        threads = [threading.Thread(target=train, args=(p,)) for p in params]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for p in params:
            np.testing.assert_array_equal(p, expected)

    def test_two_threads_cannot_step_one_optimizer(self):
        inside, leave = threading.Event(), threading.Event()
        p = nn.Parameter(np.zeros(1))
        optimizer = optim.SGD([p], lr=1)

        def closure():
            inside.set()
            leave.wait(30)

        thread = threading.Thread(target=optimizer.step, kwargs={"closure": closure})
        thread.start()
        assert inside.wait(30)
        with pytest.raises(RuntimeError, match="in the middle of a step"):
            optimizer.step()
        leave.set()
        thread.join()
        optimizer.step()


def test_the_floating_point_mode_is_left_alone():
    """Denormals stay denormal after importing and stepping, in this thread."""
    w = np.full(200_000, 1e-310)
    optim.SGD([w], lr=0.0).step([np.zeros_like(w)])
    assert (w == 1e-310).all()
    assert np.float64(1e-310) * np.float64(0.5) != 0
