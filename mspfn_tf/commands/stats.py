"""`mspfn stats`: what a prepared dataset holds, before anyone trains on it."""

import argparse
import sys
from pathlib import Path

from mspfn_tf.errors import UsageError

HELP = "tell what a prepared dataset holds: pairs, scenes, sizes, how much rain"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="dataset or dataset/configuration")
    parser.add_argument(
        "--data_dir", required=True, metavar="DIR", help="where the dataset was built"
    )
    parser.add_argument("--split", help="only this split (default: all of them)")
    parser.add_argument(
        "--most",
        type=int,
        default=200,
        metavar="N",
        help="measure at most N pairs of a split, evenly spread (default: 200)",
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="also write stats.json, and SPLIT.png with pictures from the most to the least rainy",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def run(args: argparse.Namespace) -> int:
    import dataclasses
    import json

    from mspfn_tf.files import atomic_write, clear_leftovers, writing
    from mspfn_tf.pictures import write_picture
    from mspfn_tf.sets.prepared import Examples, splits
    from mspfn_tf.sets.statistics import describe, split_statistics
    from mspfn_tf.terminal import Bars

    names = [args.split] if args.split else splits(args.name, args.data_dir)
    output = Path(args.output) if args.output else None
    if output is not None and not args.overwrite:
        for file in ("stats.json", *(f"{name}.png" for name in names)):
            if (output / file).exists():
                raise UsageError(
                    f"{output / file} exists already: choose another --output or pass --overwrite"
                )
    found, sheets = [], {}
    with Bars(sys.stderr) as bars:
        for name in names:
            examples = Examples(args.name, name, args.data_dir, paired=False)
            statistics, sheets[name] = split_statistics(examples, name, args.most, bars)
            found.append(statistics)
    print("\n".join(describe(found)))
    if output is not None:
        record = {
            "dataset": args.name,
            "splits": [dataclasses.asdict(statistics) for statistics in found],
        }
        clear_leftovers(output)
        path = output / "stats.json"
        with atomic_write(path, overwrite=True) as temporary, writing(path):
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for name, sheet in sheets.items():
            if sheet is not None:
                path = output / f"{name}.png"
                with writing(path):
                    write_picture(path, sheet, overwrite=True)
    return 0
