"""One optimizer after another over the same parameters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ravine._hyper import Check, increasing, whole
from ravine.optim._averages import Averages
from ravine.optim._followers import Follower, Followers
from ravine.optim._handoff_stages import check_shared, check_takes_over, checked_stages, groups_differ, read_stages
from ravine.optim._hooks import Hook, Hooks, RemovableHandle
from ravine.optim._parameters import Record
from ravine.optim._step_options import LastStep, StepOptions
from ravine.optim.optimizer import Group, Optimizer
from ravine.optim.schedule_free import ScheduleFree


class _Beginning(NamedTuple):
    """How a stage began to work, or was loaded: replaced as one, so that no Ctrl-C comes between its parts."""

    stage: int = 0
    steps: int = 0  # of all stages until then
    stage_steps: int = 0  # of these, its own since the hand-over
    made: int = 0  # how many the stage itself had made, of which later ones are counted


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

    _kept = ("_owner", "_averages", "_saves_averages", "optimizers", "at", "_beginning")

    def __init__(self, optimizers: Sequence[Optimizer], at: Sequence[int] | None = None) -> None:
        self.optimizers = checked_stages(optimizers)
        self.at: list[int] = [] if at is None else increasing("Handoff: at", at)
        if at is not None and len(self.at) != len(self.optimizers) - 1:
            raise ValueError(
                f"Handoff: at={at!r} has {len(self.at)} step counts for {len(self.optimizers)} optimizers; expected "
                "one for each hand-over, one less than optimizers."
            )
        self._beginning = _Beginning(made=self.optimizers[0]._made)
        super().__init__()

    def _make_transient(self) -> None:
        super()._make_transient()
        self._switched = Hooks()
        self._followers = Followers()
        self._hand_overs = 0  # and loadings, of this object
        self._last_at_work: Optimizer | None = None  # which has made the last step

    @property
    def stage(self) -> int:
        """Which of the optimizers is at work, counted from 0."""
        return self._beginning.stage

    @property
    def steps(self) -> int:
        """How many calls of `step` there have been."""
        return self._beginning.steps + self.current._made - self._beginning.made

    @property
    def _stage_steps(self) -> int:
        return self._beginning.stage_steps + self.current._made - self._beginning.made

    @property
    def current(self) -> Optimizer:
        """The optimizer at work."""
        return self.optimizers[self._beginning.stage]

    @property
    def param_groups(self) -> list[Group]:  # type: ignore[override]
        """The groups of the optimizer at work."""
        return self.current.param_groups

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """The defaults of the optimizer at work."""
        return self.current.defaults

    @property
    def _checks(self) -> Mapping[str, Check]:  # type: ignore[override]
        return self.current._checks

    @property
    def _needs_closure(self) -> bool:  # type: ignore[override]
        return self.current._needs_closure

    @property
    def _stages(self) -> Sequence[Optimizer]:
        return self.optimizers

    @property
    def _records(self) -> Sequence[Record]:
        return self.current._records

    @property
    def state(self) -> Mapping[Any, Mapping[str, Any]]:
        """The state of the optimizer at work."""
        return self.current.state

    @property
    def has_stepped(self) -> bool:
        """Whether `step` has been called."""
        return self.steps > 0 or self.last_step is not None

    @property
    def _progress(self) -> tuple[int, int]:
        made, skipped = zip(*(optimizer._progress for optimizer in self.optimizers), strict=True)
        return sum(made), sum(skipped)

    @property
    def has_just_switched(self) -> bool:
        """Whether there has been a hand-over since the last step."""
        return self.steps > 0 and self._stage_steps == 0

    def _group_adder(self, param_group: Mapping[str, Any]) -> Callable[[], None]:
        raise ValueError(
            "Handoff: a group cannot be added to all stages at once. Add it to each of handoff.optimizers, then go on."
        )

    def _modifier(self, modifiers: Mapping[str, Any]) -> Callable[[], None]:
        raise ValueError("Handoff: its stages are modified one by one. Call modify() of each of handoff.optimizers.")

    def train(self) -> None:
        """Call `train()` of the optimizer at work where it has that, as schedule-free ones do."""
        if isinstance(self.current, ScheduleFree):
            self.current.train()

    def eval(self) -> None:
        """Call `eval()` of the optimizer at work where it has that."""
        if isinstance(self.current, ScheduleFree):
            self.current.eval()

    # --- steps and stages

    def _step(
        self, grads: Any = None, closure: Callable[[], Any] | None = None, options: StepOptions | None = None
    ) -> Any:
        if self.at:
            self._hand_over_where_due()  # Ctrl-C may have come before
            if self._is_due(self.steps + 1):
                self._check_stage("step", self.stage + 1)
        try:
            self._last_at_work = self.current
            return self.current.step(grads, closure, **({} if options is None else options.keywords()))
        finally:
            self._hand_over_where_due()

    def _step_param(self, param: Any, grad: Any, options: StepOptions) -> None:
        self._hand_over_where_due()  # Ctrl-C may have come before
        self.current._held("step_param", lambda: self.current._step_param(param, grad, options))

    def _end_step(self) -> None:
        if self._is_due(self.steps + 1):
            self._check_stage("end_step", self.stage + 1)
        try:
            self._last_at_work = self.current
            self.current.end_step()
        finally:
            self._hand_over_where_due()

    @property
    def last_step(self) -> LastStep | None:
        """What came of the last step; None where there has been none since this object was made or loaded."""
        return None if self._last_at_work is None else self._last_at_work.last_step

    def _is_due(self, steps: int) -> bool:
        """Whether the stage at work hands over after so many steps."""
        return self.stage < len(self.at) and self.at[self.stage] == steps

    def _hand_over_where_due(self) -> None:
        if self.at and self._is_due(self.steps) and self._stage_steps > 0:
            self._hand_over(self.stage + 1)

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
        self._held("switch", lambda: self._switch(stage))

    def _switch(self, stage: int | None) -> None:
        self._hand_over_where_due()
        target = self.stage + 1 if stage is None else whole("Handoff.switch: stage", stage)
        if target >= len(self.optimizers):
            asked = "there is no next stage" if stage is None else f"stage={stage!r}"
            raise ValueError(
                f"Handoff.switch: {asked}; the stages are 0 to {len(self.optimizers) - 1}, and {self.stage} is at work."
            )
        if target != self.stage:
            self._check_stage("switch", target)
            self._hand_over(target)

    def _check_stage(self, where: str, stage: int) -> None:
        """Raise where a stage cannot take over from the one at work."""
        if where == "switch":
            self.current._check_step_has_ended()
        check_takes_over(f"Handoff.{where}: ", self.optimizers, self.stage, stage)
        if self._followers.alive() and len(self.optimizers[stage].param_groups) != len(self.param_groups):
            raise ValueError(f"Handoff.{where}: {groups_differ(self.optimizers)}")

    def _hand_over(self, stage: int) -> None:
        self._go_through_with(lambda: self._begin(stage))
        for hook in self._switched.in_order():
            hook(self)

    def _begin(self, stage: int) -> None:
        if stage != self.stage:
            if isinstance(self.current, ScheduleFree):
                self.current.eval()
            self._beginning = _Beginning(stage, self.steps, 0, self.optimizers[stage]._made)
        self._hand_overs += 1
        for follower in self._followers.alive():
            follower._restart()

    def _enlist(self, follower: Follower) -> None:
        """Tell a schedule of hand-overs from now on, as long as somebody else holds it."""
        self._followers.add(follower)

    def register_switch_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook(handoff)` after each hand-over, when schedules have started again."""
        return self._switched.add(hook)

    def _averager(self, averages: Averages | None) -> Callable[[], None]:
        attaching = [optimizer._averager(averages) for optimizer in self.optimizers]

        def attach() -> None:
            for each in attaching:
                each()
            self._averages = averages

        return attach

    @property
    def frozen(self) -> list[str]:
        """The names of the parameters that are frozen in the stage at work."""
        return self.current.frozen

    def _freezer(self, positions: Collection[int], is_frozen: bool) -> Callable[[], None]:
        for i in range(len(self.optimizers)):
            check_shared("Handoff: ", self.optimizers, self.stage, i)  # groups may have been added to one of them
        freezing = [optimizer._freezer(positions, is_frozen) for optimizer in self.optimizers]

        def freeze() -> None:
            for each in freezing:
                each()

        return freeze

    # --- state

    def _loaded(self) -> None:
        for optimizer in self.optimizers:
            optimizer._loaded()
        super()._loaded()

    def _saved(self) -> dict[str, Any]:
        self._hand_over_where_due()
        return {
            "stage": self.stage,
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
        saved = read_stages(state_dict, self.optimizers, problems)

        def take_over() -> None:
            for restore in saved.restores:
                restore()
            made = self.optimizers[saved.stage]._made
            self._beginning = _Beginning(saved.stage, saved.steps, saved.stage_steps, made)
            self._last_at_work = None
            self._hand_overs += 1
            for follower in self._followers.alive():
                follower._rebind()

        return take_over

    # --- as an object

    def _shared(self) -> Iterator[Any]:
        for optimizer in self.optimizers:
            yield from optimizer._shared()

    def __repr__(self) -> str:
        lines = [f"stage {self.stage} at work after {self.steps} steps" + (f", at={self.at}" if self.at else "")]
        for i, optimizer in enumerate(self.optimizers):
            lines += [f"[{i}] {optimizer!r}"]
        return "\n".join(["Handoff (", *lines, ")"])

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for i in range(len(self.optimizers)):
            check_shared("Handoff: in a copy, ", self.optimizers, 0, i)
