"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ravine._arrays import address, as_array, describe
from ravine._hyper import at_least, is_number, non_negative, one_of
from ravine._sparse import SparseGrad, as_gradient
from ravine.optim._line_search import Point, strong_wolfe
from ravine.optim._state import Member
from ravine.optim.optimizer import Optimizer

Array = np.ndarray[Any, Any]
# Returns the loss as it came, as a number, and the gradient, in memory other than the vectors it takes.
Evaluate = Callable[[Sequence[Array | None]], tuple[Any, float, Array]]

# A step whose y s is not above this says nothing reliable of the curvature and is not remembered.
LEAST_CURVATURE = 1e-10


class Pair(NamedTuple):
    """How the gradient changed along a move of the parameters."""

    y: Array
    s: Array
    rho: float  # 1 / y s


class Memory(NamedTuple):
    """What is remembered from step to step. It is replaced, never changed, so that a step can be taken back."""

    n_iter: int = 0
    func_evals: int = 0
    d: Array | None = None  # the last direction
    t: float = 0.0  # how far the last move went along it
    pairs: tuple[Pair, ...] = ()  # the oldest first
    H_diag: float = 1.0  # the scale of the inverse Hessian that the recursion begins with
    prev_flat_grad: Array | None = None  # where the last move began
    prev_loss: float = 0.0


class LBFGS(Optimizer):
    """Limited-memory BFGS, a quasi-Newton method for losses without noise: `torch.optim.LBFGS`.

        d  = -H g        H from the last pairs s = t d, y = g - g' by the two-loop recursion, at first (y s / y y) 1
        p <- p + t d     t = lr, at the very first min(1, 1 / |g|_1) lr; "strong_wolfe" searches the line from there

    A step makes up to `max_iter` such iterations, and calls its closure at each:

        def closure():
            optimizer.zero_grad()
            loss = ...                      # compute the loss, and the gradients into each Parameter.grad
            return loss                     # for plain arrays: return loss, grads
        optimizer.step(closure)

    All parameters are one vector, in their dtype; in float64 where some are float32 and others float64. A step
    that an exception ends, in the closure or by Ctrl-C, leaves parameters and state as they were before it.

    Nocedal & Wright 2006, "Numerical optimization", algorithms 7.4 and 7.5, line search 3.5 and 3.6; Liu & Nocedal
    1989, "On the limited memory BFGS method for large scale optimization".

    Args:
        params: see `Optimizer`; one group.
        lr: how far to go along each direction, or at first in the line search. 1 is natural to the method.
        max_iter: iterations a step, 1 or more.
        max_eval: after how many evaluations in a step to end it, 1 or more; max_iter * 5 // 4 without it.
        tolerance_grad: ends the step when no element of the gradient is larger.
        tolerance_change: ends the step when no parameter, or not the loss, changes more.
        history_size: how many pairs s, y are kept, 1 or more.
        line_search_fn: None, or "strong_wolfe", which finds a t of sufficient decrease and small slope.

    Raises:
        TypeError, ValueError: a parameter or hyper-parameter cannot be used; the message names it. Or there is more
            than one group.

    State, under the first parameter: "n_iter", "func_evals", "t", "H_diag" and "prev_loss" (numbers); "d" and
    "prev_flat_grad" of shape (n,), n being the number of all elements, in the order of the parameters and C order
    within each; "old_dirs" (y) and "old_stps" (s) of shape (k, n), "ro" (1 / y s) of shape (k,) in float64, the oldest
    first.

    >>> import numpy as np
    >>> x = np.array([-1.2, 1.0])
    >>> def rosenbrock():
    ...     a, b = x
    ...     gradient = np.array([-2 * (1 - a) - 400 * a * (b - a * a), 200 * (b - a * a)])
    ...     return (1 - a) ** 2 + 100 * (b - a * a) ** 2, [gradient]
    >>> optimizer = LBFGS([x], max_iter=100, line_search_fn="strong_wolfe")
    >>> first_loss = optimizer.step(rosenbrock)
    >>> bool(np.allclose(x, 1, atol=1e-3))
    True
    """

    _checks = {
        "lr": non_negative,
        "max_iter": at_least(1),
        "max_eval": at_least(1),
        "tolerance_grad": non_negative,
        "tolerance_change": non_negative,
        "history_size": at_least(1),
        "line_search_fn": one_of(None, "strong_wolfe"),
    }
    _way_of_gradients = "Return (loss, grads) from the closure"
    _needs_closure = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        self._memory = Memory()
        max_iter = self._checks["max_iter"]("LBFGS: max_iter", max_iter)
        super().__init__(
            params,
            {
                "lr": lr,
                "max_iter": max_iter,
                "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                "tolerance_grad": tolerance_grad,
                "tolerance_change": tolerance_change,
                "history_size": history_size,
                "line_search_fn": line_search_fn,
            },
        )

    def _make_transient(self) -> None:
        super()._make_transient()
        self._space: Space | None = None

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Refuse a second group.

        Raises:
            ValueError: there is a group already.
        """
        if self.param_groups:
            raise ValueError(
                "LBFGS: there can be only one parameter group, since all parameters move along one direction. Pass "
                "them all in one group, or make an optimizer of its own for the others."
            )
        super().add_param_group(param_group)

    # --- steps

    def step(
        self,
        grads: Iterable[Any] | Mapping[str, Any] | Callable[[], Any] | None = None,
        closure: Callable[[], Any] | None = None,
    ) -> Any:
        """Make up to `max_iter` iterations: `step(closure)`, or `step(closure=closure)`.

        Args:
            grads: the closure, as in torch; not gradients, which are needed at several places.
            closure: computes loss and gradients at the parameters as they are, each time it is called. It returns the
                loss, a number, having put the gradients into each `Parameter.grad`; or `(loss, grads)`, with grads in
                the forms of `Optimizer.step`. None counts as zeros. A gradient has its parameter's shape and dtype.

        Returns:
            The first loss, that of the parameters before the step.

        Raises:
            TypeError, ValueError: there is no closure, or what it computes or a hyper-parameter cannot be used.
                Parameters and state are as they were.
            RuntimeError: this optimizer is in the middle of a step.
        """
        return super().step(grads, closure)

    def _step(self, grads: Any = None, closure: Callable[[], Any] | None = None) -> Any:
        if callable(grads):
            grads, closure = None, grads
        if closure is None or grads is not None:
            raise TypeError(
                "LBFGS.step: grads" + (" is missing" if grads is None else f" is {describe(grads)}") + "; expected a "
                "closure, since loss and gradients are needed at several places. Call step(closure) with a function "
                "that computes them and returns the loss, or (loss, grads)."
            )
        hyper = self._checked(self.param_groups[0], 0)
        if self._space is None:
            self._sort_members()
            self._space = Space(self._owner, self._members)
        space = self._space
        space.check_members()
        self._check_foreign()
        space.gather(space.before)
        try:
            outside = np.geterr()
            with np.errstate(all="ignore"):  # as in the kernels, numbers that are not finite just go on

                def evaluate(keep: Sequence[Array | None]) -> tuple[Any, float, Array]:
                    with np.errstate(**outside):
                        return self._evaluate(space, closure, keep)

                result, memory = self._iterate(space, evaluate, hyper)
        except BaseException:
            space.scatter(space.before)
            raise
        self._memory = memory
        self._has_stepped = True
        return result

    def _evaluate(
        self, space: Space, closure: Callable[[], Any], keep: Sequence[Array | None]
    ) -> tuple[Any, float, Array]:
        """Return what the closure has for a loss, that as a number, and the gradient in memory other than `keep`."""
        result = closure()
        given, grads = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        try:
            loss = getattr(given, "item", lambda: given)()
        except (TypeError, ValueError, RuntimeError):  # an array of several numbers
            loss = None
        if not is_number(loss):
            came = repr(given) if as_array(given) is None else describe(as_array(given))
            raise TypeError(
                f"{self._owner}.step: the closure returned {came} for a loss; expected a number. Return the loss, or "
                "(loss, grads), from the closure."
            )
        gradient = space.take(keep)
        space.gather_gradients(self._gradients(grads), gradient)
        return given, float(loss), gradient

    def _iterate(self, space: Space, evaluate: Evaluate, hyper: dict[str, Any]) -> tuple[Any, Memory]:
        """Move the parameters; return the first loss and what to remember."""
        memory = self._memory
        lr, tolerance_change = hyper["lr"], hyper["tolerance_change"]
        before = (memory.d, memory.prev_flat_grad)
        d, t, previous, scale = memory.d, memory.t, memory.prev_flat_grad, memory.H_diag
        previous_loss = memory.prev_loss
        history = History(memory.pairs, space)

        result, loss, gradient = evaluate(before)
        n_iter, evals = memory.n_iter, 1
        if space.largest(gradient) <= hyper["tolerance_grad"]:
            return result, memory._replace(func_evals=memory.func_evals + 1)
        for iteration in range(1, hyper["max_iter"] + 1):
            n_iter += 1
            if d is None or previous is None:
                d = np.negative(gradient, out=space.take((*before, gradient)))
                t = min(1.0, _inverse(space.sum_of_sizes(gradient))) * lr
            else:
                scale = history.add(gradient, previous, d, t, hyper["history_size"], scale)
                d = history.direction(gradient, scale, space.take((*before, gradient)))
                t = lr
            previous, previous_loss = gradient, loss
            slope = dot(gradient, d)
            if slope > -tolerance_change:
                break
            longest = space.largest(d)
            space.gather(space.x)
            if hyper["line_search_fn"] is None or t == 0:
                space.move(t, d)
                if iteration == hyper["max_iter"]:  # nobody would look at the loss
                    break
                _, loss, gradient = evaluate((*before, d, previous))
                evals += 1
            else:
                start = Point(0.0, loss, gradient, slope)
                line = Line(space, evaluate, d, before)
                end, more = strong_wolfe(line.at, start, t, longest, tolerance_change, hyper["max_eval"] - evals)
                t, loss, gradient = end.t, end.loss, end.gradient
                space.move(t, d)
                evals += more
            if (
                iteration == hyper["max_iter"]
                or evals >= hyper["max_eval"]
                or space.largest(gradient) <= hyper["tolerance_grad"]
                or abs(t) * longest <= tolerance_change
                or abs(loss - previous_loss) < tolerance_change
            ):
                break
        history.close(most=min(hyper["max_iter"], hyper["history_size"] + 1))
        return result, Memory(
            n_iter, memory.func_evals + evals, d, t, tuple(history.pairs), scale, previous, previous_loss
        )

    # --- state

    def _state_of(self, i: int) -> dict[str, Any]:
        memory = self._memory
        if i > 0 or memory.func_evals == 0:
            return {}
        state: dict[str, Any] = {"func_evals": memory.func_evals, "n_iter": memory.n_iter}
        if memory.d is None or memory.prev_flat_grad is None:
            return state
        none = np.empty((0, *memory.d.shape), memory.d.dtype)
        return {
            **state,
            "d": memory.d,
            "t": memory.t,
            "old_dirs": np.array([pair.y for pair in memory.pairs]) if memory.pairs else none,
            "old_stps": np.array([pair.s for pair in memory.pairs]) if memory.pairs else none,
            "ro": np.array([pair.rho for pair in memory.pairs], np.float64),
            "H_diag": memory.H_diag,
            "prev_flat_grad": memory.prev_flat_grad,
            "prev_loss": memory.prev_loss,
        }

    def _checked_state(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        groups = self._loaded_groups(state_dict, problems)
        memory = Memory() if problems else self._loaded_memory(state_dict["state"], groups[0]["params"], problems)

        def take_over() -> None:
            self._take_groups(groups)
            self._memory = memory
            self._has_stepped = memory.func_evals > 0

        return take_over

    def _loaded_memory(self, saved: Mapping[Any, Any], keys: Sequence[Any], problems: list[str]) -> Memory:
        """Return what was remembered, from arrays and numbers as `_state_of` has them or tensors as torch has."""
        others = [key for key, entry in saved.items() if key != keys[0] and entry]
        problems += [f"it has a state for parameter {key!r}; LBFGS keeps all under {keys[0]!r}" for key in others]
        entry = dict(saved.get(keys[0], {}))
        entry.pop("al", None)  # torch's room for the recursion
        if not entry:
            return Memory()
        n_iter, evals = (_loaded(entry, name, _whole, problems) for name in ("n_iter", "func_evals"))
        if problems or n_iter == 0:
            return Memory(n_iter, evals)
        space = Space(self._owner, self._members)
        d, previous = (_loaded(entry, name, space.copy_of, problems) for name in ("d", "prev_flat_grad"))
        ys, ss = (_loaded(entry, name, space.copies_of, problems) for name in ("old_dirs", "old_stps"))
        rhos = _loaded(entry, "ro", lambda values: [_float(value) for value in values], problems)
        t, scale, loss = (_loaded(entry, name, _float, problems) for name in ("t", "H_diag", "prev_loss"))
        problems += [f"{self._owner} keeps no state {name!r}" for name in entry]
        if not problems and not len(ys) == len(ss) == len(rhos):
            problems.append(f"state 'old_dirs', 'old_stps' and 'ro' have {len(ys)}, {len(ss)} and {len(rhos)} entries")
        if problems:
            return Memory()
        pairs = tuple(Pair(y, s, rho) for y, s, rho in zip(ys, ss, rhos, strict=True))
        return Memory(n_iter, evals, d, t, pairs, scale, previous, loss)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_memory": self._memory}


class Space:
    """The parameters as one vector, and the vectors that a step needs besides.

    Args:
        owner: the optimizer, for messages.
        members: its parameters.
    """

    def __init__(self, owner: str, members: Sequence[Member]) -> None:
        self._owner = owner
        self._members = members
        self._memory = [(address(m.array), m.array.shape, m.array.dtype) for m in members]
        ends = np.cumsum([0, *(m.array.size for m in members)]).tolist()
        self._slices = [slice(begin, end) for begin, end in pairwise(ends)]
        self.size: int = ends[-1]
        self.dtype = np.result_type(*(m.array.dtype for m in members))
        self.before = self.new()  # the parameters before the step
        self.x = self.new()  # where a move begins
        self._work = self.new()
        self._vectors: list[Array] = []
        self.spare: list[tuple[Array, Array]] = []  # room for pairs

    def new(self) -> Array:
        """Return a new vector."""
        return np.empty(self.size, self.dtype)

    def take(self, keep: Sequence[Array | None]) -> Array:
        """Return a vector to write to, none of `keep`."""
        for vector in self._vectors:
            if not any(vector is other for other in keep):
                return vector
        self._vectors.append(self.new())
        return self._vectors[-1]

    def check_members(self) -> None:
        """Raise where a parameter cannot be written to as it could at the beginning."""
        for member, (place, shape, dtype) in zip(self._members, self._memory, strict=True):
            array = member.array
            where = f"{self._owner}: {member.label}"
            if not array.flags.writeable:
                raise ValueError(
                    f"{where} has been made read-only; in-place updates need a writable array. Set "
                    "arr.flags.writeable = True."
                )
            if (address(array), array.shape, array.dtype) != (place, shape, dtype):
                raise ValueError(
                    f"{where} has been resized, retyped or moved since the optimizer was made (it is now "
                    f"{describe(array)}). Make a new optimizer for the new array."
                )

    def gather(self, out: Array) -> None:
        """Write the parameters to a vector."""
        for member, part in zip(self._members, self._slices, strict=True):
            out[part].reshape(member.array.shape)[...] = member.array

    def scatter(self, vector: Array) -> None:
        """Write a vector to the parameters."""
        for member, part in zip(self._members, self._slices, strict=True):
            np.copyto(member.array, vector[part].reshape(member.array.shape), casting="same_kind")

    def move(self, t: float, d: Array) -> None:
        """Set the parameters to x + t d."""
        np.multiply(d, t, out=self._work)
        self._work += self.x
        self.scatter(self._work)

    def gather_gradients(self, gradients: Sequence[Any], out: Array) -> None:
        """Check the gradients and write them to a vector."""
        if len(gradients) != len(self._members):
            raise ValueError(
                f"{self._owner}.step: got {len(gradients)} gradients for {len(self._members)} parameters; give one for "
                "each, and None where a parameter has none this time."
            )
        for member, part, gradient in zip(self._members, self._slices, gradients, strict=True):
            if gradient is None:
                out[part] = 0
                continue
            where = f"{self._owner}: {member.label}"
            given = as_gradient(gradient, where)
            array = given.to_dense() if isinstance(given, SparseGrad) else given
            if array.shape != member.array.shape or array.dtype != member.array.dtype:
                raise ValueError(
                    f"{where}: its gradient is {describe(array)}; expected {describe(member.array)}. Convert it with "
                    "grad.astype(...) or grad.reshape(...)."
                )
            out[part].reshape(array.shape)[...] = array

    def largest(self, vector: Array) -> float:
        """Return the largest element by absolute value; NaN where there is one, 0 of no elements."""
        return float(np.abs(vector, out=self._work).max(initial=0))

    def sum_of_sizes(self, vector: Array) -> float:
        """Return the sum of the elements' absolute values."""
        return float(np.abs(vector, out=self._work).sum())

    def subtract_multiple(self, vector: Array, factor: float, other: Array) -> None:
        """Subtract factor times another vector."""
        np.multiply(other, factor, out=self._work)
        vector -= self._work

    def copy_of(self, value: object) -> Array:
        """Return a copy of a saved vector, or raise an error that says what is wrong with it."""
        array = as_array(value)
        if array is None or array.shape != (self.size,) or array.dtype != self.dtype:
            raise ValueError(
                f"is {describe(value if array is None else array)}; expected {self.dtype}, shape ({self.size},)"
            )
        return np.array(array)

    def copies_of(self, values: Iterable[object]) -> list[Array]:
        """Return copies of several saved vectors."""
        return [self.copy_of(value) for value in values]


class History:
    """The pairs while a step is under way. Those from before it are left as they are, should it be taken back.

    Args:
        pairs: those from before the step.
        space: has room for vectors.
    """

    def __init__(self, pairs: Sequence[Pair], space: Space) -> None:
        self.pairs = list(pairs)
        self._space = space
        self._from_before = len(pairs)  # how many of the oldest are
        self._dropped: list[tuple[Array, Array]] = []

    def add(self, gradient: Array, previous: Array, d: Array, t: float, history_size: int, scale: float) -> float:
        """Remember a move by t d between two gradients; return the scale of the inverse Hessian to begin with."""
        room = self._space.spare.pop() if self._space.spare else (self._space.new(), self._space.new())
        y = np.subtract(gradient, previous, out=room[0])
        s = np.multiply(d, t, out=room[1])
        curvature = dot(y, s)
        added = curvature > LEAST_CURVATURE
        while len(self.pairs) > history_size - added:
            oldest = self.pairs.pop(0)
            if self._from_before > 0:
                self._from_before -= 1
                self._dropped.append((oldest.y, oldest.s))
            else:
                self._space.spare.append((oldest.y, oldest.s))
        if not added:
            self._space.spare.append(room)
            return scale
        self.pairs.append(Pair(y, s, 1 / curvature))
        return curvature / dot(y, y)

    def direction(self, gradient: Array, scale: float, out: Array) -> Array:
        """Return -H g: Nocedal & Wright 2006, algorithm 7.4."""
        q = np.negative(gradient, out=out)
        alphas = []
        for y, s, rho in reversed(self.pairs):
            alphas.append(rho * dot(s, q))
            self._space.subtract_multiple(q, alphas[-1], y)
        q *= scale
        for y, s, rho in self.pairs:
            self._space.subtract_multiple(q, rho * dot(y, q) - alphas.pop(), s)
        return q

    def close(self, most: int) -> None:
        """Give room back when the step is complete, and keep that of `most` pairs."""
        spare = self._space.spare
        spare += self._dropped
        del spare[most:]


class Line:
    """The line of a search.

    Args:
        space: the parameters, of which x is where the line begins.
        evaluate: the optimizer's.
        d: the line's direction.
        keep: vectors that must keep their memory.
    """

    def __init__(self, space: Space, evaluate: Evaluate, d: Array, keep: Sequence[Array | None]) -> None:
        self._space, self._evaluate, self._d, self._keep = space, evaluate, d, (*keep, d)

    def at(self, t: float, points: tuple[Point, ...]) -> Point:
        """Move the parameters to x + t d and return what it is like there."""
        self._space.move(t, self._d)
        _, loss, gradient = self._evaluate((*self._keep, *(point.gradient for point in points)))
        return Point(t, loss, gradient, dot(gradient, self._d))


def dot(a: Array, b: Array) -> float:
    """Return the product of two vectors."""
    return float(np.dot(a, b))


def _inverse(value: float) -> float:
    return 1 / value if value else float("inf")


def _float(value: Any) -> float:
    return float(getattr(value, "item", lambda: value)())


def _whole(value: Any) -> int:
    return int(at_least(0)("value", getattr(value, "item", lambda: value)()))


def _loaded(entry: dict[str, Any], name: str, convert: Callable[[Any], Any], problems: list[str]) -> Any:
    """Take an entry of a saved state and convert it, or say what is wrong with it."""
    if name not in entry:
        problems.append(f"state {name!r} is missing")
        return None
    try:
        return convert(entry.pop(name))
    except (TypeError, ValueError) as error:
        problems.append(f"state {name!r} {error}")
        return None
