"""What all optimizers have in common, whatever is inside: groups, the call of a step, hooks, saving."""

from __future__ import annotations

import copy
import os
import sys
import time
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ravine import _core
from ravine._hyper import Check
from ravine._saved import checked, within
from ravine.optim._averages import Averages
from ravine.optim._hooks import Hook, Hooks, RemovableHandle
from ravine.optim._parameters import Record
from ravine.optim._patterns import matching
from ravine.optim._step_options import LastStep, StepKeywords, StepOptions, read_options

if TYPE_CHECKING:
    from typing_extensions import Unpack

Group = dict[str, Any]
Result = TypeVar("Result")
AnyOptimizer = TypeVar("AnyOptimizer", bound="Optimizer")

_UNFINISHED = RemovableHandle(Hooks())  # among the hooks before a step, so that a step need not look for it elsewhere
_PAUSE = 2e-4  # seconds between two looks at a step that another thread makes
_PATIENCE = 600.0  # seconds after which its end is waited for no more
_ALL: weakref.WeakSet[Optimizer] = weakref.WeakSet()


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
    _kept: ClassVar[tuple[str, ...]] = ("_owner", "_averages", "_saves_averages", "defaults", "param_groups")

    defaults: dict[str, Any]
    param_groups: list[Group]

    def __init__(self) -> None:
        self._owner = type(self).__name__
        self._averages: Averages | None = None
        self._saves_averages = False  # or a Handoff does, of which this is a stage
        self._make_transient()

    def _make_transient(self) -> None:
        """Make what is neither copied nor pickled."""
        self._direct: _core.Plan | None = None  # which makes a step from a list of gradients as it is
        self._idle = {0: None}  # empty while something is done that must not be done twice at once
        _ALL.add(self)
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
            RuntimeError: this optimizer is in the middle of a step.
        """
        self._alone("add_param_group", lambda: self._group_adder(param_group))

    def _group_adder(self, param_group: Mapping[str, Any]) -> Callable[[], None]:
        """Check a group; return what adds it."""
        raise NotImplementedError

    def modify(
        self, *, cautious: bool = False, max_update_rms: float | None = None, max_grad_rms: float | None = None
    ) -> None:
        """Set what becomes of the update d of each parameter before it is taken, in every group.

            d = p after the rule - p before;   g: the gradient, with the L2 penalty where the rule adds one
            cautious:        d <- d n / (k + 1) where d g < 0, else 0;   k of its n elements do so
            max_update_rms:  d <- d / max(1, RMS(d) / (lr max_update_rms));   RMS(d) = sqrt(mean(d^2))
            max_grad_rms:    lr <- lr / max(1, RMS(g / max(sqrt(v'), eps)) / max_grad_rms);   v' as in Adam

        Each looks at a parameter as a whole, and not at others. The first two come in this order after decoupled weight
        decay, which they leave alone; the third is for the decay too. States are what they are without. The step goes
        twice over the parameters it concerns, and keeps nothing.

        They are hyper-parameters of groups, there only where they are on. They can be given in group dicts and edited
        as others, `group["cautious"] = True`, and are saved; `load_state_dict` takes over those that were saved, and
        these alone.

        Liang, Chen, Liu & Liu 2024, "Cautious Optimizers: Improving Training with One Line of Code"; Shazeer & Stern
        2018, "Adafactor", section 6; Wortsman et al. 2023, "Stable and Low-Precision Training for Large-Scale
        Vision-Language Models", algorithm 2, which is AdamW with max_grad_rms=1.

        Args:
            cautious: take no element of the update that climbs.
            max_update_rms: the greatest RMS of the update, in units of the group's lr. Above 0; None: no limit.
            max_grad_rms: of Adam and AdamW: the greatest RMS of the gradient, in units of its usual size. Above 0;
                None: no limit. Not together with max_update_rms.

        Raises:
            TypeError, ValueError: a value cannot be used, or this optimizer's step is no update that could be modified;
                nothing has changed.
            RuntimeError: this optimizer is in the middle of a step.
        """
        modifiers = {"cautious": cautious, "max_update_rms": max_update_rms, "max_grad_rms": max_grad_rms}
        self._alone("modify", lambda: self._modifier(modifiers))

    def _modifier(self, modifiers: Mapping[str, Any]) -> Callable[[], None]:
        """Check modifiers; return what sets them."""
        raise NotImplementedError

    @property
    def _stages(self) -> Sequence[Optimizer]:
        """The optimizers that make its steps, one after the other: itself, but for a Handoff."""
        return (self,)

    @property
    def _records(self) -> Sequence[Record]:
        """The parameters, in the order of the groups."""
        raise NotImplementedError

    # --- steps

    def step(
        self,
        grads: Iterable[Any] | Mapping[str, Any] | Callable[[], Any] | None = None,
        closure: Callable[[], Any] | None = None,
        **options: Unpack[StepKeywords],
    ) -> Any:
        """Update every parameter that has a gradient, in place.

        What the keywords ask for is done in the same pass over memory; only the norm takes one of its own, over the
        gradients. They come in this order: unscale, find the norm, skip or clip, cut off, update, average, zero.

        Args:
            grads: one gradient for each parameter in the order of the groups (or one list for each group), or a dict
                by name; without it, each `Parameter.grad` is taken. None stands for "no gradient this time": that
                parameter and its state stay as they are. A gradient has its parameter's shape and dtype. It may be
                read-only and of any strides; one in another memory order than its parameter costs a copy. SGD, Adagrad
                and SparseAdam also take a `SparseGrad`, and then touch nothing but the rows it names.
            closure: called first; computes the gradients and returns the loss. As in torch it may also come first.
            max_norm: clip the norm of all gradients together: multiply them by min(1, max_norm / (norm + 1e-6)), as
                `clip_grad_norm_` does. Above 0; infinity only finds the norm.
            norm_type: the p of that norm, above 0; infinity is the greatest absolute value.
            max_value: cut each element off at -max_value and max_value, after that. Above 0.
            grad_scale: what the loss was multiplied by: gradients are multiplied by 1 / grad_scale first. Finite and
                not 0.
            skip_nonfinite: make no step where a gradient holds NaN or infinity, or the norm to clip by is not finite:
                parameters, states, averages and counts keep every byte. `last_step` tells. Where `total_norm` is given,
                it goes by that alone.
            zero_grad: set the gradients that were given to zero, also where the step is skipped.
            total_norm: the norm, where it has been computed elsewhere (of a model spread over processes, say).

        Returns:
            What the closure returned, or None.

        Raises:
            TypeError, ValueError: a gradient or a hyper-parameter cannot be used. Parameters, states and step counts
                are as they were.
            RuntimeError: this optimizer is in the middle of a step (in another thread, or around a hook or closure).
                Where another thread saves it, a step waits.
        """
        asked = read_options(self._owner, "step", **options) if options else None
        while True:
            try:
                del self._idle[0]
            except KeyError:
                self._wait_or_refuse("step", "give each thread an optimizer of its own")
                continue
            # No signal comes between a `del`, which is no call, and the `try`; after a lock's acquire() it does.
            try:
                if not (self._pre_step or self._post_step):
                    direct = self._direct
                    if direct is None or type(grads) is not list or asked is not None or closure is not None:
                        return self._step(grads, closure, asked)
                    return None if direct.step(grads, self.param_groups) else self._step(grads)
                if not self._is_wanted():
                    return self._step_between_hooks(grads, closure, **options)
            finally:
                self._idle[0] = None
            while self._is_wanted():  # or else a thread that does nothing but step would leave the others no gap
                time.sleep(_PAUSE)

    def _is_wanted(self) -> bool:
        """Whether threads look at the state, or wait to."""
        return _WANTED in self._pre_step.values()

    def _wait_or_refuse(self, name: str, way_out: str) -> None:
        """Give another thread time to save; raise where it is not that which keeps this one from its work."""
        for _ in range(2):  # one may have begun or ended to save between the two looks
            if not self._is_at_work_under(sys._getframe(2)) and (self._is_wanted() or 0 in self._idle):
                time.sleep(_PAUSE)
                return
            time.sleep(0)
        raise RuntimeError(
            f"{self._owner}.{name}: this optimizer is in the middle of a step. Do not call {name}() from its own hooks "
            f"or closure, and {way_out}."
        ) from None

    def _alone(self, name: str, prepare: Callable[[], Callable[[], None]]) -> None:
        """Do what is returned by `prepare`, which checks it: not in the middle of a step, and all of it."""
        self._held(name, lambda: self._go_through_with(prepare()))

    def _held(self, name: str, act: Callable[[], None]) -> None:
        """Do something as a step is done: not in the middle of one."""
        while True:
            try:
                del self._idle[0]
            except KeyError:
                self._wait_or_refuse(name, "in other threads call it between steps")
                continue
            try:
                self._finish()
                return act()
            finally:
                self._idle[0] = None

    def _go_through_with(self, act: Callable[[], None]) -> None:
        """Do something that must not be left half done, and that may be done again where it was.

        Where Ctrl-C interrupts it, it is done again; where a second one interrupts that, before anybody looks at this
        optimizer. An error ends it.
        """
        self._pre_step[_UNFINISHED] = act
        try:
            self._finish()
        except Exception:
            raise
        except BaseException:
            self._finish()
            raise

    def _finish(self) -> None:
        """Do what Ctrl-C has interrupted."""
        act = self._pre_step.get(_UNFINISHED)
        if act is None:
            return
        try:
            act()
        except Exception:
            self._pre_step.pop(_UNFINISHED, None)
            raise
        self._pre_step.pop(_UNFINISHED, None)

    def _between_steps(self, look: Callable[[], Result]) -> Result:
        """Look at the state while nobody changes it: wait for a step of another thread.

        Hooks and closures, during which the state is whole, look at once.
        """
        if self._is_at_work_under(sys._getframe(1)):
            return look()
        saver = RemovableHandle(self._pre_step)
        until = time.monotonic() + _PATIENCE
        try:
            self._pre_step[saver] = _WANTED
            while True:
                try:
                    del self._idle[0]
                except KeyError:
                    if time.monotonic() > until:
                        raise RuntimeError(
                            f"{self._owner}: a step of another thread has not ended in {_PATIENCE:g} seconds. Save "
                            "between steps, and let no hook or closure wait for a thread that saves."
                        ) from None
                    time.sleep(_PAUSE)
                    continue
                try:
                    self._finish()
                    return look()
                finally:
                    self._idle[0] = None
        finally:
            if saver in self._pre_step:
                del self._pre_step[saver]

    def _is_at_work_under(self, frame: FrameType | None) -> bool:
        """Whether a frame of this thread is called from something that is not done twice at once.

        It asks the stack, so that a step, which is done far more often, has nothing to write down.
        """
        codes = (Optimizer.step.__code__, Optimizer._held.__code__, Optimizer._between_steps.__code__)
        while frame is not None:
            if frame.f_code in codes and frame.f_locals["self"] is self:
                return True
            frame = frame.f_back
        return False

    def _step_between_hooks(self, *args: Any, **kwargs: Any) -> Any:
        self._finish()
        for hook in self._pre_step.in_order():
            changed = hook(self, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        result = self._step_asked_for(*args, **kwargs)
        for hook in self._post_step.in_order():
            hook(self, args, kwargs)
        return result

    def _step_asked_for(self, grads: Any = None, closure: Callable[[], Any] | None = None, **options: Any) -> Any:
        return self._step(grads, closure, read_options(self._owner, **options) if options else None)

    def _step(
        self, grads: Any = None, closure: Callable[[], Any] | None = None, options: StepOptions | None = None
    ) -> Any:
        raise NotImplementedError

    @property
    def last_step(self) -> LastStep | None:
        """What came of the last step; None where there has been none since this object was made or loaded."""
        raise NotImplementedError

    def step_param(
        self,
        param: str | int,
        grad: Any,
        *,
        max_value: float | None = None,
        grad_scale: float | None = None,
        zero_grad: bool = False,
    ) -> None:
        """Update one parameter as soon as its gradient exists, while that is in cache; `end_step` ends the step.

        The same bits as `step` with all gradients. Until `end_step` the optimizer cannot be saved or copied.

        Args:
            param: its name, or its position among all.
            grad: its gradient; None leaves it as it is.
            max_value: cut each element off there, as in `step`. What depends on all gradients cannot be asked for.
            grad_scale: what the loss was multiplied by, as in `step`.
            zero_grad: set the gradient to zero, as in `step`.

        Raises:
            TypeError, ValueError: an argument cannot be used, or this optimizer's steps depend on sums over a group;
                nothing has changed.
            RuntimeError: the parameter has been updated since the last `end_step`, or this optimizer is in the middle
                of a step.
        """
        options = read_options(
            self._owner, "step_param", max_value=max_value, grad_scale=grad_scale, zero_grad=zero_grad
        )
        self._held("step_param", lambda: self._step_param(param, grad, options))

    def end_step(self) -> None:
        """End a step that `step_param` has made: count it, and renew averages of what had no gradient.

        Raises:
            RuntimeError: no parameter has been updated.
        """
        self._held("end_step", self._end_step)

    def _check_step_has_ended(self) -> None:
        """Raise in the middle of a step that is made parameter by parameter."""

    def _step_param(self, param: Any, grad: Any, options: StepOptions) -> None:
        raise ValueError(f"{self._owner}.step_param: its step needs all gradients at once. Call step().")

    def _end_step(self) -> None:
        raise RuntimeError(f"{self._owner}.end_step: no parameter has been updated by step_param().")

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set every gradient to zeros in place, or drop it. A sparse one becomes one that names no row.

        Args:
            set_to_none: drop the gradients instead. torch does so by default; here the default keeps `p.grad += ...`
                working.
        """
        for zero in [record.zeroing(self._owner, set_to_none) for record in self._records]:
            zero()

    @property
    def has_stepped(self) -> bool:
        """Whether `step` has been called, or a state loaded; schedules warn where it has not."""
        raise NotImplementedError

    @property
    def _made(self) -> int:
        """How many steps this object has made; one more as soon as a step cannot be taken back."""
        raise NotImplementedError

    @property
    def _progress(self) -> tuple[int, int]:
        """How many steps have been made, and how many skipped since; another one after each step."""
        last = self.last_step
        return self._made, 0 if last is None else last.skipped

    # --- frozen parameters

    def freeze(self, *patterns: str) -> list[str]:
        """Let steps leave parameters alone, whatever their gradients, until `unfreeze`.

        A step is made as if they had no gradient: they, their states and their step counts keep every byte, and their
        gradients take no part in a norm or a sum over the group. Gradients are given and checked as before, and
        `zero_grad` sets them to zero.

        Which are frozen is copied and pickled with the optimizer, but is not in `state_dict`, as torch's requires_grad
        is not: freeze again after loading into a new one. In a `Handoff` they are frozen in all stages.

        Args:
            patterns: which parameters, by name. A pattern matches a name of which it is a whole component between dots,
                or several in a row: "head" matches "head" and "net.head.bias", but not "heads.bias". In each component
                *, ? and [...] are wildcards, as in names of files: "blocks.[01].norm*".

        Returns:
            The names that matched, in the order of the groups, also of those that were frozen already.

        Raises:
            TypeError, ValueError: a pattern is no text or matches no parameter, there is none, or the optimizer is, or
                has as a stage, an `LBFGS`, which can leave none alone; nothing has changed.
            RuntimeError: this optimizer is in the middle of a step.

        >>> import numpy as np
        >>> from ravine import optim
        >>> opt = optim.SGD({"stem.w": np.ones(1), "head.w": np.ones(1), "head.b": np.ones(1)}, lr=1)
        >>> opt.freeze("head"), opt.unfreeze("b"), opt.frozen
        (['head.w', 'head.b'], ['head.b'], ['head.w'])
        """
        return self._set_frozen("freeze", patterns, True)

    def unfreeze(self, *patterns: str) -> list[str]:
        """Let steps update parameters again that `freeze` has frozen; they go on with the state that they had.

        Args:
            patterns: which parameters, as in `freeze`; "*" matches all.

        Returns:
            The names that matched, in the order of the groups, also of those that were not frozen.

        Raises:
            TypeError, ValueError, RuntimeError: as in `freeze`.
        """
        return self._set_frozen("unfreeze", patterns, False)

    @property
    def frozen(self) -> list[str]:
        """The names of the frozen parameters, in the order of the groups."""
        raise NotImplementedError

    def _set_frozen(self, method: str, patterns: tuple[str, ...], is_frozen: bool) -> list[str]:
        matched: list[str] = []

        if not patterns:
            raise TypeError(f"{self._owner}.{method}: no pattern came; give names of parameters, or '*' for all.")

        def prepare() -> Callable[[], None]:
            named = {i: record.name for i, record in enumerate(self._records) if record.name is not None}
            if not named:
                raise ValueError(
                    f"{self._owner}.{method}: its parameters have no names; give them as a dict or as (name, array) "
                    "pairs."
                )
            positions = matching(f"{self._owner}.{method}", patterns, named)
            matched[:] = [named[i] for i in positions]
            return self._freezer(positions, is_frozen)

        self._alone(method, prepare)
        return matched

    def _freezer(self, positions: Collection[int], is_frozen: bool) -> Callable[[], None]:
        """Return what freezes or unfreezes these parameters; raise where they cannot be."""
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
            In the middle of a step of another thread it waits for the end of that.

        Raises:
            RuntimeError: it has waited for ten minutes: that step may itself wait for this thread.
        """
        for hook in self._pre_save.in_order():
            hook(self)
        result = self._between_steps(self._saved_with_averages)
        for hook in self._post_save.in_order():
            changed = hook(self, result)
            result = result if changed is None else changed
        return result

    def _saved_with_averages(self) -> dict[str, Any]:
        saved = self._saved()
        if self._averages is not None and self._saves_averages:
            saved["averages"] = self._averages.saved()
        return saved

    def _saved(self) -> dict[str, Any]:
        raise NotImplementedError

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state and hyper-parameters of a saved optimizer of the same class and parameters.

        Args:
            state_dict: what `state_dict()` returned; one of torch's with its tensors on the CPU works too.

        Raises:
            ValueError: it does not fit. The message lists every mismatch (groups, names, shapes, dtypes, values), and
                the optimizer is as it was.
            RuntimeError: this optimizer is in the middle of a step.
        """
        self._held("load_state_dict", lambda: self._load(state_dict))

    def _load(self, state_dict: Mapping[str, Any]) -> None:
        self._go_through_with(checked(self._owner, "optimizer", self._loader, state_dict))
        self._loaded()

    def _loaded(self) -> None:
        """Call the hooks that follow a loading."""
        for hook in self._post_load.in_order():
            hook(self)

    def _loader(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        """Do as `_checked_state`, after the hooks before a loading."""
        for hook in self._pre_load.in_order():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        restore_averages = self._checked_averages(state_dict, problems)
        if isinstance(state_dict, Mapping):
            state_dict = {key: value for key, value in state_dict.items() if key != "averages"}
        restore = self._checked_state(state_dict, problems)

        def take_over() -> None:
            restore()
            restore_averages()

        return take_over

    def _checked_averages(self, state_dict: Any, problems: list[str]) -> Callable[[], None]:
        averages = self._averages
        kept = averages is not None and self._saves_averages
        given = isinstance(state_dict, Mapping) and "averages" in state_dict
        if averages is not None and kept and given:
            return within("averages", averages.loader(self._records), state_dict["averages"], problems)
        if given:
            problems.append("it holds averages; make an ExponentialMovingAverage of this optimizer before loading it")
        if kept:
            problems.append("it holds no averages; load it before the ExponentialMovingAverage is made")
        return lambda: None

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

    # --- averages

    def _averager(self, averages: Averages | None) -> Callable[[], None]:
        """Return what lets steps renew averages, or none; raise where they cannot."""
        raise ValueError(
            f"{self._owner}: its steps are no pass over the parameters in which averages could be renewed. Use "
            "swa_utils.AveragedModel, and call its update_parameters() after steps."
        )

    # --- as an object

    def __repr__(self) -> str:
        lines = []
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            shown = {} if not isinstance(group, dict) else {str(key): value for key, value in group.items()}
            lines += [f"    {key}: {shown[key]}" for key in sorted(shown) if key not in ("params", "param_names")]
        return "\n".join([f"{self._owner} (", *lines, ")"])

    def _shared(self) -> Iterator[Any]:
        """Yield what a shallow copy has in common with this optimizer."""
        for record in self._records:
            yield record.param
            yield record.array

    def __copy__(self: AnyOptimizer) -> AnyOptimizer:
        """Return an optimizer of the same parameters that goes on from here: groups, state and counts are its own."""
        return self._between_steps(lambda: copy.deepcopy(self, {id(each): each for each in self._shared()}))

    def __getstate__(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in self._kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_transient()


def _WANTED(*_: object) -> None:  # noqa: N802
    """Stand among the hooks before a step, so that it need not look elsewhere: somebody waits to look at the state."""


def _forget_other_threads() -> None:
    """In a child process, which has none of the threads that stepped or saved."""
    for optimizer in list(_ALL):
        for handle, hook in list(optimizer._pre_step.items()):
            if hook is _WANTED:
                handle.remove()
        if not optimizer._is_at_work_under(sys._getframe(1)):
            optimizer._idle[0] = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_other_threads)
