"""The flags of `mspfn restore` that are for videos alone."""

import argparse
from collections.abc import Iterable
from typing import Any

from mspfn_tf.errors import UsageError
from mspfn_tf.extras import require

_FLAGS = {
    "codec": "--codec",
    "crf": "--crf",
    "encoder": "-e",
    "start": "--start",
    "duration": "--duration",
    "temporal": "--temporal",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("videos")
    group.add_argument(
        "--codec",
        metavar="NAME",
        help="FFmpeg's name of an encoder (default: libx264; libvpx-vp9 for .webm)",
    )
    group.add_argument(
        "--crf",
        type=float,
        metavar="N",
        help="constant quality of the encoder, smaller is better (default: 18 for libx264)",
    )
    group.add_argument(
        "-e",
        dest="encoder",
        action="append",
        type=_option,
        metavar="KEY=VALUE",
        help="further option of the encoder, such as preset=slow (libx264's is veryfast here); may "
        "be given several times",
    )
    group.add_argument("--start", type=float, metavar="S", help="begin S seconds into the video")
    group.add_argument("--duration", type=float, metavar="S", help="restore S seconds")
    temporal = group.add_mutually_exclusive_group()
    temporal.add_argument(
        "--temporal",
        action="store_true",
        default=None,
        help="average frames along the motion of the scene: less flicker (default)",
    )
    temporal.add_argument(
        "--no_temporal", dest="temporal", action="store_false", help="each frame by itself"
    )


def settings(
    args: argparse.Namespace, suffixes: Iterable[str], alone: bool = True
) -> dict[str, Any]:
    """The arguments of `restore_video` that the flags say.

    Args:
        args: the parsed command line.
        suffixes: of the videos that are to be written.
        alone: whether there are no pictures to restore. Where there are, and no flag is for videos,
            PyAV and OpenCV may be missing: each video fails by its name then, and the pictures are
            done.

    Raises:
        UsageError: a flag breaks its rule, there is no video that it could be for, one of the
            containers or the encoder does not take what is asked for, or PyAV or OpenCV is not
            installed.
    """
    given = [flag for name, flag in _FLAGS.items() if getattr(args, name) is not None]
    suffixes = sorted({suffix.lower() for suffix in suffixes})
    if not suffixes:
        if given:
            raise UsageError(f"{given[0]} is for videos: there is none to restore")
        return {}
    if not alone and not given and not _installed():
        return {}
    from mspfn_tf.video.encoding import check_encoding
    from mspfn_tf.video.reader import check_part

    check_part(args.start, args.duration)
    temporal = args.temporal is not False
    if temporal:
        require("cv2", "video")
    options = dict(args.encoder or ())
    for suffix in suffixes:
        check_encoding(suffix, args.codec, args.crf, options)
    return {
        "codec": args.codec,
        "crf": args.crf,
        "options": options,
        "start": args.start,
        "duration": args.duration,
        "temporal": temporal,
    }


def _installed():
    try:
        return bool(require("av", "video") and require("cv2", "video"))
    except UsageError:
        return False


def _option(text):
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, such as preset=slow; got {text!r}")
    return key, value
