"""Every update rule in plain NumPy, to be read beside its formula: the specification of the compiled kernels.

A function here makes one step of the optimizer of the same name, for one parameter:

    adam(p, g, state, lr=1e-3, betas=(0.9, 0.999), ...)

`p` is updated in place, `g` is its gradient, and `state` a dict that starts empty and comes back like
`optimizer.state[p]`. Hyper-parameters are prepared in Python floats, which are doubles, and rounded once to the dtype
of `p`; everything after that is done in this dtype. The kernels give the same bits. Where sums over a whole parameter
are needed, they are taken in float64 and in the order of `_sums`.

`prodigy` and `swats`, whose sums go over all parameters, take lists of the three. `muon` equals the optimizer up to
rounding, since NumPy's matrix products have no fixed order.

`lbfgs` takes, in place of `g`, a function that computes loss and gradient at `p`; `optim.LBFGS` gives the same but for
rounding, since its sums are BLAS's too.

Each is in a module beside this one and found by its arguments: whoever adds one adds a module and nothing else.

The layers' functions are in the modules `batchnorm` and `dropout` beside these, norms and clipping of gradients in
`clipping`. There too the kernels give the same bits, since sums are taken in the same order.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from inspect import isfunction, signature
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any


def _found() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield what makes a step: the public functions whose third argument is a state, or the states."""
    for module in iter_modules(__path__, f"{__name__}."):
        for name, value in vars(import_module(module.name)).items():
            own = isfunction(value) and value.__module__ == module.name and not name.startswith("_")
            if own and list(signature(value).parameters)[2:3] in (["state"], ["states"]):
                yield name, value


_STEPS = dict(_found())
globals().update(_STEPS)

__all__ = sorted(_STEPS)  # noqa: PLE0605

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Any]: ...
