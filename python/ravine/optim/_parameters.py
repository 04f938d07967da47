"""The parameters of an optimizer, and the forms in which they and their gradients come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from ravine import _core
from ravine._arrays import as_array, check_overlap, describe, parameter_array, place
from ravine._hyper import shown, whole
from ravine._sparse import SparseGrad, is_sparse_tensor
from ravine.nn.parameter import Parameter, gradients_of
from ravine.optim._groups import as_named, group_prefix

Array = np.ndarray[Any, Any]

_GRAD: Callable[[Any], Any] = attrgetter("grad")  # without a call in Python for each


class Record:
    """A parameter, and what its optimizer keeps of it."""

    __slots__ = ("array", "carried", "group", "is_plain", "keyed", "label", "name", "param", "pinned", "states", "step")

    def __init__(
        self, param: Any, array: Array, name: str | None, *, keyed: bool, label: str, is_plain: bool, group: int
    ) -> None:
        self.param = param  # a Parameter, or any object with .data and .grad
        self.array = array
        self.name = name
        self.keyed = keyed  # whether the name came with it as a key, and so must differ from others
        self.label = label  # how error messages call it
        self.is_plain = is_plain  # whether it came as a plain array, which carries no gradient
        self.group = group  # the position of its group
        self.step: Array = np.zeros((), np.int64)  # the compiled part advances it
        self.states: dict[str, Array] = {}
        self.carried: dict[str, Array] = {}  # the numbers, 0-d float64, that its rule carries from step to step

    def pin(self, owner: str) -> None:
        """Write down what the array is, so that a change of its memory, shape, strides or dtype will be seen."""
        self.pinned = _core.Pinned(self.array, owner, self.label)

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "pinned"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    @property
    def called(self) -> str:
        """Its name, or where it stands."""
        return self.name or self.label

    def as_dict(self) -> dict[str, Any]:
        """Return the step count, the carried numbers and the arrays; nothing where it has not stepped."""
        if self.step == 0:
            return {}
        return {"step": int(self.step), **{name: float(value) for name, value in self.carried.items()}, **self.states}

    def check_data(self, owner: str) -> None:
        """Raise where an object that may rebind its `.data` has done so."""
        array = as_array(self.param.data, f"{owner}: the data of {self.label}")
        if array is None or place(array) != place(self.array):
            raise ValueError(
                f"{owner}: the data of {self.label} has been replaced since the optimizer was made. "
                "Assign into it (p.data[...] = new), or make a new optimizer."
            )

    def zeroing(self, owner: str, set_to_none: bool) -> Callable[[], object]:
        """Return what sets the gradient to zeros in place, or drops it; raise where it cannot be."""
        param, grad = self.param, self.param.grad
        if isinstance(param, Parameter):
            return partial(param.zero_grad, True) if set_to_none else param.zero_grad
        if grad is None or set_to_none:
            return lambda: setattr(param, "grad", None)
        if isinstance(grad, SparseGrad):
            return lambda: setattr(param, "grad", grad.without_rows())
        if is_sparse_tensor(grad):
            zero: Callable[[], object] = grad.zero_
            return zero
        where = f"{owner}.zero_grad: the gradient of {self.label}"
        array = as_array(grad, where)
        if array is None:
            raise TypeError(f"{where} is {describe(grad)}; expected an array. Call zero_grad(set_to_none=True).")
        if not array.flags.writeable:
            raise ValueError(f"{where} is read-only. Call zero_grad(set_to_none=True).")
        return lambda: array.fill(0)


class Parameters:
    """One record for each parameter of an optimizer, in the order of the groups.

    Args:
        owner: the optimizer, for messages.
        way_of_gradients: how gradients of plain arrays are given, for messages.
    """

    def __init__(
        self, owner: str, way_of_gradients: str, records: Sequence[Record] = (), frozen: Sequence[int] = ()
    ) -> None:
        self._owner = owner
        self._way_of_gradients = way_of_gradients
        self.records = list(records)
        self.frozen = tuple(frozen)  # the positions, increasing, of those that steps leave alone
        self._sort()

    def _sort(self) -> None:
        """Write down what each step looks up."""
        self._params = [record.param for record in self.records]
        self._plain = [i for i, record in enumerate(self.records) if record.is_plain]
        self._rebindable = [record for record in self.records if not isinstance(record.param, Parameter)]
        rebindable = self._rebindable
        self._watched = _core.Watched([record.param for record in rebindable], [record.pinned for record in rebindable])
        self._positions: list[range] = []  # of each group
        begin = 0
        for _, group in groupby(self.records, key=attrgetter("group")):
            end = begin + len(list(group))
            self._positions.append(range(begin, end))
            begin = end

    # --- groups

    def read(self, params: object, group: int, check: Callable[[Array, str], None]) -> list[Record]:
        """Return the records of a new group, for `with_group`.

        Args:
            params: the group's "params" in any form.
            group: the position the group will have.
            check: raises where an array, right by itself, is none for this optimizer.
        """
        prefix = "params" if group == 0 else f"param_groups[{group}]['params']"
        added = []
        for i, (given, value) in enumerate(as_named(self._owner, prefix, params)):
            is_plain = not (hasattr(value, "grad") and hasattr(value, "data"))
            name = getattr(value, "name", None) if given is None and not is_plain else given
            label = f"{prefix}[{i}]" + (f" ({name!r})" if name is not None else "")
            array = parameter_array(self._owner, label, value if is_plain else value.data)
            check(array, f"{self._owner}: {label} ({describe(array)})")
            param = Parameter(array, name, requires_grad=False) if is_plain else value
            keyed = given is not None
            added.append(Record(param, array, name, keyed=keyed, label=label, is_plain=is_plain, group=group))
            added[-1].pin(self._owner)
        records = [*self.records, *added]
        check_overlap(self._owner, [record.label for record in records], [record.array for record in records])
        keys = [record.name for record in records if record.keyed]
        if len(set(keys)) < len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(
                f"{group_prefix(self._owner, group)}two parameters are named {twice!r}; each needs a name of its own."
            )
        return added

    def with_group(self, records: Iterable[Record]) -> Parameters:
        """Return these parameters and those of another group."""
        return Parameters(self._owner, self._way_of_gradients, [*self.records, *records], self.frozen)

    @property
    def group_count(self) -> int:
        """How many groups there are."""
        return len(self._positions)

    def positions(self, group: int) -> range:
        """Return where a group's parameters are among all."""
        return self._positions[group]

    def of_group(self, group: int) -> list[Record]:
        """Return the records of a group."""
        positions = self._positions[group]
        return self.records[positions.start : positions.stop]

    def position(self, where: str, param: Any) -> int:
        """Return where a parameter, given by its name or its position, is among all."""
        if isinstance(param, str):
            found = [i for i, record in enumerate(self.records) if record.name == param]
            if len(found) == 1:
                return found[0]
            problem = "two parameters have that name" if found else "no parameter has that name"
            raise ValueError(f"{where}={param!r}; {problem}. The names are {', '.join(map(repr, self._names()))}.")
        position: int = whole(where, param)
        if position >= len(self.records):
            raise ValueError(f"{where}={shown(param)}; the positions are 0 to {len(self.records) - 1}.")
        return position

    def _names(self) -> list[str | None]:
        return [record.name for record in self.records]

    # --- gradients

    @property
    def takes_lists(self) -> bool:
        """Whether `gradients` returns any list just as it is."""
        return self.group_count == 1 and not self._rebindable

    def gradients(self, grads: Any) -> Sequence[Any]:
        """Return one gradient, or None, for each parameter; none is looked into.

        Args:
            grads: see `Optimizer.step`.
        """
        if self._rebindable:
            self.check_data()
        if type(grads) is list and self.group_count == 1:
            return grads
        if grads is None:
            gradients = list(map(_GRAD, self._params)) if self._rebindable else gradients_of(self._params)
            for i in self._plain:
                if gradients[i] is None:
                    raise ValueError(
                        f"{self._owner}.step: {self.records[i].label} is a plain array, which carries no gradient. "
                        f"{self._way_of_gradients}, or make the array an nn.Parameter and set its grad."
                    )
            return gradients
        if isinstance(grads, Mapping):
            return self._by_name(grads, self.records)
        if (
            as_array(grads, f"{self._owner}.step: grads") is not None
            or isinstance(grads, str)
            or not isinstance(grads, Iterable)
        ):
            raise TypeError(
                f"{self._owner}.step: grads is {describe(grads)}; expected a list with one gradient for each "
                "parameter, or a dict by name."
            )
        gradients = list(grads)
        if len(gradients) == self.group_count and all(isinstance(g, list | tuple | Mapping) for g in gradients):
            parts = zip(gradients, map(self.of_group, range(self.group_count)), strict=True)
            return [
                gradient
                for part, records in parts
                for gradient in (self._by_name(part, records) if isinstance(part, Mapping) else part)
            ]
        return gradients

    def _by_name(self, grads: Mapping[str, Any], records: Sequence[Record]) -> list[Any]:
        names = [record.name for record in records]
        found = [grads[name] for name in names if name is not None and name in grads]
        if len(found) == len(names) == len(grads):
            return found
        if None in names:
            problem = f"{records[names.index(None)].label} has no name"
        elif len(set(names)) < len(names):
            problem = f"two parameters are named {next(name for name in names if names.count(name) > 1)!r}"
        else:
            missing = ", ".join(repr(name) for name in names if name not in grads)
            unknown = ", ".join(repr(name) for name in grads if name not in names)
            problems = [f"no gradient for {missing}"] if missing else []
            problems += [f"no parameter named {unknown}"] if unknown else []
            raise ValueError(
                f"{self._owner}.step: {' and '.join(problems)}; the parameters are {', '.join(map(repr, names))}. "
                "Give None where a parameter has no gradient this time."
            )
        raise ValueError(
            f"{self._owner}.step: grads is a dict, but {problem}. Give the parameters as a dict or as (name, array) "
            "pairs, or the gradients as a list."
        )

    def check_data(self) -> None:
        """Raise where an object that may rebind its `.data` has done so."""
        for i in self._watched.moved():
            self._rebindable[i].check_data(self._owner)

    # --- copies

    def __getstate__(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in ("_owner", "_way_of_gradients", "records", "frozen")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for record in self.records:
            # A copied torch parameter has memory of its own, which the copied array knows nothing of.
            record.array = parameter_array(self._owner, record.label, record.param.data)
            record.pin(self._owner)
        self._sort()
