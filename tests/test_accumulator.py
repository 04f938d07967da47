"""Micro-batches: as one step with all of them, whatever comes between."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from ravine import checkpoint, nn, optim
from test_engine_interrupted import Interrupting

SHAPES = [(3, 4), (5,)]
RNG = np.random.default_rng(14)
GRADS = [[RNG.standard_normal(shape) for shape in SHAPES] for _ in range(12)]


def arrays(dtype=np.float64):
    return [np.linspace(-1, 1, int(np.prod(shape)), dtype=dtype).reshape(shape) for shape in SHAPES]


def adam(params):
    return optim.Adam([{"params": params[:1]}, {"params": params[1:], "lr": 0.1}])


def bits(params, optimizer):
    return pickle.dumps(([p.tobytes() for p in params], optimizer.state_dict()))


def sums(grads):
    total = [np.zeros(shape, g.dtype) for shape, g in zip(SHAPES, grads[0], strict=True)]
    for each in grads:
        total = [t + g for t, g in zip(total, each, strict=True)]
    return total


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("every", [1, 3, 4])
def test_the_sum_is_one_step_with_the_sum_bit_for_bit(every, dtype):
    grads = [[g.astype(dtype) for g in each] for each in GRADS]
    ours, theirs = arrays(dtype), arrays(dtype)
    a, b = adam(ours), adam(theirs)
    acc = optim.Accumulator(a, every, average=False)
    made = [acc.step(each) for each in grads]
    assert made == [(i + 1) % every == 0 for i in range(len(grads))]
    for i in range(0, len(grads), every):
        b.step(sums(grads[i : i + every]))
    assert bits(ours, a) == bits(theirs, b)


def test_the_mean_is_one_step_with_the_mean():
    ours, theirs = arrays(), arrays()
    a, b = adam(ours), adam(theirs)
    acc = optim.Accumulator(a, every=3)
    for i in range(0, 12, 3):
        for each in GRADS[i : i + 3]:
            acc.step(each)
        b.step([total / 3 for total in sums(GRADS[i : i + 3])])
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-12, atol=0)


def test_the_options_are_those_of_the_step_and_the_norm_that_of_the_mean():
    ours, theirs = arrays(), arrays()
    a, b = adam(ours), adam(theirs)
    acc = optim.Accumulator(a, every=2)
    given = [[8 * g for g in GRADS[0]], GRADS[1]]  # the first of a scaled loss
    for each, scale in zip(given, (8.0, None), strict=True):
        acc.step(each, grad_scale=scale, max_norm=0.5, max_value=0.2)
    b.step([total / 2 for total in sums(GRADS[:2])], max_norm=0.5, max_value=0.2)
    assert a.last_step.norm == pytest.approx(b.last_step.norm, rel=1e-14)
    assert a.last_step.clip_coefficient < 1
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p, q, rtol=1e-12, atol=0)


def test_flush_takes_the_mean_of_what_there_is():
    ours, theirs = arrays(), arrays()
    a, b = adam(ours), adam(theirs)
    acc = optim.Accumulator(a, every=4)
    assert acc.flush() is False
    assert a.last_step is None
    for each in GRADS[:2]:
        acc.step(each)
    assert acc.pending == 2
    assert acc.flush(max_value=10.0) is True
    b.step(sums(GRADS[:2]), grad_scale=2.0)
    assert bits(ours, a) == bits(theirs, b)
    assert acc.pending == 0
    assert acc.flush() is False
    assert bits(ours, a) == bits(theirs, b)


def test_every_form_of_gradients():
    start = arrays()
    results = []
    for form in ("list", "tuple", "groups", "dict", "grad"):
        ours = [nn.Parameter(p.copy(), name) for p, name in zip(start, "wb", strict=True)]
        opt = adam(ours)
        acc = optim.Accumulator(opt, every=2)
        for w, b in GRADS[:4]:
            if form == "grad":
                for p, g in zip(ours, (w, b), strict=True):
                    p.grad = g.copy()
                acc.step(zero_grad=True)
                assert all(not p.grad.any() for p in ours)
            else:
                grads = {"list": [w, b], "tuple": (w, b), "groups": [[w], {"b": b}], "dict": {"b": b, "w": w}}
                acc.step(grads[form])
        results.append(bits([p.data for p in ours], opt))
    assert len(set(results)) == 1


def test_a_parameter_without_gradients_does_not_move_and_one_with_some_does():
    ours = arrays()
    opt = adam(ours)
    acc = optim.Accumulator(opt, every=2)
    before = ours[1].copy()
    for each in GRADS[:2]:
        acc.step([each[0], None])
    np.testing.assert_array_equal(ours[1], before)
    assert len(opt.state) == 1
    acc.step([None, GRADS[2][1]])
    acc.step([GRADS[3][0], None])
    assert [opt.state[p]["step"] for p in ours] == [2, 1]


def test_zeros_do_not_stay_of_a_window_before():
    """The sums are zeroed in the pass of the step, also where it is skipped."""
    ours, theirs = arrays(), arrays()
    a, b = adam(ours), adam(theirs)
    acc = optim.Accumulator(a, every=2, average=False)
    bad = [GRADS[0][0], np.full(5, np.inf)]
    assert acc.step(GRADS[0], skip_nonfinite=True) is False
    assert acc.step(bad, skip_nonfinite=True) is False
    assert (a.last_step.applied, a.last_step.skipped, acc.pending) == (False, 1, 0)
    assert bits(ours, a) == bits(theirs, b)
    for each in GRADS[2:4]:
        acc.step(each, skip_nonfinite=True)
    b.step(sums(GRADS[2:4]))
    assert bits(ours, a) == bits(theirs, b)


def test_schedules_count_steps_of_the_optimizer():
    opt = optim.SGD(arrays(), lr=1.0)
    schedule = optim.lr_scheduler.ExponentialLR(opt, gamma=0.5)
    acc = optim.Accumulator(opt, every=4)
    for each in GRADS[:8]:
        if acc.step(each):
            schedule.step()
    assert opt.param_groups[0]["lr"] == 0.25


def test_over_a_handoff():
    def make(params):
        return optim.Handoff([optim.Adam(params), optim.SGD(params, lr=0.1, momentum=0.9)], at=[2])

    ours, theirs = arrays(), arrays()
    a, b = make(ours), make(theirs)
    acc = optim.Accumulator(a, every=3, average=False)
    made = [acc.step(each) for each in GRADS]
    for i in range(0, 12, 3):
        b.step(sums(GRADS[i : i + 3]))
    assert made == [False, False, True] * 4
    assert (a.stage, a.steps) == (b.stage, b.steps) == (1, 4)
    assert bits(ours, a) == bits(theirs, b)


def test_a_group_that_is_added_in_the_middle():
    ours, theirs = arrays(), arrays()
    a, b = (optim.SGD(params[:1], lr=0.1) for params in (ours, theirs))
    acc = optim.Accumulator(a, every=2, average=False)
    acc.step(GRADS[0][:1])
    a.add_param_group({"params": ours[1:]})
    b.add_param_group({"params": theirs[1:]})
    assert acc.step(GRADS[1])
    b.step([sums(GRADS[:2])[0], GRADS[1][1]])
    assert bits(ours, a) == bits(theirs, b)


class TestSparse:
    SHAPE = (6, 2)

    def grads(self, n):
        rng = np.random.default_rng(n)
        rows = rng.integers(0, 6, 4)
        return optim.SparseGrad(rows, rng.standard_normal((4, 2)), self.SHAPE)

    @pytest.mark.parametrize("kind", [optim.SGD, optim.Adagrad, optim.SparseAdam])
    def test_all_rows_together(self, kind):
        ours, theirs = np.ones(self.SHAPE), np.ones(self.SHAPE)
        a, b = kind([ours], lr=0.1), kind([theirs], lr=0.1)
        acc = optim.Accumulator(a, every=3, average=False)
        for window in (0, 3):
            parts = [self.grads(window + i) for i in range(3)]
            for part in parts:
                scaled = optim.SparseGrad(part.rows, 4 * part.values, self.SHAPE)
                acc.step([scaled], grad_scale=4.0)
                scaled.values[...] = np.nan  # what has been added is a copy
            b.step([parts[0] + parts[1] + parts[2]])
            assert bits([ours], a) == bits([theirs], b)

    def test_only_named_rows_are_touched(self):
        w = np.ones(self.SHAPE)
        acc = optim.Accumulator(optim.SparseAdam([w]), every=2)
        for row in (1, 4):
            acc.step([optim.SparseGrad(np.array([row]), np.ones((1, 2)), self.SHAPE)])
        assert (w != 1).any(axis=1).tolist() == [False, True, False, False, True, False]

    @pytest.mark.parametrize("sparse_first", [True, False])
    def test_one_kind_until_the_step(self, sparse_first):
        w = np.ones(self.SHAPE)
        acc = optim.Accumulator(optim.SGD([w], lr=0.1), every=2)
        kinds = [self.grads(0), np.ones(self.SHAPE)]
        first, second = kinds if sparse_first else kinds[::-1]
        acc.step([first])
        saved = pickle.dumps(acc.state_dict())
        with pytest.raises(ValueError, match=r"Accumulator: params\[0\]: its gradient is .*to_dense"):
            acc.step([second])
        assert pickle.dumps(acc.state_dict()) == saved
        assert acc.step([first])
        acc.step([second])  # the next window is another

    def test_what_does_not_fit(self):
        acc = optim.Accumulator(optim.SGD([np.ones(self.SHAPE)], lr=0.1), every=2)
        with pytest.raises(ValueError, match=r"params\[0\]: its gradient is SparseGrad of float32"):
            acc.step([optim.SparseGrad(np.array([1]), np.ones((1, 2), np.float32), self.SHAPE)])
        with pytest.raises(ValueError, match="sparse and cannot be set to zero"):
            acc.step([self.grads(0)], zero_grad=True)
        assert acc.pending == 0

    def test_an_error_in_the_middle_forgets_its_rows(self):
        """A sparse gradient beside a dense one that does not fit is not added either."""
        table, w = np.ones(self.SHAPE), np.ones(3)
        acc = optim.Accumulator(optim.SGD([table, w], lr=0.1), every=2)
        acc.step([self.grads(0), np.ones(3)])
        saved = pickle.dumps(acc.state_dict())
        with pytest.raises(ValueError, match=r"Accumulator: params\[1\]"):
            acc.step([self.grads(1), np.ones(4)])
        assert pickle.dumps(acc.state_dict()) == saved
        acc.step([self.grads(2), np.ones(3)])
        expected = 1 - 0.1 * (self.grads(0) + self.grads(2)).to_dense() / 2
        np.testing.assert_allclose(table, expected, rtol=1e-12)


class TestErrors:
    @pytest.mark.parametrize(
        ("make", "error", "text"),
        [
            (lambda o: optim.Accumulator(o, 0), ValueError, "Accumulator: every=0; expected a whole number, 1 or more"),
            (lambda o: optim.Accumulator(o, 1.5), ValueError, "every=1.5"),
            (lambda o: optim.Accumulator(o, "2"), TypeError, "every='2'"),
            (lambda o: optim.Accumulator(o, 2, average=None), TypeError, "average=None"),
            (lambda o: optim.Accumulator(arrays(), 2), TypeError, "optimizer is list; expected an optimizer"),
            (lambda o: optim.Accumulator(optim.LBFGS(arrays()), 2), ValueError, "LBFGS computes gradients at several"),
            (
                lambda o: optim.Accumulator(optim.Handoff([optim.Adam(a := arrays()), optim.LBFGS(a)]), 2),
                ValueError,
                "LBFGS computes gradients at several",
            ),
        ],
    )
    def test_making(self, make, error, text):
        with pytest.raises(error, match=text):
            make(adam(arrays()))

    @pytest.mark.parametrize(
        ("grads", "options", "error", "text"),
        [
            (lambda: GRADS[0][:1], {}, ValueError, "Accumulator.step: got 1 gradients for 2 parameters"),
            (lambda: [GRADS[0][0], np.ones(4)], {}, ValueError, r"Accumulator: .*\[0\]: its gradient is float64"),
            (lambda: [np.float32(GRADS[0][0]), None], {}, ValueError, "its gradient is float32"),
            (lambda: [GRADS[0][0], "x"], {}, TypeError, "Accumulator: .* its gradient is a str"),
            (lambda: 3, {}, TypeError, "Accumulator.step: grads is int"),
            (lambda: None, {}, ValueError, "Accumulator.step: .* is a plain array, which carries no gradient"),
            (lambda: GRADS[0], {"max_norm": -1}, ValueError, "Accumulator.step: max_norm=-1"),
            (lambda: GRADS[0], {"grad_scale": 0}, ValueError, "Accumulator.step: grad_scale=0"),
            (lambda: GRADS[0], {"zero_grad": 2}, TypeError, "Accumulator.step: zero_grad=2"),
            (lambda: GRADS[0], {"norm": 2}, TypeError, "Accumulator.step: unknown keyword 'norm'"),
            (lambda: GRADS[0], {"closure": None}, TypeError, "unknown keyword 'closure'"),
            (lambda: [np.broadcast_to(1.0, (3, 4)), None], {"zero_grad": True}, ValueError, "read-only"),
        ],
    )
    def test_nothing_changes(self, grads, options, error, text):
        ours = arrays()
        opt = adam(ours)
        acc = optim.Accumulator(opt, every=2)
        acc.step(GRADS[0])
        before = bits(ours, opt), pickle.dumps(acc.state_dict())
        with pytest.raises(error, match=text):
            acc.step(grads(), **options)
        assert (bits(ours, opt), pickle.dumps(acc.state_dict())) == before
        assert acc.step(GRADS[1])

    def test_a_gradient_that_is_the_sum_itself(self):
        acc = optim.Accumulator(adam(arrays()), every=2)
        acc.step(GRADS[0])
        with pytest.raises(ValueError, match=r"Accumulator: .* shares memory with"):
            acc.step(acc._window.sums)
        assert acc.pending == 1

    @pytest.mark.parametrize("way_out", ["flush", "reset"])
    def test_a_step_that_fails_can_be_made_again_or_dropped(self, way_out):
        ours, theirs = arrays(), arrays()
        a, b = adam(ours), adam(theirs)
        acc = optim.Accumulator(a, every=2, average=False)
        acc.step(GRADS[0])
        before = bits(ours, a)
        lr = a.param_groups[1]["lr"]
        a.param_groups[1]["lr"] = -1.0
        with pytest.raises(ValueError, match=r"lr=-1\.0"):
            acc.step(GRADS[1])
        assert acc.pending == 2
        with pytest.raises(ValueError, match=r"lr=-1\.0"):
            acc.flush()
        with pytest.raises(RuntimeError, match=r"2 micro-batches are pending.* flush\(\) to make it, or reset\(\)"):
            acc.step(GRADS[1])
        assert acc.pending == 2
        a.param_groups[1]["lr"] = lr
        assert bits(ours, a) == before
        if way_out == "reset":
            acc.reset()
            assert acc.pending == 0
            acc.step(GRADS[0])
            acc.step(GRADS[1])
        else:
            assert acc.flush()
        b.step(sums(GRADS[:2]))
        assert bits(ours, a) == bits(theirs, b)

    def test_from_a_hook_it_is_refused(self):
        opt = adam(arrays())
        acc = optim.Accumulator(opt, every=1)
        seen = []

        def hook(*_):
            seen.append(acc.pending)
            for act in (lambda: acc.step(GRADS[0]), acc.flush, acc.reset, acc.state_dict):
                with pytest.raises(RuntimeError, match=r"Accumulator\.\w+: it is in the middle of a step"):
                    act()

        opt.register_step_pre_hook(hook)
        opt.register_step_post_hook(hook)
        assert acc.step(GRADS[0])
        assert seen == [1, 0]
        assert acc.pending == 0

    def test_a_hook_that_fails_after_the_step(self):
        opt = adam(ours := arrays())
        acc = optim.Accumulator(opt, every=1)
        hook = opt.register_step_post_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            acc.step(GRADS[0])
        hook.remove()
        assert acc.pending == 0
        theirs = arrays()
        adam(theirs).step(GRADS[0])
        np.testing.assert_array_equal(ours[0], theirs[0])


class TestState:
    @pytest.mark.parametrize("way", ["state_dict", "pickle", "deepcopy", "checkpoint"])
    @pytest.mark.parametrize("at", [1, 2, 3, 5])
    def test_resuming_in_the_middle_of_a_window_gives_the_same_bits(self, at, way, tmp_path):
        grads = [
            [*each, optim.SparseGrad(np.array([i % 3, 1]), np.full((2, 2), i + 0.1), (3, 2))]
            for i, each in enumerate(GRADS)
        ]

        def make():
            params = [*arrays(), np.ones((3, 2))]
            opt = optim.SGD(params, lr=0.1)
            return params, opt, optim.Accumulator(opt, every=3)

        def go_on(acc, some):
            for each in some:
                acc.step([each[0], None if acc.pending == 1 else each[1], each[2]], max_value=1.0)

        params, opt, acc = make()
        go_on(acc, grads[:at])
        if way in ("deepcopy", "pickle"):
            other = copy.deepcopy(acc) if way == "deepcopy" else pickle.loads(pickle.dumps(acc))
            other_opt = other.optimizer
            other_params = [record.array for record in other_opt._records]
        else:
            other_params, other_opt, other = make()
            other.step([each.copy() for each in params[:2]] + [None])  # is replaced
            if way == "checkpoint":
                checkpoint.save(tmp_path / "a.ckpt", optimizer=[opt, acc], params=params)
                checkpoint.load(tmp_path / "a.ckpt", optimizer=[other_opt, other], params=other_params)
            else:
                for p, q in zip(other_params, params, strict=True):
                    p[...] = q
                other_opt.load_state_dict(opt.state_dict())
                other.load_state_dict(acc.state_dict())
        assert other.pending == acc.pending == at % 3
        go_on(acc, grads[at:])
        go_on(other, grads[at:])
        assert bits(other_params, other_opt) == bits(params, opt)

    def test_what_is_saved(self):
        acc = optim.Accumulator(optim.SGD([*arrays(), np.ones((3, 2))], lr=0.1), every=3)
        assert acc.state_dict() == {"pending": 0, "sums": [None] * 3}
        acc.step([GRADS[0][0], None, optim.SparseGrad(np.array([2]), np.ones((1, 2)), (3, 2))])
        saved = acc.state_dict()
        expected = {
            "pending": 1,
            "sums": [GRADS[0][0], None, {"rows": np.array([2]), "values": np.ones((1, 2))}],
        }
        np.testing.assert_equal(saved, expected)
        acc.step([GRADS[1][0], None, None])
        np.testing.assert_equal(saved, expected)  # copies

    def test_all_that_does_not_fit_is_listed(self):
        acc = optim.Accumulator(optim.SGD([*arrays(), np.ones((3, 2))], lr=0.1), every=3)
        acc.step([*GRADS[0], None])
        before = pickle.dumps(acc.state_dict())
        wrong = {
            "pending": 4,
            "sums": [np.ones((4, 3)), np.ones(5, np.float32), {"rows": [3], "values": np.ones((1, 2))}],
            "every": 3,
        }
        with pytest.raises(ValueError, match="does not fit this accumulator, which is unchanged") as caught:
            acc.load_state_dict(wrong)
        problems = str(caught.value).split("\n  ")[1:]
        assert len(problems) == 5
        for text in ("unknown 'every'", "expected 3 or fewer", r"params[0] is", "float32, shape (5,)", "rows[0]=3"):
            assert text in str(caught.value)
        for wrong in ({}, None, {"pending": 0, "sums": [np.ones((3, 4)), None, None]}, {"pending": 1, "sums": []}):
            with pytest.raises(ValueError, match="does not fit this accumulator"):
                acc.load_state_dict(wrong)
        assert pickle.dumps(acc.state_dict()) == before


@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
def test_ctrl_c_adds_a_micro_batch_once_or_not_at_all(kind):
    def make():
        params = [*arrays(), np.ones((3, 2))]
        opt = optim.SGD(params, lr=0.1)
        return params, opt, optim.Accumulator(opt, every=2)

    grads = [
        [*each, optim.SparseGrad(np.array([i % 3]), np.full((1, 2), i + 0.1), (3, 2))]
        for i, each in enumerate(GRADS[:5])
    ]
    straight, straight_opt, acc = make()
    for each in grads:
        acc.step(each, max_norm=1.0)
    acc.flush()
    came = set()
    for n in range(1, 5000):
        params, opt, acc = make()
        i = 0
        interrupting = Interrupting(kind, n)
        try:
            with interrupting:
                for each in grads[:4]:
                    acc.step(each, max_norm=1.0)
        except KeyboardInterrupt:
            came.add((opt._made, acc.pending))
        i = 2 * opt._made + acc.pending
        if acc.pending == 2:
            assert acc.flush(max_norm=1.0)
        for each in grads[i:]:
            acc.step(each, max_norm=1.0)
        acc.flush()
        assert bits(params, opt) == bits(straight, straight_opt), n
        if not interrupting.done:
            break
    assert not interrupting.done
    assert came >= {(0, 1), (0, 2), (1, 0), (1, 1), (1, 2)}
    assert opt._made == 3


def test_it_is_forgotten_with_its_optimizer():
    opt = adam(arrays())
    acc = optim.Accumulator(opt, every=2)
    acc.step(GRADS[0])
    seen = weakref.ref(opt)
    del opt, acc
    gc.collect()
    assert seen() is None


def test_a_hook_that_replaces_the_sums_does_not_let_them_be_added_again():
    w = np.zeros(3)
    optimizer = optim.SGD([w], lr=1.0)
    accumulator = optim.Accumulator(optimizer, every=2, average=False)
    optimizer.register_step_pre_hook(lambda _, args, kwargs: (([g * 1 for g in args[0]], *args[1:]), kwargs))
    for _ in range(4):
        accumulator.step([np.ones(3)])
    np.testing.assert_array_equal(w, -4)


def test_a_group_that_is_added_in_the_middle_of_a_window():
    w = np.zeros(3)
    optimizer = optim.SGD([w], lr=1.0)
    accumulator = optim.Accumulator(optimizer, every=2)
    accumulator.step([np.ones(3)])
    optimizer.add_param_group({"params": [np.zeros(2)]})
    assert accumulator.flush()
    np.testing.assert_array_equal(w, -1)


def test_a_bad_number_of_the_optimizer_loses_no_micro_batch():
    w = np.ones(3)
    optimizer = optim.SGD([w], lr=1.0)
    accumulator = optim.Accumulator(optimizer, every=2)
    accumulator.step([np.full(3, np.nan)], skip_nonfinite=True)
    accumulator.step([np.ones(3)], skip_nonfinite=True)
    accumulator.step([np.ones(3)])
    optimizer.param_groups[0]["lr"] = "bad"
    with pytest.raises(TypeError, match="lr='bad'"):
        accumulator.step([np.ones(3)])
    assert accumulator.pending == 2
    optimizer.param_groups[0]["lr"] = 1.0
    assert accumulator.flush()
    np.testing.assert_array_equal(w, 0)


@pytest.mark.parametrize(
    ("under", "name"),
    [
        (lambda w, opt: w, r"params\[0\]"),
        (lambda w, opt: w[::-1], r"params\[0\]"),
        (lambda w, opt: opt.state[w]["exp_avg"], r"state 'exp_avg' of params\[0\]"),
        (lambda w, opt: optim.swa_utils.ExponentialMovingAverage.of(opt).arrays[0], "an average"),
    ],
)
def test_what_belongs_to_the_optimizer_is_not_set_to_zero(under, name):
    w = np.ones(4)
    optimizer = optim.Adam([w])
    optim.swa_utils.ExponentialMovingAverage(optimizer)
    optimizer.step([np.ones(4)])
    accumulator = optim.Accumulator(optimizer, every=2)
    gradient = under(w, optimizer)
    before = w.copy(), optimizer.state_dict()
    message = rf"Accumulator.step: zero_grad: the gradient of params\[0\] and {name} share memory.* Pass a copy"
    with pytest.raises(ValueError, match=message):
        accumulator.step([gradient], zero_grad=True)
    assert accumulator.pending == 0
    np.testing.assert_equal((w, optimizer.state_dict()), before)
    accumulator.step([gradient])  # which only reads it
    assert accumulator.pending == 1
