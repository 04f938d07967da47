"""Everything wrong in the input is found before the first byte changes, and the message names it and the way out."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, Case
from ravine import nn, optim

ERRORS = [(case, *error) for case in CASES for error in case.errors]
# Any key may be set on a group that exists.
LATER_ERRORS = [error for error in ERRORS if error[1].keys() <= error[0].optimizer._checks.keys()]


def ids(errors):
    return [f"{case.name}-{config}" for case, config, *_ in errors]


@pytest.mark.parametrize(("case", "config", "exception", "text"), ERRORS, ids=ids(ERRORS))
def test_hyperparameters(case: Case, config, exception, text):
    with pytest.raises(exception, match=text):
        case.optimizer([case.shaped(np.zeros(3))], **config)


@pytest.mark.parametrize(("case", "config", "exception", "text"), LATER_ERRORS, ids=ids(LATER_ERRORS))
def test_hyperparameters_edited_later(case: Case, config, exception, text):
    p, q = case.shaped(np.ones(3)), case.shaped(np.ones(2))
    grads = [p.copy(), q.copy()]
    optimizer = case.optimizer([{"params": [p]}, {"params": [q]}])
    optimizer.step(grads)
    before = optimizer.state_dict()
    bytes_before = p.tobytes() + q.tobytes()
    optimizer.param_groups[1].update(config)
    with pytest.raises(exception, match=rf"param_groups\[1\]: {text}"):
        optimizer.step(grads)
    assert p.tobytes() + q.tobytes() == bytes_before
    np.testing.assert_equal(optimizer.state_dict()["state"], before["state"])


def test_an_unknown_hyperparameter_in_a_group():
    with pytest.raises(ValueError, match=r"Adam: unknown hyper-parameter 'learning_rate'; Adam has lr, betas,"):
        optim.Adam([{"params": [np.zeros(3)], "learning_rate": 0.1}])
    with pytest.raises(
        ValueError, match=r"param_groups\[1\]: unknown hyper-parameter 'beta'; .*Did you mean 'betas'\?"
    ):
        optim.Adam([{"params": [np.zeros(3)]}, {"params": [np.zeros(3)], "beta": (0.9, 0.9)}])


def read_only():
    array = np.zeros(3)
    array.flags.writeable = False
    return array


def unaligned():
    return np.zeros(25, np.uint8)[1:].view(np.float64)


BAD_PARAMETERS = {
    "list": ([1.0, 2.0], TypeError, r"params\[1\] is a list; expected a NumPy array"),
    "scalar": (np.float32(1), TypeError, r"params\[1\] is a numpy.float32; expected a NumPy array"),
    "None": (None, TypeError, r"params\[1\] is a NoneType"),
    "int": (np.zeros(3, int), TypeError, r"\(int64, shape \(3,\)\): int64 is not supported; expected native float32"),
    "half": (np.zeros(3, np.float16), TypeError, r"float16 is not supported"),
    "complex": (np.zeros(3, complex), TypeError, r"complex128 is not supported"),
    "object": (np.zeros(3, object), TypeError, r"object is not supported"),
    "swapped": (np.zeros(3, np.dtype(np.float32).newbyteorder()), TypeError, r"its bytes are swapped"),
    "strided": (np.zeros(6)[::2], ValueError, r"not contiguous \(strides \(16,\)\); expected C or Fortran order"),
    "column": (np.zeros((3, 2))[:, :1], ValueError, r"not contiguous"),
    "reversed": (np.zeros(6)[::-1], ValueError, r"not contiguous"),
    "broadcast": (np.broadcast_to(np.zeros(1), (3,)), ValueError, r"not contiguous"),
    "read-only": (read_only(), ValueError, r"\(float64, shape \(3,\)\) is read-only; in-place updates need a writable"),
    "0-d": (np.zeros(()), ValueError, r"is 0-d; expected at least one dimension. Keep the number in an array of shape"),
    "unaligned": (unaligned(), ValueError, r"not aligned"),
    "bytes": (b"12345678", TypeError, r"uint8 is not supported"),
}


@pytest.mark.parametrize(("value", "exception", "text"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
class TestParameters:
    def test_in_a_list(self, value, exception, text):
        with pytest.raises(exception, match="^Adam: .*" + text):
            optim.Adam([np.zeros(3), value])

    def test_by_name(self, value, exception, text):
        with pytest.raises(exception, match=text.replace(r"params\[1\]", r"params\[1\] \('dense.bias'\)")):
            optim.SGD({"dense.weight": np.zeros(3), "dense.bias": value})

    def test_added_later(self, value, exception, text):
        optimizer = optim.SGD([np.zeros(3)])
        with pytest.raises(exception, match=text.replace(r"params\[1\]", r"param_groups\[1\]\['params'\]\[0\]")):
            optimizer.add_param_group({"params": [value]})
        assert len(optimizer.param_groups) == 1
        optimizer.step([np.ones(3)])

    def test_as_a_parameter(self, value, exception, text):
        with pytest.raises(exception, match="^Parameter: data.*" + text.replace(r"params\[1\]", "")):
            nn.Parameter(value)


@pytest.mark.parametrize(
    ("params", "exception", "text"),
    [
        ([], ValueError, r"SGD: params is empty"),
        ({}, ValueError, r"SGD: params is empty"),
        ([{"params": []}], ValueError, r"params is empty"),
        (np.zeros((3, 2)), TypeError, r"params is float64, shape \(3, 2\); expected a list of arrays. Pass \[array\]"),
        (nn.Parameter(np.zeros(3)), TypeError, r"Pass \[array\]"),
        ("weights", TypeError, r"params is str; expected a list of arrays"),
        (3, TypeError, r"params is int; expected a list of arrays"),
        ({1.0, 2.0}, TypeError, r"params is a set, whose order changes"),
        ([{"lr": 1}], TypeError, r"a parameter group is dict; expected a dict with 'params'"),
        ([{"params": [np.zeros(3)]}, np.zeros(3)], TypeError, r"param_groups\[1\]: a parameter group is float64"),
        ([("a", np.zeros(3)), np.zeros(3)], ValueError, r"params\[1\] has no name while others have one"),
        ([("a", np.zeros(3)), ("a", np.zeros(3))], ValueError, r"two parameters are named 'a'"),
        ([{"params": {"a": np.zeros(3)}}, {"params": {"a": np.zeros(3)}}], ValueError, r"two parameters are named 'a'"),
    ],
)
def test_forms_of_params(params, exception, text):
    with pytest.raises(exception, match=text):
        optim.SGD(params)


class TestOverlap:
    def test_the_same_array_twice(self):
        w = np.zeros(3)
        with pytest.raises(ValueError, match=r"SGD: params\[0\] and params\[2\] are the same array"):
            optim.SGD([w, np.zeros(3), w])

    def test_the_same_array_in_two_groups(self):
        w = np.zeros(3)
        text = r"params\[0\] \('a'\) and param_groups\[1\]\['params'\]\[0\] \('b'\) are the same array"
        with pytest.raises(ValueError, match=text):
            optim.SGD([{"params": {"a": w}}, {"params": {"b": w}}])

    def test_views_that_overlap(self):
        flat = np.zeros(10)
        with pytest.raises(ValueError, match=r"params\[0\] and params\[1\] share memory"):
            optim.SGD([flat[:6], flat[5:]])
        with pytest.raises(ValueError, match=r"params\[0\] and params\[2\] share memory"):
            optim.SGD([flat, np.zeros(2), flat[3:4]])
        optim.SGD([flat[:5], flat[5:]]).step([np.ones(5), np.ones(5)])

    def test_an_array_inside_another(self):
        flat = np.zeros(100)
        with pytest.raises(ValueError, match="share memory"):
            optim.SGD([flat[10:20], flat[:90], flat[95:]])

    def test_empty_arrays_overlap_nothing(self):
        flat = np.zeros(10)
        optim.SGD([flat, flat[3:3]]).step([np.ones(10), np.ones(0)])


W = (3, 2)
BAD_GRADIENTS = {
    "shape": (
        np.ones((2, 3)),
        ValueError,
        r"its gradient is float64, shape \(2, 3\); expected float64, shape \(3, 2\)",
    ),
    "dimensions": (
        np.ones((3, 2, 1)),
        ValueError,
        r"its gradient is float64, shape \(3, 2, 1\); expected float64, shape \(3, 2\)",
    ),
    "dtype": (np.ones(W, np.float32), ValueError, r"its gradient is float32, shape \(3, 2\); expected float64"),
    "int": (np.ones(W, int), ValueError, r"its gradient is int64"),
    "swapped": (np.ones(W, np.dtype(float).newbyteorder()), ValueError, r"its gradient is >f8"),
    "list": ([[1, 1]] * 3, TypeError, r"its gradient is a list; expected an array, or None"),
    "float": (0.0, TypeError, r"its gradient is a float; expected an array"),
    "scalar": (np.float64(1), TypeError, r"its gradient is a numpy.float64; expected an array"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(("gradient", "exception", "text"), BAD_GRADIENTS.values(), ids=BAD_GRADIENTS)
def test_gradients(case, gradient, exception, text):
    """The bad one comes last, and in the last group, so that everything else was right."""
    params = [case.shaped(np.ones(5)), np.ones((3, 2))]
    optimizer = case.optimizer([{"params": {"a": params[0]}}, {"params": {"dense.bias": params[1]}}])
    good = [p.copy() for p in params]
    optimizer.step(good)
    before, values = optimizer.state_dict(), [p.tobytes() for p in params]
    with pytest.raises(exception, match=rf"^{case.name}: .*\('dense.bias'\): {text}"):
        optimizer.step([good[0], gradient])
    assert [p.tobytes() for p in params] == values
    np.testing.assert_equal(optimizer.state_dict(), before)
    optimizer.step(good)


class TestFormsOfGradients:
    @pytest.fixture
    def optimizer(self):
        return optim.SGD({"a": np.zeros(2), "b": np.zeros(3)}, lr=1)

    @pytest.mark.parametrize(
        ("grads", "exception", "text"),
        [
            ([np.ones(2)], ValueError, r"SGD.step: got 1 gradients for 2 parameters"),
            ([np.ones(2), np.ones(3), np.ones(3)], ValueError, r"got 3 gradients for 2 parameters"),
            (np.ones((2, 3)), TypeError, r"grads is float64, shape \(2, 3\); expected a list"),
            (3, TypeError, r"grads is int; expected a list"),
            ("ab", TypeError, r"grads is str; expected a list"),
            ({"a": np.ones(2)}, ValueError, r"no gradient for 'b'; the parameters are 'a', 'b'. Give None where"),
            (
                {"a": np.ones(2), "c": np.ones(3)},
                ValueError,
                r"no gradient for 'b' and no parameter named 'c'; the parameters are 'a', 'b'",
            ),
            ({"a": None, "b": None, "c": None}, ValueError, r"step: no parameter named 'c'"),
        ],
    )
    def test_refused(self, optimizer, grads, exception, text):
        with pytest.raises(exception, match=text):
            optimizer.step(grads)

    def test_a_dict_for_nameless_parameters(self):
        with pytest.raises(ValueError, match=r"grads is a dict, but params\[0\] has no name"):
            optim.SGD([np.zeros(2)]).step({"a": np.ones(2)})

    def test_plain_arrays_carry_no_gradient(self, optimizer):
        with pytest.raises(ValueError, match=r"params\[0\] \('a'\) is a plain array, which carries no gradient"):
            optimizer.step()

    def test_a_gradient_that_is_a_parameter(self):
        w, v = np.ones(4), np.ones(4)
        optimizer = optim.SGD([w, v], momentum=0.5)
        optimizer.step([np.ones(4), np.ones(4)])
        for shared, other in (
            (w, r"params\[0\]"),
            (v, r"params\[1\]"),
            (optimizer.state[v]["momentum_buffer"], r"state 'momentum_buffer' of params\[1\]"),
        ):
            for _ in range(2):  # what was refused is refused again
                with pytest.raises(
                    ValueError, match=rf"^SGD: params\[0\]: its gradient shares memory with {other}, which"
                ):
                    optimizer.step([shared, None])
            optimizer.step([np.ones(4), None])

    @pytest.mark.parametrize("first", ["parameter", "gradient"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_a_gradient_that_shares_one_element(self, first, dtype):
        buffer = np.ones(9, dtype)
        w, g = (buffer[:5], buffer[4:]) if first == "parameter" else (buffer[4:], buffer[:5])
        with pytest.raises(ValueError, match=r"its gradient shares memory with params\[0\]"):
            optim.SGD([w]).step([g])
        assert (buffer == 1).all()


class TestArraysThatChangeLater:
    def test_resized(self):
        w = np.zeros(3)
        optimizer = optim.SGD([w], momentum=0.9)
        optimizer.step([np.ones(3)])
        w.resize(100_000, refcheck=False)
        with pytest.raises(
            ValueError, match=r"SGD: params\[0\] has been resized, retyped or moved .* shape \(100000,\)"
        ):
            optimizer.step([np.ones(100_000)])

    def test_made_read_only(self):
        w = np.zeros(3)
        optimizer = optim.Adam([w])
        optimizer.step([np.ones(3)])
        before = w.copy()
        w.flags.writeable = False
        with pytest.raises(ValueError, match=r"Adam: params\[0\] has been made read-only"):
            optimizer.step([np.ones(3)])
        optimizer.step([None])
        np.testing.assert_array_equal(w, before)

    def test_a_state_made_read_only(self):
        w = np.zeros(3)
        optimizer = optim.Adam([w])
        optimizer.step([np.ones(3)])
        optimizer.state[w]["exp_avg_sq"].flags.writeable = False
        with pytest.raises(ValueError, match=r"Adam: state 'exp_avg_sq' of params\[0\] has been made read-only"):
            optimizer.step([np.ones(3)])


class TestParameterGradients:
    def test_refused(self):
        p = nn.Parameter(np.zeros(3), name="w")
        for value, text in (
            (np.ones(2), r"Parameter 'w': grad is float64, shape \(2,\); expected float64, shape \(3,\)"),
            (np.ones(3, np.float32), r"grad is float32, shape \(3,\)"),
            ([1, 2, 3], r"grad is list"),
        ):
            with pytest.raises(ValueError, match=text):
                p.grad = value
        assert p.grad.tolist() == [0, 0, 0]
        with pytest.raises(AttributeError):
            p.data = np.zeros(3)


class TestLoading:
    """Every mismatch is reported, and nothing changes."""

    def saved(self):
        optimizer = optim.Adam({"a": np.zeros(2), "b": np.zeros((3, 4))})
        optimizer.step([np.ones(2), np.ones((3, 4))])
        return optimizer.state_dict()

    def test_everything_that_does_not_fit_is_named(self):
        params = {"a": np.zeros(3), "b": np.zeros((3, 4), np.float32)}
        optimizer = optim.Adam(params)
        optimizer.step([np.ones(3), np.ones((3, 4), np.float32)])
        before = optimizer.state_dict()
        with pytest.raises(ValueError, match="does not fit") as error:
            optimizer.load_state_dict(self.saved())
        for line in (
            "params[0] ('a'): state 'exp_avg' is float64, shape (2,); expected float64, shape (3,)",
            "params[0] ('a'): state 'exp_avg_sq' is float64, shape (2,); expected float64, shape (3,)",
            "params[1] ('b'): state 'exp_avg' is float64, shape (3, 4); expected float32, shape (3, 4)",
        ):
            assert line in str(error.value)
        np.testing.assert_equal(optimizer.state_dict(), before)

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda s: s.pop("state"), "not a dict with 'state' and 'param_groups'"),
            (lambda s: s["param_groups"].append({}), "it has 2 parameter groups, the optimizer 1"),
            (lambda s: s["param_groups"][0]["params"].pop(), r"param_groups\[0\] has 1 parameters, the optimizer's 2"),
            (lambda s: s["param_groups"][0].update(param_names=["a", "c"]), r"names \['a', 'c'\], the optimizer's"),
            (lambda s: s["param_groups"][0].update(lr=-1), "lr=-1 is negative"),
            (lambda s: s["state"][0].pop("exp_avg"), r"params\[0\] \('a'\): state 'exp_avg' is missing"),
            (lambda s: s["state"][0].update(sum=np.zeros(2)), "Adam keeps no state 'sum'"),
            (lambda s: s["state"][0].update(exp_avg=[0, 0]), "state 'exp_avg' is list"),
            (lambda s: s["state"][1].update(step=-1), "step=-1; expected a whole number"),
            (lambda s: s["state"][1].update(step=1.5), "step=1.5; expected a whole number"),
            (lambda s: s["state"].update({7: {}}), "state for parameter 7, which is in no group"),
        ],
    )
    def test_refused(self, change, text):
        params = {"a": np.zeros(2), "b": np.zeros((3, 4))}
        optimizer = optim.Adam(params)
        optimizer.step([np.ones(2), np.ones((3, 4))])
        before = optimizer.state_dict()
        saved = self.saved()
        change(saved)
        with pytest.raises(ValueError, match=text):
            optimizer.load_state_dict(saved)
        np.testing.assert_equal(optimizer.state_dict(), before)

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "state 'mu_product' is missing"),
            ([0.5, 0.5], r"state 'mu_product'=\[0.5, 0.5\] is a list; expected a number"),
        ],
    )
    def test_numbers_of_the_state(self, value, text):
        w = np.zeros(2)
        optimizer = optim.NAdam([w])
        optimizer.step([np.ones(2)])
        before = optimizer.state_dict()
        saved = optimizer.state_dict()
        saved["state"][0]["mu_product"] = value
        with pytest.raises(ValueError, match=text):
            optimizer.load_state_dict(saved)
        np.testing.assert_equal(optimizer.state_dict(), before)

    def test_another_class(self):
        optimizer = optim.Adagrad({"a": np.zeros(2), "b": np.zeros((3, 4))})
        with pytest.raises(ValueError, match=r"param_groups\[0\] has betas, amsgrad, .*: it is of another optimizer"):
            optimizer.load_state_dict(self.saved())


@pytest.mark.parametrize(
    ("state", "text"), [({"step": 1 << 63}, "below 2\\^63"), ({"step": 5}, "state 'exp_avg' is missing")]
)
def test_a_step_count_alone(state, text):
    w = np.ones(2)
    optimizer = optim.Adam([w])
    saved = {**optimizer.state_dict(), "state": {0: state}}
    with pytest.raises(ValueError, match=text):
        optimizer.load_state_dict(saved)
    assert not optimizer.has_stepped
