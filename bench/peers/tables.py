"""Tables in Markdown, made of the results' file, and put between markers of a page."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ravine.benchmark import workloads
from ravine.benchmark.session import readable

from . import PEERS
from .measure import SERIAL
from .worker import LIMIT, NO_STEP

# What a file of results holds, as `json` reads it.
Results = Mapping[str, Any]
Row = Mapping[str, Any]

TITLES = {
    **{name: peer.title for name, peer in PEERS.items()},
    LIMIT: "memory limit",
    NO_STEP: "no step",
    SERIAL: "ravine, 1 thread",
    "numpy": "NumPy, in place",
    "numpy_new": "NumPy, naive",
    "torch": "torch",
    "onednn": "oneDNN, through torch",
    "copy": "a copy of the data",
}


def title(name: str) -> str:
    """Return the name of a contender in words."""
    return TITLES[name]


def tables(results: Results) -> dict[str, str]:
    """Return every part of a page by the name of its marker; parts without results are left out."""
    parts = {"machine": _machine(results["machine"])}
    if results["steps"]:
        parts["steps"] = _steps(results["steps"])
    if results["loops"]:
        parts["loops"] = _loops(results["loops"])
    if results["batch-norm"]:
        parts["batch-norm"] = _batch_norm(results["batch-norm"])
    return parts


def fill(page: Path, parts: Mapping[str, str]) -> None:
    """Replace what stands between the markers `<!-- name -->` and `<!-- /name -->` of a page.

    Raises:
        ValueError: the page lacks a marker; nothing has been written.
    """
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text, found = pattern.subn(lambda match, part=part: f"{match[1]}\n{part}\n\n{match[2]}", text)  # type: ignore[misc]
        if found != 1:
            raise ValueError(f"{page}: expected the markers <!-- {name} --> and <!-- /{name} --> once, found {found}.")
    page.write_text(text, encoding="utf-8")


def limit_part(rows: Sequence[Row], row: Row) -> float | None:
    """Return what part of a peer's step its memory traffic takes by itself, if the limit was measured.

    Both were compared with ravine, whose time cancels out.
    """
    same = ("threads", "workload", "rule")
    for other in rows:
        if other["peer"] == LIMIT and all(other[key] == row[key] for key in same):
            ratio: float = other["ratio"]["median"] / row["ratio"]["median"]
            return ratio
    return None


def ravine_seconds(rows: Iterable[Row]) -> dict[str, float]:
    """Return ravine's time for each workload: the median of those in the rounds with each peer."""
    times: dict[str, list[float]] = {}
    for row in rows:
        times.setdefault(row["workload"], []).append(row["ravine_seconds"])
    return {workload: statistics.median(several) for workload, several in times.items()}


def _machine(machine: Row) -> str:
    caches = ", ".join(f"{name} {size}" for name, size in machine["caches"].items())
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return "\n".join(
        [
            f"{machine['cpu'] or 'unknown processor'}, {machine['cores']} cores ({caches or 'caches unknown'}), "
            f"{machine['platform']}; instruction set {machine['instruction set']};",
            f"Python {machine['python']}, NumPy {machine['numpy']}, ravine {machine['ravine']}, "
            f"commit {machine['commit'] or 'unknown'}, {machine['date'][:10]}; "
            f"load when it began: {_load(machine['load'])}.",
            "",
            f"Peers: {versions or 'none installed'}.",
        ]
    )


def _load(load: Sequence[float] | None) -> str:
    """Return how many others were running on average in the minute before."""
    return "unknown" if load is None else f"{load[0]:.1f}"


def _steps(rows: Sequence[Row]) -> str:
    """Return a table for each rule and number of threads: peers down, workloads across."""
    lines: list[str] = []
    for threads, rule in _distinct(rows, "threads", "rule"):
        here = [row for row in rows if (row["threads"], row["rule"]) == (threads, rule)]
        names = list(dict.fromkeys(row["workload"] for row in here))
        cells = {"ravine": {name: readable(seconds) for name, seconds in ravine_seconds(here).items()}}
        last: dict[str, str] = {}
        for row in here:
            if row["peer"] == LIMIT:
                last[row["workload"]] = f"{row['ratio']['median']:.0%}"
            else:
                cells.setdefault(row["peer"], {})[row["workload"]] = _ratio(row["ratio"])
        lines += [f"**{rule}, {threads} thread{'s' * (threads > 1)}**", ""]
        heads = [f"{name}, {_size(workloads.count(name))}" if not name.startswith("flat") else name for name in names]
        body = [[title(peer), *(row.get(name, "") for name in names)] for peer, row in cells.items()]
        if last:
            body.append(["memory limit reached", *(last.get(name, "") for name in names)])
        lines += [*_table(["", *heads], body), ""]
    return "\n".join(lines[:-1])


def _loops(rows: Sequence[Row]) -> str:
    """Return a table for each size of products: loops down, parameters across."""
    lines: list[str] = []
    for rule, products in _distinct(rows, "rule", "products"):
        here = [row for row in rows if (row["rule"], row["products"]) == (rule, products)]
        counts = list(dict.fromkeys(row["parameters"] for row in here))
        body = []
        for (peer,) in _distinct(here, "peer"):
            cells = {
                row["parameters"]: f"{readable(row['seconds'])}, {_ratio(row['ratio'])}"
                for row in here
                if row["peer"] == peer
            }
            body.append([title(peer), *(cells.get(count, "") for count in counts)])
        lines += [f"**{rule}, {products} products**", "", *_table(["", *map(_size, counts)], body), ""]
    return "\n".join(lines[:-1])


def _batch_norm(rows: Sequence[Row]) -> str:
    """Return a table for each number of threads: shapes and passes down, peers across."""
    lines: list[str] = []
    for (threads,) in _distinct(rows, "threads"):
        here = [row for row in rows if row["threads"] == threads]
        peers = [peer for peer in TITLES if any(row["peer"] == peer for row in here)]
        body = []
        for shape, layout, operation in _distinct(here, "shape", "layout", "operation"):
            found = {
                row["peer"]: row
                for row in here
                if _key(row, "shape", "layout", "operation") == (shape, layout, operation)
            }
            times = [readable(found[peer]["ravine_seconds"]) for peer in ("numpy", "numpy_new")]
            ratios = [_ratio(found[peer]["ratio"]) if peer in found else "" for peer in peers]
            body.append([f"{'x'.join(map(str, shape))} {layout}, {operation}", *times, *ratios])
        lines += [f"**{threads} thread{'s' * (threads > 1)}**", ""]
        lines += [*_table(["", "ravine, `out=`", "ravine, new", *map(title, peers)], body), ""]
    return "\n".join(lines[:-1])


def _ratio(ratio: Row) -> str:
    return f"{_short(ratio['median'])}x ({_short(ratio['lower'])} to {_short(ratio['upper'])})"


def _short(value: float) -> str:
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _size(count: int) -> str:
    for unit, name in ((10**6, " M"), (10**3, " k")):
        if count >= unit:
            return f"{count / unit:.3g}{name}"
    return str(count)


def _key(row: Row, *names: str) -> tuple[Any, ...]:
    return tuple(tuple(row[name]) if isinstance(row[name], list) else row[name] for name in names)


def _distinct(rows: Iterable[Row], *names: str) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys(_key(row, *names) for row in rows))


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *body)]
