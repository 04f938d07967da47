"""Optimizers that update NumPy arrays in place: torch.optim's, under its names, and others."""

from ravine._sparse import SparseGrad
from ravine.optim import lr_scheduler, swa_utils
from ravine.optim._step_options import LastStep
from ravine.optim.accumulator import Accumulator
from ravine.optim.adabelief import AdaBelief
from ravine.optim.adadelta import Adadelta
from ravine.optim.adafactor import Adafactor
from ravine.optim.adagrad import Adagrad
from ravine.optim.adam import Adam, AdamW
from ravine.optim.adamax import Adamax
from ravine.optim.adan import Adan
from ravine.optim.ademamix import AdEMAMix
from ravine.optim.adopt import ADOPT
from ravine.optim.asgd import ASGD
from ravine.optim.grad_scaler import GradScaler
from ravine.optim.groups import groups
from ravine.optim.handoff import Handoff
from ravine.optim.lamb import LAMB
from ravine.optim.lars import LARS
from ravine.optim.lbfgs import LBFGS
from ravine.optim.lion import Lion
from ravine.optim.muon import Muon
from ravine.optim.nadam import NAdam
from ravine.optim.optimizer import Optimizer
from ravine.optim.prodigy import Prodigy
from ravine.optim.radam import RAdam
from ravine.optim.rmsprop import RMSprop
from ravine.optim.rprop import Rprop
from ravine.optim.schedule_free import AdamWScheduleFree, SGDScheduleFree
from ravine.optim.sgd import SGD
from ravine.optim.sparse_adam import SparseAdam
from ravine.optim.swats import SWATS
from ravine.optim.yogi import Yogi

__all__ = [
    "ADOPT",
    "ASGD",
    "LAMB",
    "LARS",
    "LBFGS",
    "SGD",
    "SWATS",
    "Accumulator",
    "AdEMAMix",
    "AdaBelief",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "AdamWScheduleFree",
    "Adamax",
    "Adan",
    "GradScaler",
    "Handoff",
    "LastStep",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "Prodigy",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SGDScheduleFree",
    "SparseAdam",
    "SparseGrad",
    "Yogi",
    "groups",
    "lr_scheduler",
    "swa_utils",
]
