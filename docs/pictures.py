"""Make the pictures of the documentation.

python docs/pictures.py [folder]

Needs the package with its extra: pip install "ravine[plot]".
"""

import sys
from pathlib import Path

from ravine import plot
from ravine._figures import reduce_colours
from ravine.demo import saddle
from ravine.demo.schedules import GALLERY, STEPS
from ravine.plot.command import construct, new_optimizer


def main(folder: Path) -> None:
    """Write a picture of each schedule, and the animation."""
    schedules = folder / "schedules"
    schedules.mkdir(parents=True, exist_ok=True)
    for example in reversed(GALLERY):  # of a class that comes twice, the first
        made = construct(example.text, new_optimizer())
        title = f"{example.name}({example.text.partition('(')[2][:-1]})"
        height = 2.6 if made.momentum_at(0) is None else 3.8
        figure = plot.schedule(made, STEPS, metrics=example.metrics, title=title, size=(6.4, height))
        path = schedules / f"{example.name}.png"
        figure.savefig(path, dpi=72)
        reduce_colours(path)
    (saddle.at_the_saddle() + saddle.in_the_ravine()).save(folder / "saddle.gif", frames=60, fps=12, dpi=56)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images")
