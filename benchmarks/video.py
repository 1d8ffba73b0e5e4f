"""What time does for videos, on clips whose truth is known.

    python -m benchmarks.video --photographs DIR --output FILE.json [--preset NAME...]
        [--clips N] [--frames N] [--size HxW] [--speed HxW] [--runtime NAME...] [--update FILE.md]

A window moves over photographs: it stands still, pans by whole and by parts of pixels, zooms,
turns, or something passes by in front, slowly or in leaps. Rain is drawn anew in each frame by
`synthetic_rain`, light, heavy, or none (then the camera's noise differs). Three ways are compared:
each frame by itself, blended with its neighbours (`mspfn_tf.video.temporal`), and the median of
three frames, pixel by pixel (FFmpeg's `tmedian`). For each this measures

- PSNR and SSIM of the frames, in luma, mean over all, and the worst change of PSNR of a clip;
- flicker: the mean difference, in levels of luma, between what neighbouring frames show of the same
  point of the scene, beyond what the truth itself differs;
- frames per second of a whole run, from file to file, and the time in multiples of single frames.

`--clips 0` measures the frames per second alone; of these, each `--runtime` gets its own.

Writes the figures to a JSON file, prints Markdown tables, and with `--update` writes them between
`<!-- begin generated: video -->` (the clips) or `video_speed` and its end.
"""

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks import machine, positive, run_main, setting_line
from mspfn_tf import metrics
from mspfn_tf.datasets.synthetic_rain.parameters import PRESETS
from mspfn_tf.datasets.synthetic_rain.rain import rain
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write
from mspfn_tf.pictures import find_images, read_rgb
from mspfn_tf.presets import DEFAULT_PRESET
from mspfn_tf.runtimes import CHOICES
from mspfn_tf.video.temporal import TemporalBlend
from tools.markdown import header, row_of, update, weights_line

# Per frame: pixels to the right, pixels down, change of the zoom, degrees.
MOTIONS = {
    "static": (0.0, 0.0, 0.0, 0.0),
    "panning": (6.0, 2.0, 0.0, 0.0),
    "panning by parts of pixels": (2.4, 0.7, 0.0, 0.0),
    "zooming": (0.0, 0.0, -0.008, 0.0),
    "turning": (0.3, 0.2, 0.0, 0.4),
    "passing object": (0.0, 0.0, 0.0, 0.0),
    "leaping object": (0.0, 0.0, 0.0, 0.0),
}
# Of the way from left to right, per frame; None: once in the whole clip.
OBJECTS = {"passing object": None, "leaping object": 0.37}
RAINS = ("light", "heavy", "none")
METHODS = ("single frames", "blended", "median of three")


def views(motion, frames, size):
    """What each frame shows: ``[3, 3]`` from its points (x, y, 1) to those of the first."""
    right, down, zoom, degrees = MOTIONS[motion]
    middle = np.array([size[1] / 2, size[0] / 2])
    matrices = []
    for n in range(frames):
        cosine, sine = (f(np.deg2rad(degrees * n)) for f in (np.cos, np.sin))
        matrix = np.eye(3)
        matrix[:2, :2] = (1 + zoom * n) * np.array([[cosine, -sine], [sine, cosine]])
        if degrees:
            matrix[:2, 2] = middle - matrix[:2, :2] @ middle
        matrix[:2, 2] += (right * n, down * n)
        matrices.append(matrix)
    return matrices


def clean_clip(photograph, motion, frames, size):
    """Frames ``uint8 [frames, H, W, 3]`` of a window of `size` (H, W) over a photograph."""
    matrices = _placed(photograph.shape[:2], motion, frames, size)
    if matrices is None:
        raise UsageError(
            f"a window of {size[1]}x{size[0]} cannot move over {photograph.shape[1]}x"
            f"{photograph.shape[0]} pixels for {frames} frames: choose less of either"
        )
    height, width = size
    image, clip = Image.fromarray(photograph), []
    for number, matrix in enumerate(matrices):
        frame = np.array(_seen(image, matrix, size))
        if motion in OBJECTS:
            side = height // 3
            part = number / frames if OBJECTS[motion] is None else OBJECTS[motion] * number % 1
            start = round((width - side) * part)
            frame[side : 2 * side, start : start + side] = photograph[:side, -side:]
        clip.append(frame)
    return np.stack(clip)


def _placed(photograph, motion, frames, size):
    """The views, on the middle of a photograph of so many pixels (H, W); None if they leave it."""
    matrices = np.stack(views(motion, frames, size))
    corners = np.array([[0, size[1], 0, size[1]], [0, 0, size[0], size[0]], [1, 1, 1, 1]])
    seen = (matrices @ corners)[:, :2]
    first, last = seen.min((0, 2)), seen.max((0, 2))
    if (last - first > photograph[::-1]).any():
        return None
    matrices[:, :2, 2] += np.floor((np.array(photograph[::-1]) - first - last) / 2)
    return matrices


def _seen(image, matrix, size):
    """The part of a picture that the matrix leads to."""
    affine = Image.Transform.AFFINE
    return image.transform(size[::-1], affine, matrix[:2].ravel(), Image.Resampling.BICUBIC)


def rainy_clip(clean, preset, seed):
    """The clip in one kind of rain (or only in the noise of a camera), drawn anew in each frame."""
    rng = np.random.default_rng(seed)
    if preset == "none":
        noisy = clean + rng.normal(0, 1.5, clean.shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    whole = PRESETS[preset]
    strength = float(np.exp(rng.uniform(*np.log(whole.strength))))
    blending = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)][rng.integers(2)]
    parameters = dataclasses.replace(
        whole,
        strength=(strength, strength),
        angle=25.0,
        blending=blending,
        rain_free=0.0,
        darkened=0.0,
        haze=dataclasses.replace(whole.haze, share=0.0),
        camera=dataclasses.replace(whole.camera, noise_share=1.0, jpeg_share=0.0),
    )
    return np.stack(
        [rain(f, np.random.default_rng([seed, n]), parameters) for n, f in enumerate(clean)]
    )


def median_of_three(frames):
    """Per pixel, with the first and the last frame repeated."""
    padded = np.concatenate([frames[:1], frames, frames[-1:]])
    return np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), 0).astype(np.uint8)


def blended(rainy, single):
    blend, result = TemporalBlend(), []
    for pair in zip(rainy, single, strict=True):
        result += blend.push(*pair)
    return np.stack(result + blend.flush())


def flicker(clean, frames, motion):
    """Mean difference, in levels, of what neighbouring frames show of the same point."""
    size = frames.shape[1:3]
    error = _luma(frames) - _luma(clean)
    places, total = views(motion, len(frames), size), []
    for before, now, first, second in zip(places, places[1:], error, error[1:], strict=False):
        matrix = np.linalg.inv(before) @ now
        earlier = np.asarray(_seen(Image.fromarray(first), matrix, size))
        inside = np.asarray(_seen(Image.fromarray(np.ones(size, np.float32)), matrix, size)) > 0.5
        total.append(np.abs(second - earlier)[inside].mean())
    return float(np.mean(total))


def _luma(frames):
    return metrics.luma(frames.astype(np.int32)).astype(np.float32)


def measure(restorer, photographs, frames, size):
    """Compares the three ways.

    Args:
        restorer: from a picture to a picture.
        photographs: list of ``uint8 [H, W, 3]``, for one clip of each motion and rain each.
        frames: of each clip.
        size: (H, W) of the clips.

    Returns:
        A list of dicts, one for each rain, motion and method.
    """
    found = []
    steps = [(r, m) for r in RAINS for m in MOTIONS]
    for kind, motion in tqdm(steps, unit="clip", disable=None):
        scores = {method: [] for method in METHODS}
        for seed, photograph in enumerate(photographs):
            clean = clean_clip(photograph, motion, frames, size)
            rainy = rainy_clip(clean, kind, seed)
            single = np.stack([restorer(frame) for frame in rainy])
            ways = (single, blended(rainy, single), median_of_three(single))
            for method, result in zip(METHODS, ways, strict=True):
                scores[method].append(
                    (
                        np.mean(metrics.psnr(clean, result)),
                        np.mean(metrics.ssim(clean, result)),
                        flicker(clean, result, motion),
                    )
                )
        base = np.array(scores["single frames"])
        for method in METHODS:
            values = np.array(scores[method])
            found.append(
                {
                    "rain": kind,
                    "motion": motion,
                    "method": method,
                    "psnr": float(values[:, 0].mean()),
                    "ssim": float(values[:, 1].mean()),
                    "flicker": float(values[:, 2].mean()),
                    "worst_change": float((values[:, 0] - base[:, 0]).min()),
                }
            )
    return found


def speed(restorer, photographs, frames, size):
    """Frames per second from file to file, without and with blending: a dict."""
    from mspfn_tf.video import restore_video
    from mspfn_tf.video.frames import load_av

    av = load_av()
    height, width = size
    scale = 1.2 * max(height / photographs[0].shape[0], width / photographs[0].shape[1])
    large = Image.fromarray(photographs[0])
    large = large.resize([round(scale * side) + 4 * frames for side in large.size])
    scene = np.asarray(large)
    result = {"height": height, "width": width, "frames": frames}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "rain.mp4")
        with av.open(str(source), "w") as file:
            stream = file.add_stream("libx264", rate=25, options={"crf": "18"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for n in range(frames):
                view = scene[n : n + height, 3 * n : 3 * n + width]
                rng = np.random.default_rng(n)
                picture = rain(np.ascontiguousarray(view), rng, PRESETS["light"])
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            file.mux(stream.encode(None))
        restorer(picture)  # what is done once is not counted
        for name, temporal in (("single", False), ("blended", True)):
            target = Path(folder, f"{name}.mp4")
            report = restore_video(restorer, source, target, temporal=temporal)
            result[name] = report.frames / report.seconds
    return result


def table(results):
    """The Markdown text of what `main` measured."""
    lines = [weights_line(results), ""]
    lines += header(
        "model", "rain", "motion", "method", "PSNR", "SSIM", "worst change, dB", "flicker"
    )
    for result in results:
        for record in result["measured"]:
            lines.append(
                row_of(
                    result["preset"],
                    record["rain"],
                    record["motion"],
                    record["method"],
                    f"{record['psnr']:.2f}",
                    f"{record['ssim']:.4f}",
                    f"{record['worst_change']:+.2f}",
                    f"{record['flicker']:.2f}",
                )
            )
    return "\n".join(lines) + "\n"


def speed_table(results):
    """The Markdown text of the frames per second."""
    columns = ("model", "runtime", "size", "single frames/s", "blended frames/s", "time")
    lines = [setting_line(results[0]["machine"], results), "", *header(*columns)]
    for result in results:
        for pace in result["speed"]:
            lines.append(
                row_of(
                    result["preset"],
                    pace["runtime"],
                    f"{pace['width']}x{pace['height']}",
                    f"{pace['single']:.2f}",
                    f"{pace['blended']:.2f}",
                    f"{pace['single'] / pace['blended']:.2f} x",
                )
            )
    return "\n".join(lines) + "\n"


def _size(text):
    height, _, width = text.partition("x")
    if not height.isdecimal() or not width.isdecimal() or min(int(height), int(width)) < 16:
        raise argparse.ArgumentTypeError(f"expected HxW, such as 240x320; received {text!r}")
    return int(height), int(width)


def main(argv=None):
    from mspfn_tf import Restorer

    parser = argparse.ArgumentParser(prog="python -m benchmarks.video")
    parser.add_argument("--photographs", required=True, metavar="DIR")
    parser.add_argument("--preset", nargs="+", default=[DEFAULT_PRESET], metavar="NAME")
    parser.add_argument("--clips", type=int, default=4, help="of each kind; 0: none (default: 4)")
    parser.add_argument("--frames", type=positive, default=12, help="of each clip (default: 12)")
    parser.add_argument("--size", type=_size, default=(240, 320), metavar="HxW")
    parser.add_argument("--speed", type=_size, metavar="HxW", help="also measure frames per second")
    parser.add_argument("--speed_frames", type=positive, default=24, metavar="N")
    parser.add_argument("--runtime", nargs="+", choices=CHOICES, default=["litert"])
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.json")
    parser.add_argument("--update", metavar="FILE.md")
    args = parser.parse_args(argv)
    if args.clips < 0 or not (args.clips or args.speed):
        raise UsageError(f"--clips {args.clips} leaves nothing to measure: give --speed HxW")
    count = max(1, args.clips)
    photographs = _photographs(args.photographs, count, args.size, args.frames)
    results = []
    with atomic_write(args.output) as output:
        for preset in args.preset:
            restorer = Restorer(preset)
            result = {
                "preset": restorer.name,
                "weights_sha256": restorer.digest,
                "machine": machine(),
                "clips": args.clips,
                "frames": args.frames,
            }
            if args.speed:
                result["speed"] = [
                    {
                        "runtime": runtime,
                        **speed(
                            Restorer(preset, runtime=runtime),
                            photographs,
                            args.speed_frames,
                            args.speed,
                        ),
                    }
                    for runtime in args.runtime
                ]
            if args.clips:
                result["measured"] = measure(restorer, photographs, args.frames, args.size)
            results.append(result)
        output.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    blocks = {}
    if args.clips:
        blocks["video"] = table(results)
    if args.speed:
        blocks["video_speed"] = speed_table(results)
    for name, text in blocks.items():
        print(text)
        if args.update:
            update(args.update, name, text)


def _photographs(folder, count, size, frames):
    """As many large enough photographs of a folder, evenly chosen."""
    fitting = []
    for path in find_images(folder):
        with Image.open(path) as image:
            photograph = (image.height, image.width)
        if all(_placed(photograph, motion, frames, size) is not None for motion in MOTIONS):
            fitting.append(path)
    if len(fitting) < count:
        raise UsageError(f"{folder} holds {len(fitting)} photographs that are large enough")
    step = len(fitting) / count
    return [read_rgb(fitting[int(n * step)]) for n in range(count)]


if __name__ == "__main__":
    run_main(main)
