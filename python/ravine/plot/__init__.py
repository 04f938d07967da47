"""Pictures: schedules before training, and optimizers on their way over a loss surface. Needs `ravine[plot]`."""

from ravine.plot._schedule import schedule
from ravine.plot._surfaces import SURFACES, Surface
from ravine.plot._trajectories import Trajectories, trajectories

__all__ = ["SURFACES", "Surface", "Trajectories", "schedule", "trajectories"]
