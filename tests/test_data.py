from __future__ import annotations

import numpy as np
import pytest
from ravine.data import minibatches

X = np.arange(20).reshape(10, 2)
Y = np.arange(10)


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(None, [10]), (1, [1] * 10), (3, [3, 3, 3, 1]), (10, [10]), (64, [10])]
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_sample_comes_once(batch_size, sizes, shuffle):
    batches = list(minibatches(X, Y, batch_size=batch_size, shuffle=shuffle, rng=0))
    assert [len(y) for _, y in batches] == sizes
    assert all((x[:, 0] == 2 * y).all() for x, y in batches)
    seen = np.concatenate([y for _, y in batches])
    assert sorted(seen) == list(range(10))
    if batch_size is None or not shuffle:
        assert (seen == Y).all()
        assert all(np.shares_memory(x, X) for x, _ in batches)


def test_the_last_batch_can_be_dropped():
    assert [len(x) for (x,) in minibatches(X, batch_size=3, drop_last=True)] == [3, 3, 3]
    assert list(minibatches(X, batch_size=11, drop_last=True)) == []


@pytest.mark.parametrize("batch_size", [1, 2, 5, 10])
def test_a_full_last_batch_is_not_dropped(batch_size):
    batches = [y.tolist() for (y,) in minibatches(Y, batch_size=batch_size, shuffle=False, drop_last=True)]
    assert [sample for batch in batches for sample in batch] == Y.tolist()


def test_order_comes_from_rng():
    def order(rng):
        return np.concatenate([y for _, y in minibatches(X, Y, batch_size=3, rng=rng)]).tolist()

    generator = np.random.default_rng(1)
    first = order(generator)
    assert first == order(1) == order(np.random.default_rng(1))
    assert order(generator) != first


def test_an_empty_data_set_has_no_batches():
    for batch_size in (None, 1, 4):
        assert list(minibatches(np.zeros((0, 3)), batch_size=batch_size)) == []


@pytest.mark.parametrize(
    ("arrays", "options", "exception", "text"),
    [
        ((), {}, TypeError, "no arrays"),
        ((X, [1, 2]), {}, TypeError, r"arrays\[1\] is list; expected an array whose first axis"),
        ((np.zeros(()),), {}, TypeError, r"arrays\[0\] is 0-d"),
        ((X, Y[:9]), {}, ValueError, r"the arrays hold \[10, 9\] samples"),
        ((X,), {"batch_size": 0}, ValueError, "batch_size=0; expected 1 or more, or None"),
        ((X,), {"batch_size": 2.5}, TypeError, "batch_size=2.5; expected an int, or None"),
        ((X,), {"batch_size": True}, TypeError, "batch_size=True"),
    ],
)
def test_refused_when_called(arrays, options, exception, text):
    with pytest.raises(exception, match=text):
        minibatches(*arrays, **options)
