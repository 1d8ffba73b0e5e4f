"""Which files are videos, and which can be written. Needs no PyAV."""

import os
import re
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
_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_SOUND_BRANDS = (b"M4A ", b"M4B ")
# Bare streams of H.264 and H.265, as small cameras write them: a delimiter or parameters first.
_BARE_STREAM = re.compile(rb"\0?\0\0\x01(?:\x09|[\x27\x47\x67]|[\x40\x42\x46]\x01)")


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
        _EBML,  # Matroska, WebM
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
        b"\x00\x00\x01\xba",  # MPEG program stream
        b"\x00\x00\x01\xb3",  # MPEG-1 and 2
        b"\x06\x0e\x2b\x34",  # MXF
        b"FLV\x01",
        b"OggS",
        b"YUV4MPEG2",
        b"DKIF",  # IVF
        b"\x1f\x07\x00",  # DV
    )
    if head.startswith(starts) or _BARE_STREAM.match(head):
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


def is_cut_off(path: str | os.PathLike) -> bool:
    """Tells whether a Matroska or WebM file is shorter than it says, and ends within its frames.

    FFmpeg reads such files to where they end without a word. False for other files, and for
    recordings that were never finished, which do not tell their length.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        header, length = _element(file)
        if header != _EBML or length is None:
            return False
        file.seek(length, os.SEEK_CUR)
        segment, length = _element(file)
        if segment != _SEGMENT or length is None or file.tell() + length <= size:
            return False
        while file.tell() < size:
            element, length = _element(file)
            if length is None:
                return True
            if file.tell() + length > size:
                return element == _CLUSTER  # nothing is missed of what stands behind these
            file.seek(length, os.SEEK_CUR)
    return True


def _element(file):
    """The name and the length of an element of Matroska, None for one that it does not tell."""
    name = file.read(1)
    name += file.read(8 - name[0].bit_length() if name and name[0] else 0)
    first = file.read(1)
    if not first or not first[0]:
        return name, None
    width = 9 - first[0].bit_length()  # as its first bits tell
    unknown = 2 ** (7 * width) - 1
    length = int.from_bytes(first + file.read(width - 1), "big") & unknown
    return name, None if length == unknown else length


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
