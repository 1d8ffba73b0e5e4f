"""`mspfn prepare`: builds a rain dataset from downloaded pictures."""

import argparse
import sys

HELP = "build a rain dataset from downloaded pictures"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="dataset or dataset/configuration")
    parser.add_argument(
        "--manual_dir",
        required=True,
        metavar="DIR",
        help="folder (or archive: zip, tar, tar.gz, tar.bz2, tar.xz) with the pictures as they "
        "were downloaded",
    )
    parser.add_argument(
        "--data_dir", required=True, metavar="DIR", help="folder that receives the dataset"
    )
    parser.add_argument("--config", help="configuration of the dataset (default: its first)")
    parser.add_argument(
        "--file_format",
        choices=("array_record", "tfrecord"),
        default="array_record",
        help="array_record (default) gives random access, also without TensorFlow",
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="only N training pairs, from every scene as many; the configuration is called "
        "sample_N then, or CONFIG_sample_N",
    )
    parser.add_argument(
        "--allow_incomplete",
        action="store_true",
        help="warn about missing pairs and splits instead of refusing them",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the prepared dataset")


def run(args: argparse.Namespace) -> int:
    from mspfn_tf.datasets.preparing import prepare, report
    from mspfn_tf.terminal import Bars

    with Bars(sys.stderr) as bars:
        prepared = prepare(
            args.name,
            args.manual_dir,
            args.data_dir,
            args.config,
            args.file_format,
            args.allow_incomplete,
            args.overwrite,
            args.sample,
            bars,
        )
    for line in report(prepared):
        print(line)
    if args.sample is not None and prepared.splits["train"].pairs < args.sample:
        print(f"fewer training pairs than the {args.sample} that were asked for: all of them")
    return 0
