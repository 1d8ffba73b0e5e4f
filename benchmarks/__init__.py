"""Measurements that a user can repeat: `python -m benchmarks.<name>`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mspfn_tf.errors import UsageError, naming_flags


def positive(text: str) -> int:
    """A flag's whole number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, received {text!r}")
    return int(text)


def machine() -> str:
    """The cores and the processor that figures of speed belong to."""
    from mspfn_tf.runtimes import cpu_count, processor

    return f"{cpu_count()} cores, {processor()}"


def setting(presets: Sequence[str]) -> dict[str, Any]:
    """What figures of speed depend on beside the code: {"machine", "weights"}."""
    from mspfn_tf.source import resolve

    weights = [{"preset": name, "weights_sha256": resolve(name).digest} for name in presets]
    return {"machine": machine(), "weights": weights}


def setting_line(machine: str, weights: Sequence[dict[str, str]]) -> str:
    """Says what `setting` found."""
    from tools.markdown import weights_line

    return f"{machine}. {weights_line(weights)}"


def run_main(main: Callable[[], int | None]) -> None:
    """Ends the program with the exit status of `main`: 2, and one line, on wrong usage."""
    try:
        with naming_flags():
            status = main()
    except UsageError as error:
        print(f"{Path(sys.argv[0]).stem}: error: {error}", file=sys.stderr)
        status = 2
    sys.exit(status)


def run_on_pairs(
    name: str,
    measure: Callable[..., dict[str, Any]],
    table: Callable[[Sequence[dict[str, Any]]], str],
    most: int,
    argv: list[str] | None,
) -> None:
    """The command of a benchmark of presets on folders of pairs (`input/`, `target/`).

    Args:
        name: of the benchmark and of the part of the page that `--update` writes.
        measure: called with (`Restorer`, `FolderPairs`, how many pairs at most).
        table: the Markdown text of all results.
        most: pairs a folder, unless `--most` says another number.
        argv: the command line, default: the process' own.
    """
    from mspfn_tf.presets import DEFAULT_PRESET
    from mspfn_tf.restorer import Restorer
    from mspfn_tf.sets.pairs import FolderPairs
    from tools.markdown import write_results

    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}")
    parser.add_argument("--pairs", required=True, nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--preset", nargs="+", default=[DEFAULT_PRESET], metavar="NAME")
    parser.add_argument("--most", type=positive, default=most, metavar="N", help="pairs a folder")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--update", metavar="FILE.md")
    args = parser.parse_args(argv)

    def measured():
        results = []
        for restorer in map(Restorer, args.preset):
            for folder in args.pairs:
                results.append(
                    {
                        "preset": restorer.name,
                        "weights_sha256": restorer.digest,
                        "pairs": folder.name,
                        "most": args.most,
                        "measured": measure(restorer, FolderPairs(folder), args.most),
                    }
                )
        return results

    write_results(measured, table, name, args.output, args.update)
