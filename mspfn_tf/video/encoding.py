"""What encoders and containers take: found out in memory, before any work is done."""

import errno
import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from mspfn_tf.errors import UsageError
from mspfn_tf.video.formats import CONTAINERS
from mspfn_tf.video.frames import (
    BT601,
    BT709,
    FULL_RANGE,
    HIGH_DEFINITION,
    LIMITED_RANGE,
    RGB,
    UNSPECIFIED,
    load_av,
    matrix_of,
)
from mspfn_tf.video.reader import VideoReader

_CODECS = {".webm": "libvpx-vp9"}  # by suffix
_CODEC = "libx264"
# Hardly to be told from the source. Encoders that are not named here keep their own default.
_QUALITIES = {"libx264": 18, "libx265": 20, "libvpx-vp9": 24, "libsvtav1": 24}
_COARSEST = {"libx264": 51, "libx265": 51}  # beyond it, x264 silently takes it
_TICK = Fraction(1, 60_000)  # fine enough for all usual rates, and none is too fine for MPEG-4
# FFmpeg's names of the usual loudspeakers, by their number.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_TRIAL = 256  # pixels a side of the frames with which encoders are tried out


def check_encoding(
    suffix: str,
    codec: str | None = None,
    crf: float | None = None,
    options: Mapping[str, str] | None = None,
) -> None:
    """Raises `UsageError` where no video can be written so, whatever it is.

    It is tried out in memory. What an encoder takes of some sizes only, each video has to tell.

    Args:
        suffix: one of `VIDEO_SUFFIXES`.
        codec, crf, options: as `VideoWriter` takes them.
    """
    codec, given = encoding(suffix, codec, crf, options)
    _encoder(codec)
    pixels = _pixel_format(codec, "yuv420p", _TRIAL, _TRIAL)
    form = Frames(_TRIAL, _TRIAL, pixels, Fraction(25), Fraction(1, 25), {})

    def opens(options):
        with opened(io.BytesIO(), suffix) as container:
            stream = add_stream(container, suffix, codec, options, form)
            try:
                open_encoder(stream.codec_context, codec, options)
            except UsageError as error:
                return error
            try:  # some containers take a codec's name and refuse their header
                container.start_encoding()
            except (ValueError, load_av().FFmpegError) as error:
                raise UsageError(f"codec {codec}: {suffix} files cannot hold it") from error

    refusal = opens(given)
    if refusal is None:
        return
    # Without options, too, it may refuse frames of this size: "invalid argument". Other errors are
    # those of hardware that is not there.
    plain = opens({})
    if plain is None or getattr(plain.__cause__, "errno", None) != errno.EINVAL:
        raise refusal


def encoding(
    suffix: str, codec: str | None, crf: float | None, options: Mapping[str, str] | None
) -> tuple[str, dict[str, str]]:
    """Returns (the name of the encoder for files of a suffix, the options that are asked for)."""
    codec = codec or _CODECS.get(suffix, _CODEC)
    given = {key: str(value) for key, value in (options or {}).items()}
    if crf is not None:
        if not isinstance(crf, int | float):
            raise UsageError(f"crf must be a number; received {crf!r}")
        if not 0 <= crf <= _COARSEST.get(codec, float("inf")):
            up_to = f" to {_COARSEST[codec]}" if codec in _COARSEST else " up"
            raise UsageError(f"crf must be from 0{up_to} for {codec}; received {crf:g}")
        given["crf"] = f"{crf:g}"
    elif codec in _QUALITIES and not given.keys() & {"crf", "qp", "b", "bitrate"}:
        given["crf"] = str(_QUALITIES[codec])
    if codec == "libx264":  # with its own choice, "medium", videos take a fifth longer
        given.setdefault("preset", "veryfast")
    if codec == "libvpx-vp9":  # else its quality is bounded by a bit rate
        given.setdefault("b", "0")
    return codec, given


def _encoder(codec):
    """PyAV's `Codec`."""
    av = load_av()  # outside: what it raises is a `ValueError`, too
    try:
        encoder = av.Codec(codec, "w")
    except ValueError as error:
        raise UsageError(f"codec {codec}: FFmpeg has no such encoder") from error
    if encoder.type != "video":
        raise UsageError(f"codec {codec}: an encoder for {encoder.type}, expected video")
    return encoder


@dataclass(frozen=True)
class Frames:
    """What an encoder is told of the frames that it will get.

    `colours` are tags (numbers of ITU-T H.273) by PyAV's name; `matrix` is swscale's number of
    that between RGB and YUV.
    """

    width: int
    height: int
    pixels: str
    rate: Fraction
    time_base: Fraction
    colours: Mapping[str, int]
    full_range: bool = False
    matrix: int = 0


def frames_of(reader: VideoReader, codec: str, height: int, width: int) -> Frames:
    """Frames as near to those that are read as an encoder takes them."""
    _encoder(codec)
    pixels = _pixel_format(codec, reader.format.replace("yuvj", "yuv"), height, width)
    colours, full_range = dict(reader.colours), reader.full_range
    if _is_rgb(pixels):
        colours |= {"colorspace": RGB, "color_range": FULL_RANGE}
        full_range = True
    elif reader.rgb:  # as players expect it of what was made from RGB
        matrix = BT709 if height >= HIGH_DEFINITION else BT601
        colours |= {"colorspace": matrix, "color_range": LIMITED_RANGE}
        full_range = False
    matrix = matrix_of(colours["colorspace"], height)
    return Frames(width, height, pixels, reader.rate, reader.time_base, colours, full_range, matrix)


def accepted(suffix: str, codec: str, options: Mapping[str, str], frames: Frames) -> Frames:
    """Frames that an encoder takes, with colours as the written file will tell them.

    Some encoders refuse fine units of time; some formats hold one range or one matrix only,
    whatever they are told. One frame is written in memory and read again to find out.
    """
    other = FULL_RANGE if not frames.full_range else LIMITED_RANGE
    for time_base in (frames.time_base, _TICK, 1 / frames.rate):
        for change in ({}, {"color_range": other}):
            tried = replace(frames, time_base=time_base, colours={**frames.colours, **change})
            told = _told(suffix, codec, options, tried)
            if told is None:
                continue
            colours = {**tried.colours, **{name: tag for name, tag in told.items() if tag}}
            if told["colorspace"] == UNSPECIFIED:
                colours["colorspace"] = tried.colours["colorspace"]
            full_range = _is_rgb(frames.pixels) or told["color_range"] == FULL_RANGE
            matrix = matrix_of(told["colorspace"], frames.height)
            return replace(tried, colours=colours, full_range=full_range, matrix=matrix)
    return frames  # the encoder tells why when it is opened


def _told(suffix, codec, options, frames):
    """Matrix and range that a file of such frames tells its readers; None where it is refused."""
    av = load_av()
    file = io.BytesIO()
    try:
        with opened(file, suffix) as container:
            stream = add_stream(container, suffix, codec, options, frames)
            stream.codec_context.open()
            frame = av.VideoFrame(frames.width, frames.height, frames.pixels)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            for name, value in frames.colours.items():
                setattr(frame, name, value)
            frame.pts, frame.time_base = 0, frames.time_base
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        file.seek(0)
        with av.open(file) as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration, UsageError):
        return None
    full = frame.format.name.startswith("yuvj")
    return {
        "colorspace": int(frame.colorspace),
        "color_range": FULL_RANGE if full else int(frame.color_range),
    }


def holds(suffix: str, source: Any) -> bool:
    """Whether a container takes a stream as it is; tried in memory."""
    if source.type in ("data", "unknown") or (source.type == "attachment" and suffix != ".mkv"):
        return False
    try:
        with opened(io.BytesIO(), suffix) as container:
            copied(container, source)
            container.start_encoding()
    except (ValueError, load_av().FFmpegError):
        return False
    return True


def copied(container: Any, source: Any) -> Any:
    """A stream for the packets of another one."""
    copy = container.add_stream_from_template(source, opaque=True)
    layout = getattr(copy.codec_context, "layout", None)
    if layout is not None and layout.nb_channels in _LAYOUTS and "channels" in layout.name:
        copy.codec_context.layout = _LAYOUTS[layout.nb_channels]  # AVI tells only how many
    return copy


def opened(file: Path | io.BytesIO, suffix: str) -> Any:
    """The container that is written to a path or to a file object."""
    mp4 = suffix in (".m4v", ".mov", ".mp4")
    flags = "+faststart+write_colr" if isinstance(file, Path) else "+write_colr"
    return load_av().open(
        str(file) if isinstance(file, Path) else file,
        "w",
        format=CONTAINERS[suffix],
        container_options={"movflags": flags} if mp4 else {},
    )


def add_stream(
    container: Any, suffix: str, codec: str, options: Mapping[str, str], frames: Frames
) -> Any:
    """The stream of an encoder. Raises `UsageError` where the container cannot hold it."""
    if codec == "libx265":  # it does not go by FFmpeg's level, and would tell of every file
        options = {**options, "x265-params": f"log-level=error:{options.get('x265-params', '')}"}
    try:
        stream = container.add_stream(codec, rate=frames.rate, options=dict(options))
    except ValueError as error:
        raise UsageError(f"codec {codec}: {suffix} files cannot hold it") from error
    context = stream.codec_context
    context.width, context.height = frames.width, frames.height
    context.pix_fmt = frames.pixels
    context.time_base = stream.time_base = frames.time_base
    for name, value in frames.colours.items():
        setattr(context, name, value)
    return stream


def _is_rgb(pixels):
    return load_av().VideoFormat(pixels).is_rgb


def _pixel_format(codec, wanted, height, width):
    """The pixel format closest to `wanted` in which an encoder takes frames of that size."""
    offered = [f.name for f in _encoder(codec).video_formats or []]
    if not offered:
        return wanted
    # Full range is told by the tag; the formats that say it too are deprecated.
    offered = [name for name in offered if not name.startswith("yuvj")] or offered
    if codec in ("libx264", "libx265") and (height % 2 or width % 2):
        # These hold odd sizes only where the colours are not halved.
        offered = [name for name in offered if name.startswith("yuv444")]
    best, _ = load_av().codec.codec.find_best_pix_fmt_of_list(offered, wanted)
    return best.name


def open_encoder(context: Any, codec: str, options: Mapping[str, str]) -> None:
    """Raises `UsageError` where the encoder does not take its frames or options."""
    try:
        context.open()
    except load_av().FFmpegError as error:
        frames = f"{context.width}x{context.height} {context.pix_fmt}"
        named = ", ".join(f"{key}={value}" for key, value in options.items())
        raise UsageError(
            f"codec {codec} does not take {frames}{f' with {named}' if named else ''} "
            f"({error.strerror})"
        ) from error
    unknown = sorted(options.keys() & context.options.keys())
    if unknown:
        raise UsageError(f"codec {codec} has no option {', '.join(unknown)}")
