"""Which files are videos, and which can be written. Needs no PyAV."""

import os
import stat
from pathlib import Path

from mspfn_tf.errors import UsageError

CONTAINERS = {  # FFmpeg's names
    ".m4v": "mp4",
    ".mkv": "matroska",
    ".mov": "mov",
    ".mp4": "mp4",
    ".webm": "webm",
}
VIDEO_SUFFIXES = tuple(CONTAINERS)
"""What can be written."""
_SOUND_SUFFIXES = (".aac", ".flac", ".m4a", ".m4b", ".mka", ".mp3", ".oga", ".ogg", ".opus", ".wma")
# Of pictures in the container of MP4: AVIF, HEIF, Canon's raw files.
_PICTURE_BRANDS = (
    *(b"avif", b"avis", b"crx ", b"mif1", b"mif2", b"msf1"),
    *(b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevx"),
)
_SOUND_BRANDS = (b"M4A ", b"M4B ")


def is_video(path: str | os.PathLike) -> bool:
    """Tells by its content whether a file is a video.

    Sound is held in the same containers: it is told by its suffix. Animated pictures (GIF, WebP,
    APNG, AVIF) are none. False for what cannot be read.
    """
    if Path(path).suffix.lower() in _SOUND_SUFFIXES:
        return False
    head = _head(path)
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURE_BRANDS + _SOUND_BRANDS
    if head[4:8] in (b"moov", b"mdat", b"wide"):  # QuickTime files without a type
        return True
    if head[:4] == b"RIFF":
        return head[8:12] == b"AVI "
    starts = (
        b"\x1a\x45\xdf\xa3",  # Matroska, WebM
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
        b"\x00\x00\x01\xba",  # MPEG program stream
        b"\x00\x00\x01\xb3",  # MPEG-1 and 2
        b"\x06\x0e\x2b\x34",  # MXF
        b"FLV\x01",
        b"OggS",
        b"YUV4MPEG2",
        b"DKIF",  # IVF
    )
    if head.startswith(starts):
        return True
    # MPEG transport streams: a mark every 188 bytes, after a time stamp every 192.
    return len(head) == 1024 and any(
        all(head[start + step * n] == 0x47 for n in range(5)) and len(set(head)) > 1
        for start, step in ((0, 188), (4, 192))
    )


def is_playlist(path: str | os.PathLike) -> bool:
    """Tells by its content whether a file only names others, which FFmpeg would open."""
    head = _head(path).removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith((b"ffconcat", b"#EXTM3U", b"<?xml", b"<MPD", b"v=0"))


def _head(path):
    """The first bytes of a file; none of what is no file, such as a pipe, or cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            return file.read(1024)
    except (OSError, ValueError):
        return b""


def video_target(target: str | os.PathLike) -> Path:
    """The name that a restored video gets where an output folder decides it: with .mkv where its
    own suffix cannot be written. What follows a dot is a suffix if a letter is in it: `cam.2024`
    becomes `cam.2024.mkv`."""
    target = Path(target)
    if target.suffix.lower() in VIDEO_SUFFIXES:
        return target
    if not any(letter.isalpha() for letter in target.suffix):
        return target.with_name(f"{target.name}.mkv")
    return target.with_suffix(".mkv")


def check_video_target(path: str | os.PathLike) -> None:
    """Raises `UsageError` where the suffix of `path` is none of `VIDEO_SUFFIXES`."""
    if Path(path).suffix.lower() not in VIDEO_SUFFIXES:
        raise UsageError(
            f"{path}: cannot write '{Path(path).suffix}' videos, only {', '.join(VIDEO_SUFFIXES)}"
        )
