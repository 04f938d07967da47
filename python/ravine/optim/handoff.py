"""One optimizer after another over the same parameters."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ravine._arrays import address, describe
from ravine._hyper import increasing, whole
from ravine.optim._hooks import Hook, Hooks, RemovableHandle
from ravine.optim._state import Member
from ravine.optim.optimizer import Optimizer
from ravine.optim.schedule_free import ScheduleFree


class Follower(Protocol):
    """What follows from stage to stage: a schedule."""

    def _restart(self) -> None:
        """Begin again, with the stage now at work."""

    def _rebind(self) -> None:
        """Go on, with the stage now at work, as its saved state will say."""


class Handoff(Optimizer):
    """Several optimizers over the same parameters, one after the other: Adam first, then SGD.

        opt = optim.Handoff([optim.Adam(params), optim.SGD(params, lr=0.01, momentum=0.9)], at=[1000])

    One of them, the stage at work, makes the steps; `param_groups`, `defaults` and `state` are its own. After `at[k]`
    steps stage k hands over to the next; `switch` does so at any time. It is used as any optimizer is. A stage that
    begins goes on from the parameters as they are, with its own hyper-parameters and state.

    Schedules over it start again with each stage: at a hand-over the schedule goes back to its step 0 and starts from
    the new stage's own learning rate (its "initial_lr" where a schedule has driven it before and nobody has changed it
    since; `ReduceLROnPlateau` and `SWALR`, which never look at that, go on from what it has come to). `lr_at` and jumps
    count from there. A `schedule.step()` after the hand-over and before the new stage's first step still belongs to the
    old stage, and leaves the schedule at step 0.

    A schedule-free stage is put into evaluation when it hands over, so that the next starts from its average.

    Keskar & Socher 2017, "Improving generalization performance by switching from Adam to SGD", which finds the moment
    by itself; here it is given.

    Args:
        optimizers: the stages, two or more, each constructed with the same parameters in the same order. They may have
            groups and hyper-parameters of their own, but schedules over all need as many groups in each.
        at: how many calls of `step` there have been when each stage but the last hands over, in increasing order;
            None leaves it to `switch`.

    Attributes:
        optimizers: the stages.
        at: see above; empty for None.
        steps: how many calls of `step` there have been.
        param_groups, defaults: those of the stage at work.

    Raises:
        TypeError, ValueError: an argument cannot be used; the message names it.

    >>> import numpy as np
    >>> from ravine import optim
    >>> w = np.ones(2)
    >>> opt = Handoff([optim.Adam([w]), optim.SGD([w], lr=0.5)], at=[2])
    >>> for _ in range(2):
    ...     opt.step([np.ones(2)])
    >>> opt.stage, opt.param_groups[0]["lr"]
    (1, 0.5)
    """

    def __init__(self, optimizers: Sequence[Optimizer], at: Sequence[int] | None = None) -> None:
        self._owner = "Handoff"
        self.optimizers = _checked_stages(optimizers)
        self.at: list[int] = [] if at is None else increasing("Handoff: at", at)
        if at is not None and len(self.at) != len(self.optimizers) - 1:
            raise ValueError(
                f"Handoff: at={at!r} has {len(self.at)} step counts for {len(self.optimizers)} optimizers; expected "
                "one for each hand-over, one less than optimizers."
            )
        self.steps = 0
        self._stage = 0
        self._stage_steps = 0  # those since the stage has begun
        self._make_transient()

    def _make_transient(self) -> None:
        self._make_hooks()
        self._switched = Hooks()
        self._followers: list[weakref.ref[Follower]] = []
        self._hand_overs = 0  # and loadings, of this object
        self._stand_at(self._stage)

    def _stand_at(self, stage: int) -> None:
        self._stage = stage
        self.param_groups = self.current.param_groups
        self.defaults = self.current.defaults
        self._needs_closure = self.current._needs_closure

    @property
    def stage(self) -> int:
        """Which of the optimizers is at work, counted from 0."""
        return self._stage

    @property
    def current(self) -> Optimizer:
        """The optimizer at work."""
        return self.optimizers[self._stage]

    @property
    def state(self) -> Mapping[Any, Mapping[str, Any]]:
        """The state of the optimizer at work."""
        return self.current.state

    @property
    def has_stepped(self) -> bool:
        """Whether `step` has been called."""
        return self.steps > 0

    @property
    def has_just_switched(self) -> bool:
        """Whether there has been a hand-over since the last step."""
        return self.steps > 0 and self._stage_steps == 0

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Refuse a group: each stage has hyper-parameters of its own.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "Handoff: a group cannot be added to all stages at once. Add it to each of handoff.optimizers, then go on."
        )

    def zero_grad(self, set_to_none: bool = False) -> None:
        """Set every gradient to zeros in place, or drop it."""
        self.current.zero_grad(set_to_none)

    def train(self) -> None:
        """Call `train()` of the optimizer at work where it has that, as schedule-free ones do."""
        if isinstance(self.current, ScheduleFree):
            self.current.train()

    def eval(self) -> None:
        """Call `eval()` of the optimizer at work where it has that."""
        if isinstance(self.current, ScheduleFree):
            self.current.eval()

    # --- steps and stages

    def _step(self, grads: Any = None, closure: Callable[[], Any] | None = None) -> Any:
        due = self._stage < len(self.at) and self.at[self._stage] == self.steps + 1
        if due:
            self._check_stage("step", self._stage + 1)
        result = self.current.step(grads, closure)
        self.steps += 1
        self._stage_steps += 1
        if due:
            self._hand_over(self._stage + 1)
        return result

    def switch(self, stage: int | None = None) -> None:
        """Hand over now.

        Args:
            stage: to which of the optimizers, counted from 0; the next without it. Nothing happens where it is at work
                already. An earlier one goes on with the state it had, but a schedule-free one, whose average knows
                nothing of what came after it, cannot begin again.

        Raises:
            TypeError, ValueError: there is no such stage, or it cannot begin; nothing has changed.
            RuntimeError: this optimizer is in the middle of a step.
        """
        if not self._busy.acquire(False):
            raise RuntimeError("Handoff.switch: this optimizer is in the middle of a step. Switch between steps.")
        try:
            target = self._stage + 1 if stage is None else whole("Handoff.switch: stage", stage)
            if target >= len(self.optimizers):
                asked = "there is no next stage" if stage is None else f"stage={stage!r}"
                raise ValueError(
                    f"Handoff.switch: {asked}; the stages are 0 to {len(self.optimizers) - 1}, and {self._stage} is at "
                    "work."
                )
            if target != self._stage:
                self._check_stage("switch", target)
                self._hand_over(target)
        finally:
            self._busy.release()

    def _check_stage(self, where: str, stage: int) -> None:
        """Raise where a stage cannot take over from the one at work."""
        there = self.optimizers[stage]
        _check_shared(f"Handoff.{where}: ", self._stage, self.current, stage, there)
        if isinstance(there, ScheduleFree) and there.has_stepped:
            raise ValueError(
                f"Handoff.{where}: optimizers[{stage}] ({there._owner}) has been at work already, and its average "
                "knows nothing of the steps since. Give the list a new one for it."
            )
        if self._followers_alive() and len(there.param_groups) != len(self.param_groups):
            raise ValueError(f"Handoff.{where}: {groups_differ(self.optimizers)}")

    def _hand_over(self, stage: int) -> None:
        if isinstance(self.current, ScheduleFree):
            self.current.eval()
        self._stand_at(stage)
        self._stage_steps = 0
        self._hand_overs += 1
        for follower in self._followers_alive():
            follower._restart()
        for hook in self._switched.in_order():
            hook(self)

    def _enlist(self, follower: Follower) -> None:
        """Tell a schedule of hand-overs from now on, as long as somebody else holds it."""
        self._followers.append(weakref.ref(follower))

    def _followers_alive(self) -> list[Follower]:
        found = [(reference, reference()) for reference in self._followers]
        self._followers = [reference for reference, follower in found if follower is not None]
        return [follower for _, follower in found if follower is not None]

    def register_switch_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(handoff)` after each hand-over, when schedules have started again."""
        return self._switched.add(hook)

    # --- state

    def _saved(self) -> dict[str, Any]:
        return {
            "stage": self._stage,
            "steps": self.steps,
            "stage_steps": self._stage_steps,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a later `load_state_dict` needs, as copies.

        Returns:
            "stage": which optimizer is at work; "steps": the calls of `step` so far; "stage_steps": those since the
            last hand-over; "optimizers": the state_dict of each. Not `at`, which the constructor is given.
        """
        return super().state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state of a saved Handoff of the same optimizers.

        A schedule over it is loaded by itself, before or after.

        Raises:
            ValueError: it does not fit. The message lists every mismatch, and all optimizers are as they were.
        """
        super().load_state_dict(state_dict)

    def _checked_state(self, state_dict: Mapping[str, Any], problems: list[str]) -> Callable[[], None]:
        names = ("stage", "steps", "stage_steps", "optimizers")
        if not isinstance(state_dict, Mapping) or not set(names) <= set(state_dict):
            problems.append(f"it is not a dict with {', '.join(map(repr, names))}")
            return _nothing
        stage, steps, stage_steps = (_count(name, state_dict[name], problems) for name in names[:3])
        saved = list(state_dict["optimizers"])
        if len(saved) != len(self.optimizers):
            problems.append(f"it has {len(saved)} optimizers; expected {len(self.optimizers)}")
        elif stage >= len(saved):
            problems.append(f"stage={stage}; expected one of 0 to {len(saved) - 1}")
        loaders = []
        for i, (optimizer, state) in enumerate(zip(self.optimizers, saved, strict=False)):
            found: list[str] = []
            loaders.append(optimizer._loader(state, found))
            problems += [f"optimizers[{i}] ({optimizer._owner}): {problem}" for problem in found]

        def take_over() -> None:
            for load in loaders:
                load()
            self.steps, self._stage_steps = steps, stage_steps
            self._stand_at(stage)
            self._hand_overs += 1
            for follower in self._followers_alive():
                follower._rebind()

        return take_over

    # --- as an object

    def __repr__(self) -> str:
        lines = [f"stage {self._stage} at work after {self.steps} steps" + (f", at={self.at}" if self.at else "")]
        for i, optimizer in enumerate(self.optimizers):
            lines += [f"[{i}] {optimizer!r}"]
        return "\n".join(["Handoff (", *lines, ")"])

    def __getstate__(self) -> dict[str, Any]:
        return {key: self.__dict__[key] for key in ("_owner", "optimizers", "at", "steps", "_stage", "_stage_steps")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for i, optimizer in enumerate(self.optimizers):
            _check_shared("Handoff: in a copy, ", 0, self.optimizers[0], i, optimizer)
        self._make_transient()


def _nothing() -> None:
    """Take over nothing."""


def _count(name: str, value: Any, problems: list[str]) -> int:
    try:
        return int(whole(name, value))
    except (TypeError, ValueError) as error:
        problems.append(str(error))
        return 0


def groups_differ(optimizers: Iterable[Optimizer]) -> str:
    """Return what is wrong where a schedule is to drive stages of different numbers of groups, in words."""
    counts = ", ".join(str(len(optimizer.param_groups)) for optimizer in optimizers)
    return (
        f"its stages have {counts} parameter groups, and one schedule over all needs as many in each. Give them alike "
        "groups, or schedule each of handoff.optimizers by itself."
    )


def _checked_stages(optimizers: object) -> list[Optimizer]:
    if not isinstance(optimizers, list | tuple) or len(optimizers) < 2:
        came = f"{len(optimizers)} of them" if isinstance(optimizers, list | tuple) else describe(optimizers)
        raise TypeError(f"Handoff: optimizers is {came}; expected a list of two or more optimizers.")
    for i, optimizer in enumerate(optimizers):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"Handoff: optimizers[{i}] is {describe(optimizer)}; expected a ravine.optim optimizer.")
        if isinstance(optimizer, Handoff):
            raise TypeError(f"Handoff: optimizers[{i}] is a Handoff itself; give all its stages in one list.")
        if any(optimizer is other for other in optimizers[:i]):
            raise ValueError(f"Handoff: optimizers[{i}] is in the list twice; construct one for each stage.")
        _check_shared("Handoff: ", 0, optimizers[0], i, optimizer)
    return list(optimizers)


def _check_shared(where: str, i: int, one: Optimizer, j: int, other: Optimizer) -> None:
    """Raise where two stages do not have the same parameters."""
    stages = f"{where}optimizers[{i}] ({one._owner}) and optimizers[{j}] ({other._owner})"
    advice = "Construct all stages with the same list of parameters."
    if len(one._members) != len(other._members):
        raise ValueError(f"{stages} have {len(one._members)} and {len(other._members)} parameters. {advice}")
    for a, b in zip(one._members, other._members, strict=True):
        if _place(a) != _place(b):
            raise ValueError(
                f"{stages} have different arrays: {a.label} ({describe(a.array)}) and {b.label} ({describe(b.array)}). "
                + advice
            )
        if a.bare != b.bare or not (a.bare or a.param is b.param):
            raise ValueError(
                f"{stages} have the array of {a.label} in different objects, which carry a gradient each. {advice}"
            )
        if a.name != b.name:
            raise ValueError(f"{stages} have different names for one array: {a.name!r} and {b.name!r}. {advice}")


def _place(member: Member) -> tuple[Any, ...]:
    array = member.array
    return address(array), array.shape, array.strides, array.dtype
