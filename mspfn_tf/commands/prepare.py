"""`mspfn prepare`: builds a rain dataset from downloaded pictures."""

import sys

HELP = "build a rain dataset from downloaded pictures"


def add_arguments(parser):
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


def run(args):
    from mspfn_tf.datasets.preparing import prepare, report

    bars = _Bars() if sys.stderr.isatty() else None
    try:
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
    finally:
        if bars is not None:
            bars.close()
    for line in report(prepared):
        print(line)
    return 0


class _Bars:
    """A progress bar on standard error for every part of the work."""

    def __init__(self):
        self._bar, self._what = None, None

    def __call__(self, what, done, total):
        from tqdm import tqdm

        if what != self._what:
            self.close()
            self._bar, self._what = tqdm(total=total, desc=what, unit="", unit_scale=True), what
        self._bar.update(done - self._bar.n)

    def close(self):
        if self._bar is not None:
            self._bar.close()
