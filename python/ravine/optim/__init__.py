"""Optimizers that update NumPy arrays in place, under torch.optim's names."""

from ravine.optim import lr_scheduler, swa_utils
from ravine.optim.adagrad import Adagrad
from ravine.optim.adam import Adam, AdamW
from ravine.optim.optimizer import Optimizer
from ravine.optim.rmsprop import RMSprop
from ravine.optim.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "lr_scheduler", "swa_utils"]
