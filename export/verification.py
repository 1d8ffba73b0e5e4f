"""Does an exported file do what the model does that it was made from? Measured in its own runtime.

What falls short of `BOUNDS` is not written, unless forced.
"""

import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mspfn_tf.export.calibration import Patch
from mspfn_tf.export.graphs import other_sizes
from mspfn_tf.metrics import psnr
from mspfn_tf.model import MSPFN
from mspfn_tf.runtimes import LiteRTRuntime, open_runtime
from mspfn_tf.sizes import MULTIPLE_OF
from mspfn_tf.source import resolve
from mspfn_tf.whole_picture import has_statistics

BOUNDS = {
    "saved_model": {"max_error": 1e-5},
    "none": {"max_error": 1e-5},
    "float16": {"max_error": 2e-3},
    "dynamic": {"agreement_db": 45.0},
    "int8": {"agreement_db": 38.0, "psnr_loss_db": 0.13},
}
"""For pictures in [0, 1]: the largest difference of any value; the PSNR of the two results against
each other on the worst picture; and, where the truth is known, by how much the mean PSNR (Y)
against the truth may fall."""

STATISTICS_BOUNDS = {"none": 1e-4, "float16": 2e-2, "int8": 1e-4}
"""Largest difference of the statistics, relative to the largest of them, and of what is made of
given ones; with 8-bit arithmetic the latter is held to the agreement of `BOUNDS`."""

HALF_LEVEL = 0.5 / 255

_OTHER_SIZES = ((1, 1), (5, 3), (33, 50))


class VerificationError(Exception):
    """An exported file differs from its model by more than `BOUNDS` allow."""


def verdict(
    parity: dict[str, Any], output: Path, force: bool, problems: Sequence[str] = ()
) -> dict[str, Any]:
    """The entries of a description that say how a file was verified.

    Args:
        parity: what one of the checks here returned.
        output: the file or directory, for the message.
        force: whether what falls short is written all the same.
        problems: further ones.

    Raises:
        VerificationError: there are problems, and `force` is false.
    """
    problems = [*parity.pop("problems"), *problems]
    if problems and not force:
        raise VerificationError(f"{output} was not written: " + "; ".join(problems))
    return {
        "parity": parity,
        "verified": not problems,
        "forced": bool(problems),
        "problems": problems,
    }


def check_litert(
    model: MSPFN, files: Mapping[str, Path], quantize: str, patches: Sequence[Patch]
) -> dict[str, Any]:
    """Compares LiteRT files with the Keras model on pictures.

    Args:
        model: the `MSPFN`.
        files: dict, "float32" and "uint8" -> path.
        quantize: the kind of quantisation, a key of `BOUNDS`.
        patches: list of `Patch`.

    Returns:
        dict of what was measured; "problems" lists what falls short, in words.
    """
    pictures = [patch.batch for patch in patches]
    expected = _run_keras(model, pictures)
    runtime, found = _run_file(files["float32"], pictures)
    parity = compare(expected, found, patches, BOUNDS[quantize])
    if runtime.statistics is not None:
        pairs = _statistics_pairs(model, runtime, patches)
        if "agreement_db" in BOUNDS[quantize]:
            found = _parity([pairs.pop("guided")], BOUNDS[quantize])
            parity["guided_agreement_db"] = found["agreement_db"]
            parity["problems"] += [f"guided: {text}" for text in found["problems"]]
        bound = STATISTICS_BOUNDS[quantize]
        for name, error in _relative_errors(pairs).items():
            parity[name] = error
            if not error <= bound:
                parity["problems"].append(f"{name} is {error:.2g}; expected at most {bound:.2g}")
    _, levels = _run_file(files["uint8"], pictures)
    rounded = {
        name: bound + HALF_LEVEL if name == "max_error" else bound
        for name, bound in BOUNDS[quantize].items()
    }
    parity["uint8"] = compare(expected, levels, patches, rounded)
    parity["problems"] += [f"uint8 file: {text}" for text in parity["uint8"].pop("problems")]
    return parity


def check_tiles(
    model: MSPFN, files: tuple[Path, Path], quantize: str, patches: Sequence[Patch]
) -> dict[str, Any]:
    """Compares what LiteRT makes of parts of pictures with what the Keras model does.

    Args:
        model: the `MSPFN`.
        files: that of `mspfn_tf.export.litert.convert`, which measures, and of `convert_tiles`.
        quantize: a key of `STATISTICS_BOUNDS`.
        patches: list of `Patch`.

    Returns:
        As `check_litert`.
    """
    runtime = LiteRTRuntime(resolve(files[0]), files[0], tiles=files[1])
    return _parity(_tile_pairs(model, runtime, patches), BOUNDS[quantize])


def _parity(pairs, bounds):
    """By the first of `bounds`, of (expected, found): what was measured, and "problems"."""
    (name, bound), *_ = bounds.items()
    expected, found = zip(*pairs, strict=True)
    if name == "agreement_db":
        value = float(np.min([*map(_agreement, expected, found)]))
    else:
        value = _max_error(expected, found)
    return {name: value, "problems": _problem(name, value, bound)}


def _problem(name, value, bound):
    good = value >= bound if name == "agreement_db" else value <= bound
    relation = "at least" if name == "agreement_db" else "at most"
    return [] if good else [f"{name} is {value:.4g}; expected {relation} {bound:g}"]


def _tile_pairs(model, runtime, patches):
    """What is expected and what is found of parts of pictures: in the middle, at an edge, in a
    corner, and all of it."""
    own = open_runtime(model)
    pairs = []
    for patch in patches:
        statistics = own.measure(patch.batch)
        height, width = patch.batch.shape[1:3]
        top, left = (side // 4 // MULTIPLE_OF * MULTIPLE_OF for side in (height, width))
        for box in (
            (top, left, height - 2 * top, width - 2 * left),
            (0, left, height - top, width - 2 * left),
            (top, left, height - top, width - left),
            (0, 0, height, width),
        ):
            expected, found = (one.run_tile(patch.batch, statistics, box) for one in (own, runtime))
            pairs.append((np.clip(expected, 0, 1), found))
    return pairs


def check_graph(
    model: MSPFN, path: Path, quantize: str, patches: Sequence[Patch]
) -> dict[str, Any]:
    """Compares an ONNX or OpenVINO file with the Keras model on pictures.

    Also on two other sizes and a batch of two, and by what it measures and by what it makes of
    given statistics.

    Returns and takes what `check_litert` does; `path` is the file.
    """
    runtime = open_runtime(path)
    bounds = BOUNDS[quantize]
    found = [runtime.run(patch.batch) for patch in patches]
    parity = compare(_run_keras(model, [patch.batch for patch in patches]), found, patches, bounds)
    others = other_sizes(patches)
    found = [runtime.run(pictures) for pictures in others]
    measured = {"other_sizes_max_error": _max_error(_run_keras(model, others), found)}
    if has_statistics(model):
        measured |= _relative_errors(_statistics_pairs(model, runtime, patches))
    if runtime.coarse_first:
        measured["tile_max_error"] = _max_error(
            *zip(*_tile_pairs(model, runtime, patches), strict=True)
        )
    for name, error in measured.items():
        bound = bounds["max_error"] * (1 if name == "other_sizes_max_error" else 10)
        if not error <= bound:
            parity["problems"].append(f"{name} is {error:.2g}; expected at most {bound:.2g}")
    return {**parity, **measured}


def _run_file(path, pictures):
    """Runs a .tflite file, in its own size, on float32 `[1, H, W, 3]` pictures in [0, 1]."""
    runtime = open_runtime(path, resize=False)
    return runtime, [runtime.run(picture) for picture in pictures]


def _statistics_pairs(model, runtime, patches):
    """What is expected and what is found of the two further signatures."""
    own, first, last = open_runtime(model), patches[0].batch, patches[-1].batch
    given = own.measure(last)
    derained, found = (one.run_guided(first, given)[0] for one in (own, runtime))
    return {
        "statistics": (given, runtime.measure(last)),
        "guided": (np.clip(derained, 0, 1), found),
    }


def _relative_errors(pairs):
    """Relative to the largest value where that is above 1."""
    return {
        f"{name}_max_error": _max_error([expected], [found])
        / max(1.0, float(np.abs(expected).max()))
        for name, (expected, found) in pairs.items()
    }


def check_saved_model(model: MSPFN, path: Path, patches: Sequence[Patch]) -> dict[str, Any]:
    """Compares a SavedModel, loaded in a fresh process without this package, with the Keras model.

    All three signatures are run, also on sizes that are no multiple of 8.

    Returns and takes what `check_litert` does; `path` is the directory.
    """
    from mspfn_tf.restorer import Restorer

    pictures = [patch.rainy for patch in patches]
    pictures += [pictures[0][:height, :width] for height, width in _OTHER_SIZES]
    restorer = Restorer(model)
    expected = [restorer(picture.astype(np.float32) / 255) for picture in pictures]
    with tempfile.TemporaryDirectory() as folder:
        given, results = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(given, *pictures)
        script = Path(__file__).with_name("run_saved_model.py")
        # -I: only what is installed, and nothing of this package is imported.
        done = subprocess.run(
            [sys.executable, "-I", script, path, given, results],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode:
            raise VerificationError(f"the SavedModel does not run:\n{done.stderr[-2000:]}")
        with np.load(results) as arrays:
            found = {name: arrays[name] for name in arrays}
    count = len(pictures)
    floats = [found[f"serving_default_{n}"] for n in range(count)]
    parity = compare(
        expected[: len(patches)], floats[: len(patches)], patches, BOUNDS["saved_model"]
    )
    parity["other_sizes_max_error"] = _max_error(expected[len(patches) :], floats[len(patches) :])
    if not parity["other_sizes_max_error"] <= BOUNDS["saved_model"]["max_error"]:
        parity["problems"].append(
            f"{parity['other_sizes_max_error']:.2g} on sizes that are no multiple of 8"
        )
    for name in ("uint8", "encoded"):
        error = _max_error(
            expected, [found[f"{name}_{n}"].astype(np.float32) / 255 for n in range(count)]
        )
        parity[f"{name}_max_error"] = error
        if not error <= HALF_LEVEL + BOUNDS["saved_model"]["max_error"]:
            parity["problems"].append(f"signature {name} differs by {255 * error:.2f} levels")
    return parity


def compare(
    expected: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    patches: Sequence[Patch],
    bounds: Mapping[str, float],
) -> dict[str, Any]:
    """Measures the differences of two lists of pictures; "problems" lists what breaks `bounds`."""
    parity = {
        "pictures": len(patches),
        "max_error": _max_error(expected, found),
        "agreement_db": float(np.min([*map(_agreement, expected, found)])),
        "psnr_loss_db": None,
        "bounds": bounds,
        "problems": [],
    }
    known = [n for n, patch in enumerate(patches) if patch.clean is not None]
    if known:
        before, after = (
            np.mean([psnr(patches[n].clean, _levels(pictures[n])) for n in known])
            for pictures in (expected, found)
        )
        parity["psnr_loss_db"] = float(before - after)
    for name, bound in bounds.items():
        if (value := parity[name]) is not None:
            parity["problems"] += _problem(name, value, bound)
    return parity


def _run_keras(model, pictures):
    import tensorflow as tf

    function = tf.function(lambda rainy: model(rainy, training=False), autograph=False)
    return [np.clip(function(tf.constant(batch)).numpy(), 0, 1) for batch in pictures]


def _levels(picture):
    picture = picture if picture.ndim == 3 else picture[0]
    return np.rint(picture * 255).astype(np.uint8)


def _max_error(expected, found):
    # Not `max`, which passes over what is no number.
    return float(np.max([np.abs(a - b).max() for a, b in zip(expected, found, strict=True)]))


def _agreement(expected, found):
    error = float(np.square(expected - found, dtype=np.float64).mean())
    return 10 * math.log10(1 / max(error, 1e-12))
