"""The built-in presets: arguments of `MSPFN`, and the weights and scores shipped with each.

What is said about weights comes from `weights/<preset>.json`, the model card that is generated
when weights are shipped.
"""

import hashlib
import json
import math
import os
from pathlib import Path

from mspfn_tf.checks import check_choice
from mspfn_tf.errors import UsageError, argument, in_python

WEIGHTS = Path(__file__).resolve().parent / "weights"

PRESETS = {
    "mspfn": {
        "description": "The network of the paper and of the authors' training script.",
        "parameters": 17_769_728,
        "multiply_adds_256": 182_645_143_552,
        "arguments": {
            "width": 64,
            "blocks": 17,
            "rcabs": (1, 3, 3),
            "hidden": (64, 128, 256),
        },
    },
    "mspfn_m17n1": {
        "description": "One attention block per scale: the layout of the authors' weights.",
        "parameters": 12_597_376,
        "multiply_adds_256": 131_306_723_328,
        "arguments": {
            "width": 64,
            "blocks": 17,
            "rcabs": (1, 1, 1),
            "hidden": (64, 128, 256),
        },
    },
    "mspfn_mobile": {
        "description": "For phones: half-resolution trunk, ops that phone accelerators run.",
        "parameters": 977_548,
        "multiply_adds_256": 2_815_045_632,
        "arguments": {
            "width": 32,
            "blocks": 6,
            "rcabs": (1, 1, 1),
            "hidden": (16, 16, 16),
            "attention": "picture",
            "stem": 2,
            "activation": "relu",
            "upsampling": "smooth",
        },
    },
    "mspfn_nano": {
        "description": "Meant for real time on phones: half of mspfn_mobile's channels and blocks.",
        "parameters": 149_048,
        "multiply_adds_256": 531_040_128,
        "arguments": {
            "width": 16,
            "blocks": 3,
            "rcabs": (1, 1, 1),
            "hidden": (8, 8, 8),
            "attention": "picture",
            "stem": 2,
            "activation": "relu",
            "upsampling": "smooth",
        },
        "overlap": 64,
    },
}
"""`overlap`: pixels that tiles need to share, where `Restorer` would let them share more."""


STATE = ("dtype", "trainable", "frozen")
"""What a model's configuration tells beside the arguments of the network: how it was used."""


FULL_STRENGTH_SIDE = 32
"""Pictures with a shorter side show too little of a scene to tell rain from it, and no preset was
trained on such. `Restorer` takes a share of the rain layer away that falls with the square of that
side: a sixteenth at 8x8, by which no value can change by more than 16 levels."""

LITERT = {"float16": "tflite", "float32": "tflite_float32"}
"""Where a card has the LiteRT file of each kind of weights: float16 in half the bytes, for phones
and this package; float32 for runtimes of browsers that unpack float16 anew in every run."""


TILES = "tflite_tiles"
"""Where a card has the LiteRT file for tiles of large pictures, on processors (float16)."""


INT8, INT8_TILES = "tflite_int8", "tflite_int8_tiles"
"""Where a card has those two LiteRT files with 8-bit arithmetic: twice as fast on processors with
dot products for it, and less exact."""


OPENVINO = ("openvino", "openvino_weights")
"""Where a card has the two OpenVINO files: the graph (.xml) and its weights (.bin, float16)."""


damaged_cards: dict[str, str] = {}
"""What is wrong with the model cards that cannot be read, by preset: importing the package says
nothing yet, asking for the weights of such a preset does."""


def _files(weights):
    """The entries of a card that each name a shipped file and its SHA-256."""
    keys = (*LITERT.values(), TILES, INT8, INT8_TILES, *OPENVINO)
    entries = (weights, *((weights or {}).get(key) for key in keys))
    return [entry for entry in entries if entry is not None]


def _card(name):
    path = WEIGHTS / f"{name}.json"
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        weights, scores = card.get("weights"), card.get("scores")
        for entry in _files(weights):
            if not (
                isinstance(entry["file"], str)
                and Path(entry["file"]).name == entry["file"]
                and isinstance(entry["sha256"], str)
            ):
                raise ValueError("a file or its sha256 is no text")
        for score in (scores or {}).values():
            if not all(math.isfinite(float(score[key])) for key in ("psnr", "ssim")):
                raise ValueError("a score is no number")
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        damaged_cards[name] = f"{path} is damaged ({error!r}): install the package again"
        return {}
    return card


for _name, _preset in PRESETS.items():
    _found = _card(_name)
    _preset["weights"] = _found.get("weights")
    _preset["scores"] = _found.get("scores")

DEFAULT_PRESET = next(
    name
    for name in ("mspfn", "mspfn_m17n1", "mspfn_mobile", "mspfn_nano")
    if PRESETS[name]["weights"] or name == "mspfn_nano"
)
"""The best preset whose weights are shipped."""


def known_preset(name: str) -> str:
    """`name`, if it is a preset.

    Raises:
        UsageError: it is not; the message lists those that are.
    """
    if name not in PRESETS:
        advice = ""
        if os.path.exists(name):
            advice = f"; where files and folders are taken, give {argument('model', name)}"
        raise UsageError(
            f"unknown preset {str(name)!r}: choose one of {', '.join(PRESETS)}{advice}"
        )
    return name


def weights_path(name: str) -> Path:
    """The shipped weights file of preset `name`.

    Raises:
        UsageError: unknown preset, or one without shipped weights.
    """
    weights = PRESETS[known_preset(name)]["weights"]
    if name in damaged_cards:
        raise UsageError(damaged_cards[name])
    if weights is None:
        shipped = ", ".join(n for n, preset in PRESETS.items() if preset["weights"]) or "none"
        raise UsageError(
            f"no weights are shipped for preset {name!r} (shipped: {shipped}). Train it (`mspfn "
            "train`), or convert the authors' checkpoint (`mspfn convert`)"
            + in_python(", or pass load_weights=False")
        )
    return WEIGHTS / weights["file"]


def tflite_path(name: str, weights: str = "float16") -> Path | None:
    """The shipped .tflite file of preset `name`, or None where none is shipped.

    Args:
        name: of the preset.
        weights: "float16", or "float32" for browsers whose runtime is slow with the former.

    Raises:
        UsageError: unknown preset, or other weights than these.
    """
    check_choice("weights", weights, tuple(LITERT))
    return shipped_file(name, LITERT[weights])


def shipped_file(name: str, key: str) -> Path | None:
    """The shipped file of preset `name` that its card has at `key`, such as `TILES`; None where
    none is shipped.

    Raises:
        UsageError: unknown preset.
    """
    entry = (PRESETS[known_preset(name)]["weights"] or {}).get(key)
    return None if entry is None else WEIGHTS / entry["file"]


def verify_shipped() -> tuple[list[str], list[str]]:
    """Compares every shipped file with the SHA-256 in its model card.

    Returns:
        (lines that name the files that are as they were shipped, lines that say what is wrong).
    """
    good, bad = [], list(damaged_cards.values())
    for preset in PRESETS.values():
        for entry in _files(preset["weights"]):
            path = WEIGHTS / entry["file"]
            try:
                check_shipped_bytes(path, path.read_bytes())
            except OSError as error:
                bad.append(f"cannot read {path}: {error.strerror}. Install the package again")
            except UsageError as error:
                bad.append(str(error))
            else:
                good.append(f"{entry['sha256']}  {entry['file']}")
    return good, bad


def check_shipped_bytes(path: str | os.PathLike, content: bytes) -> bool:
    """Compares what was read from `path` with what was shipped, if it is a file of the package.

    Returns:
        Whether it is a shipped file. All others are a stranger's.

    Raises:
        UsageError: it is, and its SHA-256 is not the one in its model card.
    """
    path = Path(path).resolve()
    if path.parent != WEIGHTS:
        return False
    for preset in PRESETS.values():
        for entry in _files(preset["weights"]):
            if entry["file"] != path.name:
                continue
            found = hashlib.sha256(content).hexdigest()
            if found != entry["sha256"]:
                raise UsageError(
                    f"{path} is damaged or was changed: its SHA-256 is {found}, the model card "
                    f"says {entry['sha256']}. Install the package again"
                )
            return True
    return False
