"""Small videos for tests: a window that moves over a drawn scene, in rain that is drawn anew."""

import dataclasses
from fractions import Fraction

import av
import numpy as np

from mspfn_tf.datasets.synthetic_rain.contact_sheet import draw_scene
from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
from mspfn_tf.datasets.synthetic_rain.rain import rain


def moving_window(count=6, size=(96, 128), step=(0, 0), seed=1):
    """Clean frames ``uint8 [count, H, W, 3]`` of a scene that moves by `step` (y, x) pixels."""
    height, width = size
    scene = draw_scene(
        np.random.default_rng(seed), (height + count * step[0], width + count * step[1])
    )
    corners = ((step[0] * n, step[1] * n) for n in range(count))
    return np.stack([scene[y : y + height, x : x + width] for y, x in corners])


def rained_on(frames, seed=1, strength=0.08):
    """The same in one kind of rain, whose streaks are elsewhere in each frame."""
    light = PRESETS["light"]
    parameters = dataclasses.replace(
        light,
        strength=(strength, strength),
        angle=10.0,
        kinds=(1.0, 0.0, 0.0),
        darkened=0.0,
        rain_free=0.0,
        haze=dataclasses.replace(light.haze, share=0.0),
        camera=dataclasses.replace(light.camera, noise_share=0.0, jpeg_share=0.0),
    )
    return np.stack(
        [rain(f, np.random.default_rng([seed, n]), parameters) for n, f in enumerate(frames)]
    )


def write_video(
    path,
    frames,
    codec="libx264",
    pix_fmt="yuv420p",
    rate=Fraction(25),
    times=None,
    time_base=None,
    options=None,
    tags=None,
    rotation=None,
    aspect=None,
    sound=False,
    chapters=None,
    title=None,
):
    """Writes frames ``uint8 [n, H, W, 3]``; `times` are in units of `time_base`.

    `tags`: colorspace, color_range, color_primaries, color_trc (numbers of H.273), with which the
    colours are converted, too.
    """
    tags = tags or {}
    options = {"crf": "4"} if options is None and codec == "libx264" else options
    time_base = time_base or 1 / rate
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=rate, options=options or {})
        context = video.codec_context
        context.height, context.width = frames.shape[1:3]
        context.pix_fmt = pix_fmt
        context.time_base = video.time_base = time_base
        for name, value in tags.items():
            setattr(context, name, value)
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation is not None:
            video.set_display_rotation(rotation)
        if sound:
            audio = file.add_stream("aac", rate=48000)
            audio.metadata["language"] = "deu"
        if title is not None:
            file.metadata["title"] = title
        if chapters is not None:
            file.set_chapters(chapters)
        matrix = {1: 1, 9: 9}.get(tags.get("colorspace"), 5)
        for n, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
                format=pix_fmt,
                dst_colorspace=matrix,
                src_color_range=2,
                dst_color_range=tags.get("color_range", 1),
            )
            for name, value in tags.items():
                setattr(frame, name, value)
            frame.pts = n if times is None else times[n]
            frame.time_base = time_base
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if sound:
            last = (len(frames) if times is None else times[-1] + times[1]) * time_base
            for block in range(int(last * 48000) // 1024):
                wave = np.sin(np.arange(1024) * 0.05 + block)[None].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(wave.repeat(2, 0), "fltp", "stereo")
                frame.sample_rate, frame.pts = 48000, block * 1024
                frame.time_base = Fraction(1, 48000)
                file.mux(audio.encode(frame))
            file.mux(audio.encode(None))
    return path


def read_video(path):
    """What a player sees: a dict of the stream's properties, times and frames."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        context = stream.codec_context
        frames = list(file.decode(stream))
        found = {
            "size": (context.height, context.width),
            "rate": stream.average_rate,
            "codec": context.name,
            "pix_fmt": context.pix_fmt,
            "aspect": stream.sample_aspect_ratio,
            "colours": {
                name: getattr(context, name)
                for name in ("colorspace", "color_range", "color_primaries", "color_trc")
            },
            "rotation": frames[0].rotation,
            "times": [frame.pts * frame.time_base for frame in frames],
            "frames": np.stack([frame.to_ndarray(format="rgb24") for frame in frames]),
            "title": file.metadata.get("title"),
            "chapters": [
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"])
                for c in file.chapters()
            ],
            "streams": [(s.type, s.language) for s in file.streams if s.type != "data"],
        }
    with av.open(str(path)) as file:
        found["sound"] = (
            [
                (p.pts * p.time_base, bytes(p))
                for p in file.demux(file.streams.audio)
                if p.dts is not None
            ]
            if file.streams.audio
            else []
        )
    return found
