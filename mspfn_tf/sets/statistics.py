"""What people look at before they train on a set: how much rain, how large, how bright.

Measures of a pair, in the luma of the papers' protocol (16..235 of 256 levels):

- *brightness shift*: mean of rainy minus clean. Rain adds light and mist; a shift that is large, or
  negative, tells of another exposure.
- *rain coverage*: share of the pixels that are at least `COVERING_LEVELS` brighter than the pair's
  median difference. The median takes a change of exposure out.
"""

import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from mspfn_tf import metrics
from mspfn_tf.errors import UsageError
from mspfn_tf.pictures.sheets import side_by_side, stacked
from mspfn_tf.sets.pairs import evenly_spread
from mspfn_tf.sets.prepared import Examples

COVERING_LEVELS = 8
_COUNTED = 20_000  # scenes are counted over all examples where there are no more than these
_ROWS = 6
_ROW_HEIGHT = 200


@dataclasses.dataclass(frozen=True)
class Range:
    """Mean of a measure, and what 5 %, 50 % and 95 % of the pictures stay below."""

    mean: float
    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Range | None":
        """The range of some values, None where there are none."""
        if not len(values):
            return None
        low, median, high = np.percentile(values, (5, 50, 95))
        return cls(float(np.mean(values)), float(low), float(median), float(high))


@dataclasses.dataclass(frozen=True)
class SplitStatistics:
    """What a split holds.

    Attributes:
        split: its name.
        pairs: how many there are (photographs, where the set has no clean pictures).
        scenes: how many different scenes, None where nobody counted.
        measured: how many were measured, evenly spread over the split.
        height, width: of the measured pictures, pixels.
        brightness: mean luma of the rainy pictures, levels.
        psnr, ssim: of the rainy pictures against the clean ones, without pairs that are equal.
        equal: how many of the measured pairs are equal; None of photographs.
        coverage: share of pixels that rain covers (see the module).
        shift: brightness shift, levels (see the module).
    """

    split: str
    pairs: int
    scenes: int | None
    measured: int
    height: Range | None
    width: Range | None
    brightness: Range | None
    psnr: Range | None = None
    ssim: Range | None = None
    equal: int | None = None
    coverage: Range | None = None
    shift: Range | None = None


def split_statistics(
    examples: Examples,
    split: str,
    most: int = 200,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[SplitStatistics, np.ndarray | None]:
    """Measures a prepared split.

    Args:
        examples: its examples.
        split: its name.
        most: how many pairs to measure at most, evenly spread.
        progress: is told what is being done, how much of it is done, and how much there is.

    Returns:
        The measures, and a contact sheet `uint8 [H, W, 3]` of pictures from the most to the least
        rainy (None for an empty split).

    Raises:
        UsageError: `most` is below 1, or an example is damaged.
    """
    if most < 1:
        raise UsageError(f"at least one pair has to be measured. Received: {most}")
    count = len(examples)
    chosen = evenly_spread(count, most)
    paired = "clean" in examples.features
    found = []
    for done, index in enumerate(chosen, 1):
        if progress is not None:
            progress(f"measuring {split}", done, len(chosen))
        found.append(_measure(examples, index, paired))
    columns = {key: [values[key] for values in found] for key in found[0]} if found else {}

    def spread(key):
        return Range.of([value for value in columns.get(key, ()) if np.isfinite(value)])

    statistics = SplitStatistics(
        split=split,
        pairs=count,
        scenes=_scenes(examples, split, progress),
        measured=len(chosen),
        **{
            key: spread(key)
            for key in ("height", "width", "brightness", "psnr", "ssim", "coverage", "shift")
        },
        equal=int(np.isinf(columns.get("psnr", ())).sum()) if paired else None,
    )
    order = np.argsort(columns["psnr" if paired else "brightness"]) if found else []
    rows = [order[place] for place in evenly_spread(len(order), _ROWS)]
    sheet = [_row(examples, chosen[row], found[row], paired) for row in rows]
    return statistics, stacked(sheet) if sheet else None


def describe(statistics: Sequence[SplitStatistics]) -> list[str]:
    """Lines of text about the splits of a set."""
    lines = []
    for split in statistics:
        scenes = "" if split.scenes is None else f", {split.scenes} scenes"
        measured = "" if split.measured == split.pairs else f" (measured: {split.measured})"
        kind = "photographs" if split.equal is None else "pairs"
        lines.append(f"{split.split}: {split.pairs} {kind}{scenes}{measured}")
        if split.measured:
            lines.append(f"  {'':<18}{'mean':>9}{'5 %':>9}{'50 %':>9}{'95 %':>9}")
        for label, key, digits, factor in (
            ("height, pixels", "height", 0, 1),
            ("width, pixels", "width", 0, 1),
            ("rainy PSNR, dB (Y)", "psnr", 2, 1),
            ("rainy SSIM (Y)", "ssim", 4, 1),
            ("rain coverage, %", "coverage", 1, 100),
            ("brightness, levels", "brightness", 1, 1),
            ("  shift by rain", "shift", 1, 1),
        ):
            spread = getattr(split, key)
            if spread is not None:
                values = dataclasses.astuple(spread)
                figures = "".join(f"{factor * value:9.{digits}f}" for value in values)
                lines.append(f"  {label:<18}{figures}")
        if split.equal:
            lines.append(f"  {split.equal} of the measured pairs are equal: no rain in them")
    return lines


def _measure(examples: Examples, index: int, paired: bool) -> dict[str, float]:
    example = examples[index]
    rainy = _decoded(example["rainy"], examples, index)
    luma = metrics.luma(rainy.astype(np.int32))
    found = {"height": rainy.shape[0], "width": rainy.shape[1], "brightness": float(luma.mean())}
    if not paired:
        return found
    clean = _decoded(example["clean"], examples, index)
    if clean.shape != rainy.shape:
        raise UsageError(
            f"{examples.folder}: example {index}: rainy is {rainy.shape}, clean is {clean.shape}"
        )
    difference = luma - metrics.luma(clean.astype(np.int32))
    psnr = metrics.psnr(clean, rainy)
    # Equal pairs count in neither; those that are smaller than its window have no SSIM.
    compared = np.isfinite(psnr) and min(rainy.shape[:2]) >= metrics.WINDOW
    return found | {
        "psnr": psnr,
        "ssim": metrics.ssim(clean, rainy) if compared else float("nan"),
        "coverage": float(np.mean(difference >= np.median(difference) + COVERING_LEVELS)),
        "shift": float(difference.mean()),
    }


def _decoded(data: bytes, examples: Examples, index: int) -> np.ndarray:
    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"{examples.folder}: example {index}: damaged ({error})") from error


def _scenes(examples: Examples, split: str, progress: Any) -> int | None:
    if "scene" not in examples.features or len(examples) > _COUNTED:
        return None
    scenes = set()
    for done, example in enumerate(examples, 1):
        if progress is not None:
            progress(f"counting scenes of {split}", done, len(examples))
        scenes.add(example["scene"])
    return len(scenes)


def _row(examples: Examples, index: int, found: dict[str, float], paired: bool) -> np.ndarray:
    example = examples[index]
    name = example.get("name", b"")
    name = name.decode() if isinstance(name, bytes) else str(name)
    pictures = [example[side] for side in ("rainy", "clean") if side in example]
    pictures = [_reduced(_decoded(data, examples, index)) for data in pictures]
    figure = f"{found['psnr']:.1f} dB" if paired else f"brightness {found['brightness']:.0f}"
    return side_by_side(pictures, [f"{name}, {figure}", "clean"][: len(pictures)])


def _reduced(picture: np.ndarray) -> np.ndarray:
    height = min(_ROW_HEIGHT, picture.shape[0])
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
