"""Scores of many pictures: what `mspfn score` and `mspfn evaluate` compute and write.

Needs neither TensorFlow nor Keras, unless the restorer that is evaluated does.
"""

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from mspfn_tf import __version__, metrics
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write, clear_leftovers, locked
from mspfn_tf.partial_results import complete, provenance, resume
from mspfn_tf.pictures import read_rgb, write_picture
from mspfn_tf.pictures.sheets import side_by_side, stacked
from mspfn_tf.sets.pairs import Pairs, pair_folders

_PARTIAL = "partial.jsonl"
_READABLE: Any = {"encoding": "utf-8", "errors": "backslashreplace"}
_SHEET_ROWS = 2  # pictures of each kind (worst, typical, best) on the sheet
_SHEET_SIDE = 640  # larger pictures are made smaller for the sheet, never for the scores
_SHEET_LABEL = 340  # smaller ones get a margin, so that the text above them has room

Measuring = Callable[[list[int]], Iterator[tuple[int, dict[str, Any] | None, str | None]]]


def score(
    predictions: str | os.PathLike,
    targets: str | os.PathLike,
    protocol: str = "matlab_y",
    allow_unmatched: bool = False,
    command: str | None = None,
) -> dict[str, Any]:
    """Scores the pictures of a folder, whatever made them, against their targets.

    Args:
        predictions: folder of pictures.
        targets: folder of the clean pictures; see `mspfn_tf.sets.pairs` for how names pair.
        protocol: one of `metrics.PROTOCOLS`.
        allow_unmatched: leave out (and list under `left_out`) what does not pair.
        command: the command to record as the one that made the scores.

    Returns:
        The content of `scores.json`. A picture that cannot be read or measured stands, with the
        reason, under `failed`.

    Raises:
        UsageError: the folders do not pair, or the protocol is unknown.
    """
    _check_protocol(protocol)
    pairing = pair_folders(predictions, targets, allow_unmatched)
    images, failed = [], []
    for name, prediction, target in tqdm(pairing.pairs, unit="picture", disable=None):
        try:
            record = _measured(read_rgb(target), read_rgb(prediction), protocol)
        except ValueError as error:  # unreadable, of another size, or too small for SSIM
            failed.append({"name": name, "error": str(error)})
        else:
            images.append({"name": name, **record})
    return {
        **_summary(images, protocol),
        "model": None,
        "weights_sha256": None,
        "predictions": str(predictions),
        "targets": str(targets),
        "failed": failed,
        "left_out": list(pairing.left_out),
        **provenance(command),
        "images": images,
    }


def evaluate(
    restorer: Callable[[np.ndarray], np.ndarray],
    pairs: Pairs,
    output: str | os.PathLike,
    configuration: dict[str, Any],
    protocol: str = "matlab_y",
    crop_multiple: int = 1,
    command: str | None = None,
    measured: Measuring | None = None,
) -> dict[str, Any]:
    """Restores and scores pairs; writes `scores.json`, `scores.csv` and `sheet.png`.

    Each picture's scores go to a partial file as soon as they are known. A run that was
    interrupted continues there when it is started again with the same configuration; pictures that
    failed are tried again. A complete evaluation is returned as it stands.

    Args:
        restorer: function of a rainy picture that returns the restored one, both uint8
            `[H, W, 3]`; such as a `mspfn_tf.Restorer`.
        pairs: `FolderPairs`, a `PairSource`, or anything that reads like them.
        output: folder for the results.
        configuration: dict of JSON values that says what is evaluated on what: at least `model` and
            `weights_sha256`. Written to `scores.json`; results of different configurations never
            share a folder.
        protocol: one of `metrics.PROTOCOLS`.
        crop_multiple: crop both pictures at the right and the bottom to multiples of so many
            pixels first.
        command: the command to record as the one that made the scores.
        measured: function of the numbers of pairs that yields (number, record, error) of each, in
            any order, as `measured_pair` measures them; None to do that here, one after the other.

    Returns:
        The content of `scores.json`. A pair that cannot be read or measured stands, with the
        reason, under `failed`.

    Raises:
        UsageError: `output` holds results of another configuration, wrong arguments, or no pair
            at all could be scored.
    """
    _check_protocol(protocol)
    if crop_multiple < 1:
        raise UsageError(f"crop_multiple must be at least 1. Received: {crop_multiple}")
    output = Path(output)
    configuration = {
        **configuration,
        "protocol": protocol,
        "crop_multiple": crop_multiple,
        "pairs": len(pairs),
        "mspfn_tf": __version__,
    }
    with locked(output, "evaluate"):
        clear_leftovers(output)
        try:
            return _evaluate(restorer, pairs, output, configuration, command, measured)
        except OSError as error:  # pictures that cannot be read are told otherwise
            raise unwritten(output, error) from error


def measured_pair(
    restorer: Callable[[np.ndarray], np.ndarray],
    pairs: Pairs,
    index: int,
    protocol: str,
    crop_multiple: int,
) -> tuple[dict[str, Any] | None, str | None]:
    """Restores and scores one pair.

    Returns:
        (the record for `scores.json`, None); or (None, why it cannot be read or measured).
    """
    try:
        rainy, clean = _read(pairs, index, crop_multiple)
        record = {"name": pairs.name(index), **_input_scores(rainy, clean, protocol)}
    except ValueError as error:  # unreadable, of unequal sizes, or too small for SSIM
        return None, str(error)
    try:
        return record | _measured(clean, restorer(rainy), protocol), None
    except MemoryError as error:
        return None, f"not enough memory ({error}): give a smaller tile"


def _evaluate(restorer, pairs, output, configuration, command, measured):
    protocol, crop_multiple = configuration["protocol"], configuration["crop_multiple"]
    partial = output / _PARTIAL
    if (scores := complete(output / "scores.json", partial, configuration)) is not None:
        return scores

    done = resume(partial, configuration)

    def one_by_one(indices):
        for index in indices:
            yield index, *measured_pair(restorer, pairs, index, protocol, crop_multiple)

    errors = {}
    with (
        open(partial, "a", encoding="utf-8") as file,
        tqdm(total=len(pairs), initial=len(done), unit="picture", disable=None) as bar,
    ):
        todo = [index for index in range(len(pairs)) if index not in done]
        for index, record, error in (measured or one_by_one)(todo):
            if record is None:
                errors[index] = error
            else:
                file.write(json.dumps({"index": index, **record}, allow_nan=False) + "\n")
                file.flush()
                done[index] = record
                bar.set_postfix_str(f"{float(record['psnr']):.2f} dB")
            bar.update()

    failed = [{"name": pairs.name(index), "error": errors[index]} for index in sorted(errors)]
    images = [done[index] for index in sorted(done)]
    if not images:
        partial.unlink()
        raise UsageError(
            f"none of the {len(pairs)} pairs could be scored; the first: "
            f"{failed[0]['name']}: {failed[0]['error']}"
        )
    sheet = _sheet(restorer, pairs, done, crop_multiple)
    write_picture(output / "sheet.png", sheet, overwrite=True)
    scores = {
        **_summary(images, protocol),
        "model": configuration.get("model"),
        "weights_sha256": configuration.get("weights_sha256"),
        "configuration": configuration,
        "failed": failed,
        "left_out": list(getattr(pairs, "left_out", ())),
        **provenance(command),
        "images": images,
    }
    write_scores(output, scores, overwrite=True)
    if not failed:
        partial.unlink()
    return scores


def write_scores(
    output: str | os.PathLike, scores: dict[str, Any], overwrite: bool = False
) -> None:
    """Writes `scores.json` and `scores.csv` into the folder `output`.

    Raises:
        UsageError: a file exists and `overwrite` is false, or cannot be written.
    """
    output = Path(output)
    clear_leftovers(output)
    try:
        with (
            atomic_write(output / "scores.csv", overwrite) as table,
            atomic_write(output / "scores.json", overwrite) as document,
        ):
            write_table(table, scores["images"])
            write_document(document, scores)
    except OSError as error:
        raise unwritten(output, error) from error


def write_table(path: Path, images: Sequence[Mapping[str, Any]]) -> None:
    """Writes one line per picture as CSV; a name that is not UTF-8 as escapes of its bytes."""
    with open(path, "w", newline="", **_READABLE) as file:
        # Text stands in quotes, so that a separator of another country in it does not begin a cell.
        names = images[0] if images else ["name"]
        columns = csv.DictWriter(file, names, quoting=csv.QUOTE_NONNUMERIC)
        columns.writeheader()
        columns.writerows({key: as_text(value) for key, value in image.items()} for image in images)


def write_document(path: Path, scores: Mapping[str, Any]) -> None:
    """Writes results as JSON; a name that is not UTF-8 as escapes of its bytes."""
    text = json.dumps(scores, indent=1, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", **_READABLE)


def unwritten(output: Path, error: OSError) -> UsageError:
    """What is said when results cannot be written into the folder `output`."""
    what = f" ({error.filename})" if error.filename else ""
    return UsageError(
        f"cannot write the results in {output}: {error.strerror or error}{what}. What was there "
        "before still is; run the command again when there is room"
    )


def as_text(value: Any) -> Any:
    """A cell that spreadsheets do not take for a formula: such text gets an apostrophe in front."""
    if isinstance(value, str) and value.startswith(tuple("=+-@＝＋－＠\t\r\n")):
        return f"'{value}"
    return value


def describe(scores: dict[str, Any]) -> str:
    """The summary of `scores` as text: the protocol's name stands with every figure."""
    lines = [f"{scores['count']} pictures, mean PSNR (dB) / SSIM"]
    rows = [
        ("rainy input", scores.get("input"), scores["protocol"]),
        ("output", scores["output"], scores["protocol"]),
        ("output", scores["output_rgb"], "rgb"),
    ]
    if scores["protocol"] == "rgb":
        del rows[-1]
    for what, means, protocol in rows:
        if means:
            figures = f"{float(means['psnr']):.3f} / {means['ssim']:.4f}"
            lines.append(f"  {what:<12} {protocol:<9} {figures}")
    for key, what in (("psnr", "pictures"), ("input_psnr", "rainy pictures")):
        same = [image["name"] for image in scores["images"] if image.get(key) == "inf"]
        if same:
            shown = ", ".join(same[:5]) + (", ..." if len(same) > 5 else "")
            lines.append(
                f"  {len(same)} {what} equal their target, so that their PSNR and the mean are "
                f"infinite: {shown}"
            )
    text = "\n".join(lines)
    return text.encode(errors="backslashreplace").decode()


def describe_restorer(restorer: Any) -> dict[str, Any]:
    """What of a `Restorer` decides about the scores, for the configuration."""
    return {
        "model": restorer.name,
        "weights_sha256": restorer.digest,
        "runtime": restorer.runtime.kind,
        "tile": restorer.sizes.fixed or restorer.tile or "whole",
        "overlap": restorer.overlap,
        "ensemble": restorer.ensemble,
        "strength": restorer.strength,
    }


def _check_protocol(protocol):
    try:
        metrics.check_protocol(protocol)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _measured(target, image, protocol):
    """Scores of one picture, by the protocol and beside it in RGB."""
    scores = {"psnr": metrics.psnr(target, image, protocol)}
    scores["ssim"] = metrics.ssim(target, image, protocol)
    if protocol == "rgb":
        scores |= {"psnr_rgb": scores["psnr"], "ssim_rgb": scores["ssim"]}
    else:
        scores["psnr_rgb"] = metrics.psnr(target, image, "rgb")
        scores["ssim_rgb"] = metrics.ssim(target, image, "rgb")
    return {key: _json_number(value) for key, value in scores.items()}


def _input_scores(rainy, clean, protocol):
    psnr, ssim = (measure(clean, rainy, protocol) for measure in (metrics.psnr, metrics.ssim))
    return {"input_psnr": _json_number(psnr), "input_ssim": _json_number(ssim)}


def _json_number(value):
    # JSON has no infinity. Of what it has, this string is what float() turns back into one.
    return "inf" if value == math.inf else round(value, 6)


def _summary(images, protocol):
    def means(psnr, ssim):
        if not images or psnr not in images[0]:
            return None
        both = np.array([[float(image[key]) for key in (psnr, ssim)] for image in images])
        return dict(zip(("psnr", "ssim"), map(_json_number, both.mean(axis=0)), strict=True))

    summary = {"protocol": protocol, "count": len(images)}
    if before := means("input_psnr", "input_ssim"):
        summary["input"] = before
    summary["output"] = means("psnr", "ssim")
    summary["output_rgb"] = means("psnr_rgb", "ssim_rgb")
    return summary


def _read(pairs, index, multiple):
    rainy, clean = pairs[index]
    if rainy.shape != clean.shape:
        raise UsageError(
            f"rainy is {rainy.shape[1]}x{rainy.shape[0]} pixels, clean "
            f"{clean.shape[1]}x{clean.shape[0]}; expected equal sizes"
        )
    height, width = (side - side % multiple for side in rainy.shape[:2])
    if not height or not width:
        raise UsageError(
            f"{rainy.shape[1]}x{rainy.shape[0]} pixels leave nothing when cropped to a multiple "
            f"of {multiple}"
        )
    return rainy[:height, :width], clean[:height, :width]


def _sheet(restorer, pairs, done, multiple):
    """Rainy, restored and clean pictures of the worst, the typical and the best cases."""
    order = sorted(done, key=lambda index: float(done[index]["psnr"]))
    middle = len(order) // 2
    kinds = {
        "worst": order[:_SHEET_ROWS],
        "best": order[: -_SHEET_ROWS - 1 : -1],
        "typical": order[middle - _SHEET_ROWS // 2 :][:_SHEET_ROWS],
    }
    rows, shown = {"worst": [], "typical": [], "best": []}, set()
    for kind, indices in kinds.items():
        for index in indices:
            if index not in shown:
                shown.add(index)
                rainy, clean = _read(pairs, index, multiple)
                pictures = [_reduced(picture) for picture in (rainy, restorer(rainy), clean)]
                record = done[index]
                before = _figures(record["input_psnr"], record["input_ssim"])
                after = _figures(record["psnr"], record["ssim"])
                name = record["name"].encode(errors="backslashreplace").decode()
                labels = [f"{kind}: {name}, rainy {before}", f"restored {after}", "clean"]
                rows[kind].append(side_by_side(pictures, labels))
    return stacked([row for kind in rows.values() for row in kind])


def _figures(psnr, ssim):
    return f"{float(psnr):.2f} dB / {ssim:.3f}"


def _reduced(picture):
    image = Image.fromarray(picture)
    image.thumbnail((_SHEET_SIDE, _SHEET_SIDE))
    margin = max(0, _SHEET_LABEL - image.width)
    return np.pad(np.asarray(image), ((0, 0), (0, margin), (0, 0)), constant_values=255)
