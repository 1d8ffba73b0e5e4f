"""What a JPEG XL file says of itself, read before its decoder sees it.

The decoder (package pillow-jxl-plugin) decodes a file when it opens it, takes the first frame of an
animation for the whole, and keeps 8 bits of a channel. So the size is read from the file's header
(ISO/IEC 18181-1, annex D) first.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

_HEAD_BYTES = 64 * 1024  # in which the codestream must begin
_CODESTREAM = b"\xff\x0a"
_BOX_OF_CODESTREAM = (b"jxlc", b"jxlp")
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDE_BITS = (9, 13, 18, 30)
_DEPTHS = (8, 10, 12)


@dataclass(frozen=True)
class JpegXLHeader:
    """Size (width, height), bits per channel, and whether the file is an animation."""

    size: tuple[int, int]
    depth: int
    animated: bool


def read_jpeg_xl_header(path: Path) -> JpegXLHeader:
    """Reads the header of a JPEG XL file, naked or in its container.

    Raises:
        ValueError: it is damaged, or of a kind that is not read.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    start = 0 if head.startswith(_CODESTREAM) else _codestream(head)
    bits = _Bits(head[start + 2 : start + 34])
    size = _size(bits)
    if bits.take(1):  # everything else is as usual
        return JpegXLHeader(size, 8, False)
    animated = False
    if bits.take(1):
        bits.take(3)  # orientation, which the decoder applies
        if bits.take(1):
            _size(bits)  # the size it is meant to be shown in
        if bits.take(1):
            raise ValueError("a JPEG XL file with a preview")
        animated = bool(bits.take(1))
    if animated:
        return JpegXLHeader(size, 8, True)
    if bits.take(1):
        raise ValueError("floating-point numbers")
    choice = bits.take(2)
    return JpegXLHeader(size, _DEPTHS[choice] if choice < 3 else 1 + bits.take(6), False)


def _codestream(head):
    """Where the codestream begins in a container."""
    position = 0
    while position + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, position)
        if kind in _BOX_OF_CODESTREAM:
            start = position + (16 if length == 1 else 8) + (4 if kind == b"jxlp" else 0)
            if head[start : start + 2] == _CODESTREAM:
                return start
            break
        if length == 1 and position + 16 <= len(head):
            (length,) = struct.unpack_from(">Q", head, position + 8)
        if length < 8:
            break
        position += length
    raise ValueError("no codestream where it should be")


def _size(bits):
    small = bits.take(1)

    def side():
        return 8 * (bits.take(5) + 1) if small else bits.take(_SIDE_BITS[bits.take(2)]) + 1

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


class _Bits:
    """Numbers from a stream of bits, the lowest bit of each byte first."""

    def __init__(self, data):
        self._value, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count):
        if count > self._left:
            raise ValueError("the header is cut off")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        self._left -= count
        return value
