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

The layers' functions are in the modules `batchnorm` and `dropout` beside these. There too the kernels give the same
bits, since sums are taken in the same order.
"""

from ravine.reference.adabelief import adabelief
from ravine.reference.adadelta import adadelta
from ravine.reference.adafactor import adafactor
from ravine.reference.adagrad import adagrad
from ravine.reference.adam import adam, adamw
from ravine.reference.adamax import adamax
from ravine.reference.adan import adan
from ravine.reference.ademamix import ademamix
from ravine.reference.adopt import adopt
from ravine.reference.asgd import asgd
from ravine.reference.estimating import prodigy, swats
from ravine.reference.lbfgs import lbfgs
from ravine.reference.lion import lion
from ravine.reference.muon import muon
from ravine.reference.nadam import nadam
from ravine.reference.radam import radam
from ravine.reference.rmsprop import rmsprop
from ravine.reference.rprop import rprop
from ravine.reference.schedule_free import adamwschedulefree, sgdschedulefree
from ravine.reference.sgd import sgd
from ravine.reference.sparse_adam import sparseadam
from ravine.reference.trust_ratio import lamb, lars
from ravine.reference.yogi import yogi

__all__ = [
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "adamwschedulefree",
    "adan",
    "ademamix",
    "adopt",
    "asgd",
    "lamb",
    "lars",
    "lbfgs",
    "lion",
    "muon",
    "nadam",
    "prodigy",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
    "sgdschedulefree",
    "sparseadam",
    "swats",
    "yogi",
]
