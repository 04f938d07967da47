"""An evolution strategy (Salimans et al. 2017): gradients estimated from function values alone, followed by Adam.

pip install ravine
python examples/evolution_strategy.py
"""

import numpy as np
import numpy.typing as npt
from ravine import optim

Vectors = npt.NDArray[np.float64]


def rosenbrock(x: Vectors) -> Vectors:
    """Return the values at points of shape (..., n): a long curved valley, 0 at (1, ..., 1)."""
    return np.asarray((100 * (x[..., 1:] - x[..., :-1] ** 2) ** 2 + (1 - x[..., :-1]) ** 2).sum(axis=-1))


def main() -> float:
    """Walk down the valley, and return the last value."""
    rng = np.random.default_rng(0)
    x = np.array([-1.2, 1.0])
    optimizer = optim.Adam([x], lr=0.05)
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.9995**t)
    sigma, pairs = 0.02, 16
    for step in range(3001):
        noise = rng.standard_normal((pairs, x.size))
        difference = rosenbrock(x + sigma * noise) - rosenbrock(x - sigma * noise)
        optimizer.step([difference @ noise / (2 * sigma * pairs)])
        schedule.step()
        if step % 500 == 0:
            print(f"step {step:4}: f = {rosenbrock(x):.6f} at {np.round(x, 3)}")
    return float(rosenbrock(x))


if __name__ == "__main__":
    main()
