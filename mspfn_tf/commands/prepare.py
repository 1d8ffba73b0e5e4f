"""`mspfn prepare`: builds a rain dataset from downloaded pictures."""

from pathlib import Path

HELP = "build a rain dataset from downloaded pictures"


def add_arguments(parser):
    parser.add_argument("name", metavar="NAME", help="dataset, or dataset/config")
    parser.add_argument("--manual_dir", required=True, help="folder with the downloaded pictures")
    parser.add_argument("--data_dir", required=True, help="folder that receives the dataset")
    parser.add_argument(
        "--file_format", choices=("array_record", "tfrecord"), default="array_record"
    )
    parser.add_argument("--allow_incomplete", action="store_true")


def run(args):
    import tensorflow_datasets as tfds

    import mspfn_tf.datasets  # noqa: F401 (registers the builders)

    builder = tfds.builder(
        args.name,
        data_dir=args.data_dir,
        file_format=args.file_format,
        allow_incomplete=args.allow_incomplete,
    )
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=Path(args.manual_dir))
    )
    for name, split in builder.info.splits.items():
        print(f"{name}: {split.num_examples} pairs, {split.num_bytes / 1e6:.1f} MB")
    print(builder.data_dir)
    return 0
