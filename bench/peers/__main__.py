"""Measure everybody, print the tables, write results, draw pictures, fill the page.

    python -m bench.peers --quick                                   # a rough picture, in some minutes
    python -m bench.peers --parts steps --rules adam --workloads mnist_mlp flat:1000000 --peers numba torch_fused
    python -m bench.peers --json peers.json --pictures docs/images/peers --page docs/performance.md
    python -m bench.peers --from peers.json --page docs/performance.md             # the tables again, without measuring

Every figure is a ratio to ravine, measured in turn, A B A B; what a step is for each peer stands in the docstring of
its `start` function.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ravine._extras import MissingExtraError
from ravine.benchmark import workloads
from ravine.benchmark.command import workload_name
from ravine.benchmark.session import FULL, QUICK, Effort, new_file, readable

from . import PEERS, batch_norm, measure
from .layers import WrongResultError
from .machine import describe
from .peer import RULES
from .pictures import draw
from .tables import Results, fill, limit_part, tables, title
from .worker import LIMIT, NO_STEP, PeerError

PARTS = ("steps", "loops", "batch-norm")
FLAT = tuple(f"flat:{size}" for size in (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 30_000_000))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        results = _read(arguments.results) if arguments.results else _measure(arguments)
        parts = tables(results)
        print("\n\n".join(parts.values()))
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        for picture in draw(results, arguments.pictures) if arguments.pictures else []:
            _tell(f"wrote {picture.path}")
            if arguments.page:
                link = os.path.relpath(picture.path, arguments.page.parent)
                parts[picture.part] += f"\n\n![{picture.heading}]({link})"
        if arguments.page:
            fill(arguments.page, parts)
    except (MissingExtraError, OSError, PeerError, ValueError, WrongResultError) as error:
        print(f"bench.peers: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: all")
    parser.add_argument(
        "--rules",
        nargs="+",
        choices=RULES,
        help="default: all of them on the models, adam on single arrays and in loops",
    )
    parser.add_argument(
        "--workloads",
        nargs="+",
        type=workload_name,
        metavar="NAME",
        help=f"{', '.join(workloads.MODELS)}, flat:N, flat:KxN; "
        f"default: all models (6 GB of memory), and {', '.join(FLAT)}",
    )
    parser.add_argument("--peers", nargs="+", choices=[name for name in PEERS if name != "ravine"], help="default: all")
    parser.add_argument("--threads", nargs="+", type=int, choices=range(1, 1025), metavar="N", default=[1, 2])
    parser.add_argument(
        "--parameters", nargs="+", type=_parameters, default=measure.PARAMETERS, help="of the loops' steps"
    )
    parser.add_argument("--products", nargs="+", choices=measure.PRODUCTS, default=list(measure.PRODUCTS))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, for a rough figure")
    parser.add_argument("--one-process", action="store_true", help="time steps in this process")
    parser.add_argument("--json", type=new_file, metavar="FILE", help="write the results")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw them")
    parser.add_argument("--page", type=_existing, metavar="FILE", help="put the tables between the markers of a page")
    parser.add_argument("--from", dest="results", type=_existing, metavar="FILE", help="measure nothing; read results")
    return parser


def _parameters(text: str) -> int:
    if not text.isdecimal() or int(text) < measure.TENSORS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {measure.TENSORS} or more")
    return int(text)


def _existing(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return Path(text)


def _read(path: Path) -> Results:
    """Return results that were written before.

    Raises:
        ValueError: that is not what the file holds.
    """
    results = json.loads(path.read_text(encoding="utf-8"))
    wanted = {"machine", *PARTS}
    if not isinstance(results, dict) or not wanted <= results.keys():
        raise ValueError(f"{path}: expected results written with --json, with {', '.join(sorted(wanted))}.")
    return results


def _measure(arguments: argparse.Namespace) -> Results:
    """Measure what the command line asks for, telling of each result as it comes.

    Ctrl-C ends it early, with the results so far.
    """
    effort = QUICK if arguments.quick else FULL
    peers = [name for name in arguments.peers or PEERS if name != "ravine"]
    for name in peers:
        if not PEERS[name].installed:
            _tell(f"{PEERS[name].title}: not installed; run: {PEERS[name].install}")
    if not PEERS["numba"].installed:
        _tell(f"{title(LIMIT)}: not measured, since it takes numba; run: {PEERS['numba'].install}")
    peers = [name for name in peers if PEERS[name].installed]
    results: dict[str, Any] = {
        "machine": describe(),
        "effort": asdict(effort),
        **{part: [] for part in PARTS},
        "failures": [],
    }
    try:
        _fill(results, arguments, peers, effort)
    except KeyboardInterrupt:
        _tell("interrupted")
    return results


def _fill(results: dict[str, Any], arguments: argparse.Namespace, peers: Sequence[str], effort: Effort) -> None:
    """Measure part after part, and append to the results."""

    def failed(failure: measure.Failure) -> None:
        results["failures"].append(failure)
        _tell(failure[1])

    if "steps" in arguments.parts:
        for row in _steps(arguments, peers, effort, failed):
            results["steps"].append(row)
            _tell_of_step(results["steps"], row)
    if "loops" in arguments.parts:
        loops = [name for name in measure.LOOPS if name in {NO_STEP, "ravine", *peers}]
        for rule in arguments.rules or ["adam"]:
            here = [name for name in loops if name == NO_STEP or rule in PEERS[name].rules]
            for loop in measure.loops(arguments.parameters, arguments.products, here, rule, effort, failed):
                row = asdict(loop)
                results["loops"].append(row)
                what = f"{rule} {row['parameters']:,} parameters, {row['products']} products"
                _tell(f"{what:44}{title(row['peer']):24}{readable(row['seconds']):>10}{row['ratio']['median']:9.2f}x")
    if "batch-norm" in arguments.parts and PEERS["torch_fused"].installed:
        for threads in arguments.threads:
            for result in batch_norm.passes(batch_norm.DEFAULT_SHAPES, threads, effort):
                row = asdict(result)
                results["batch-norm"].append(row)
                what = f"{'x'.join(map(str, row['shape']))} {row['layout']} {row['operation']}, threads {threads}"
                _tell(f"{what:44}{title(row['peer']):24}{readable(row['seconds']):>10}{row['ratio']['median']:9.2f}x")


def _steps(
    arguments: argparse.Namespace, peers: Sequence[str], effort: Effort, failed: Any
) -> Iterator[dict[str, Any]]:
    rules = arguments.rules or RULES
    if arguments.workloads:
        work = [(workload, rule) for workload in arguments.workloads for rule in rules]
    else:
        work = [(workload, rule) for workload in workloads.MODELS for rule in rules]
        work += [(workload, rule) for workload in FLAT for rule in arguments.rules or ["adam"]]
    limit = [LIMIT] if PEERS["numba"].installed else []
    for threads in arguments.threads:
        for result in measure.steps(work, [*limit, *peers], threads, effort, failed, arguments.one_process):
            yield asdict(result)


def _tell_of_step(rows: Sequence[dict[str, Any]], row: dict[str, Any]) -> None:
    what = f"{row['workload']} {row['rule']}, threads {row['threads']}"
    part = limit_part(rows, row)
    share = f"{part:9.0%}" if part is not None and row["peer"] != LIMIT else ""
    _tell(f"{what:44}{title(row['peer']):24}{readable(row['seconds']):>10}{row['ratio']['median']:9.2f}x{share}")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
