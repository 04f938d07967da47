"""A saddle point: plain gradient descent is slow to leave it, adaptive methods are not.

pip install ravine
python examples/saddle.py
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from ravine import optim


def main() -> dict[str, int]:
    """Start next to the saddle of f(x, y) = x^2 - y^2 and return how many steps each method takes to y = 1."""
    methods: dict[str, Callable[[list[Any]], optim.Optimizer]] = {
        "SGD": lambda params: optim.SGD(params, lr=0.01),
        "SGD with momentum": lambda params: optim.SGD(params, lr=0.01, momentum=0.9),
        "Adagrad": lambda params: optim.Adagrad(params, lr=0.1),
        "RMSprop": lambda params: optim.RMSprop(params, lr=0.01),
        "Adam": lambda params: optim.Adam(params, lr=0.01),
    }
    steps = {}
    for name, make in methods.items():
        point = np.array([1.0, 1e-6])
        optimizer = make([point])
        count = 0
        while abs(point[1]) < 1:
            optimizer.step([np.array([2 * point[0], -2 * point[1]])])
            count += 1
        steps[name] = count
        print(f"{name:18}{count:5} steps")
    return steps


if __name__ == "__main__":
    main()
