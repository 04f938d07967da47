"""What all optimizers have in common, whatever is inside: groups, the call of a step, hooks, saving."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ravine._hyper import Check
from ravine._saved import load
from ravine.optim._hooks import Hook, Hooks, RemovableHandle
from ravine.optim._parameters import Record

Group = dict[str, Any]


class Optimizer:
    """Base class of all optimizers.

    All but `Handoff`, which takes other optimizers, take what to update and their hyper-parameters.

    Args:
        params: what to update, as one of
            an iterable of arrays, of `nn.Parameter`s, or of objects with `.data` and `.grad` (torch parameters);
            a dict of name to array; an iterable of `(name, array)` pairs;
            an iterable of group dicts, each with "params" in one of the forms above and hyper-parameters of its own.
            Arrays are float32 or float64, at least 1-d, contiguous (C or Fortran order), writable and distinct.

    Attributes:
        param_groups: a list of dicts: "params" and the hyper-parameters of each group. Edit the hyper-parameters at
            any time; the next step checks and uses them.
        defaults: the hyper-parameters of every group that does not set its own.

    Raises:
        TypeError, ValueError: something in `params` or a hyper-parameter cannot be used; the message names it.
    """

    # The check of each hyper-parameter of a group.
    _checks: Mapping[str, Check]
    # Whether a step evaluates the loss at several places.
    _needs_closure: bool = False
    # The attributes that are copied and pickled. The others follow from these, or belong to this object alone.
    _kept: ClassVar[tuple[str, ...]] = ("_owner", "defaults", "param_groups")

    defaults: dict[str, Any]
    param_groups: list[Group]

    def __init__(self) -> None:
        self._owner = type(self).__name__
        self._make_transient()

    def _make_transient(self) -> None:
        """Make what is neither copied nor pickled."""
        self._idle = {0: None}  # empty while something is done that must not be done twice at once
        self._pre_step, self._post_step = Hooks(), Hooks()
        self._pre_save, self._post_save = Hooks(), Hooks()
        self._pre_load, self._post_load = Hooks(), Hooks()

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group of parameters.

        Args:
            param_group: a dict of "params" (in the forms of the constructor, or a single array) and of the
                hyper-parameters that differ from the defaults.

        Raises:
            TypeError, ValueError: something in it cannot be used; the optimizer is as it was.
        """
        self._add_group(param_group)

    def _add_group(self, param_group: Mapping[str, Any]) -> None:
        raise NotImplementedError

    @property
    def _records(self) -> Sequence[Record]:
        """The parameters, in the order of the groups."""
        raise NotImplementedError

    # --- steps

    def step(
        self,
        grads: Iterable[Any] | Mapping[str, Any] | Callable[[], Any] | None = None,
        closure: Callable[[], Any] | None = None,
    ) -> Any:
        """Update every parameter that has a gradient, in place.

        Args:
            grads: one gradient for each parameter in the order of the groups (or one list for each group), or a dict
                by name; without it, each `Parameter.grad` is taken. None stands for "no gradient this time": that
                parameter and its state stay as they are. A gradient has its parameter's shape and dtype. It may be
                read-only and of any strides; one in another memory order than its parameter costs a copy. SGD, Adagrad
                and SparseAdam also take a `SparseGrad`, and then touch nothing but the rows it names.
            closure: called first; computes the gradients and returns the loss. As in torch it may also come first.

        Returns:
            What the closure returned, or None.

        Raises:
            TypeError, ValueError: a gradient or a hyper-parameter cannot be used. Parameters, states and step counts
                are as they were.
            RuntimeError: this optimizer is in the middle of a step (in another thread, or around a hook or closure).
        """
        try:
            del self._idle[0]
        except KeyError:
            raise RuntimeError(
                f"{self._owner}.step: this optimizer is in the middle of a step. Do not call step() from its own hooks "
                "or closure, and give each thread an optimizer of its own."
            ) from None
        # No signal comes between a `del`, which is no call, and the `try`; after a lock's acquire() it does.
        try:
            if self._pre_step or self._post_step:
                return self._step_between_hooks(grads, closure)
            return self._step(grads, closure)
        finally:
            self._idle[0] = None

    def _alone(self, message: str, act: Callable[[], None]) -> None:
        """Do something as a step is done: not in the middle of one, which the message tells."""
        try:
            del self._idle[0]
        except KeyError:
            raise RuntimeError(message) from None
        try:
            act()
        finally:
            self._idle[0] = None

    def _step_between_hooks(self, *args: Any) -> Any:
        kwargs: dict[str, Any] = {}
        for hook in self._pre_step.in_order():
            changed = hook(self, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        result = self._step(*args, **kwargs)
        for hook in self._post_step.in_order():
            hook(self, args, kwargs)
        return result

    def _step(self, grads: Any = None, closure: Callable[[], Any] | None = None) -> Any:
        raise NotImplementedError

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set every gradient to zeros in place, or drop it. A sparse one becomes one that names no row.

        Args:
            set_to_none: drop the gradients instead. torch does so by default; here the default keeps `p.grad += ...`
                working.
        """
        for record in self._records:
            record.zero_grad(set_to_none)

    @property
    def has_stepped(self) -> bool:
        """Whether `step` has been called, or a state loaded; schedules warn where it has not."""
        raise NotImplementedError

    # --- state

    @property
    def state(self) -> Mapping[Any, Mapping[str, Any]]:
        """For each parameter that has stepped, "step", other numbers, and its arrays (live, not copies)."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later `load_state_dict` needs, as copies, in torch's form.

        Returns:
            "state": for the position of each parameter that has stepped, "step" (int), other numbers and its arrays;
            "param_groups": the groups, with the positions of their parameters as "params".
        """
        for hook in self._pre_save.in_order():
            hook(self)
        result = self._saved()
        for hook in self._post_save.in_order():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def _saved(self) -> dict[str, Any]:
        raise NotImplementedError

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and hyper-parameters of a saved optimizer of the same class and parameters.

        Args:
            state_dict: what `state_dict()` returned; one of torch's with its tensors on the CPU works too.

        Raises:
            ValueError: it does not fit. The message lists every mismatch (groups, names, shapes, dtypes, values), and
                the optimizer is as it was.
        """
        load(self._owner, "optimizer", self._loader, state_dict)

    def _loader(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        """Do as `_checked_state`, between the hooks."""
        for hook in self._pre_load.in_order():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        take_over = self._checked_state(state_dict, problems)

        def restore() -> None:
            take_over()
            for hook in self._post_load.in_order():
                hook(self)

        return restore

    def _checked_state(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        """Check a saved state and list what does not fit; return what takes it over."""
        raise NotImplementedError

    # --- hooks

    def register_step_pre_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return changed `(args, kwargs)`."""
        return self._pre_step.add(hook)

    def register_step_post_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return self._post_step.add(hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict`."""
        return self._pre_save.add(hook, prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after `state_dict`; it may return another dict."""
        return self._post_save.add(hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before `load_state_dict`; it may return another dict."""
        return self._pre_load.add(hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(optimizer)` after `load_state_dict`."""
        return self._post_load.add(hook, prepend)

    # --- as an object

    def __repr__(self) -> str:
        lines = []
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key not in ("params", "param_names")]
        return "\n".join([f"{self._owner} (", *lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in self._kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_transient()
