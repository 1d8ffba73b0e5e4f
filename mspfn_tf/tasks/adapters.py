"""Adapters: how one picture gets into a task's network, and what comes out.

An adapter is a function `adapter(picture, network, **options)`: it makes the input of `network`
(see `networks.Network`) out of `picture`, `uint8 [H, W, 3]` RGB, runs it, and returns `Detections`
or a map of class numbers `[H, W]`. docs/tasks.md shows how to write one.
"""

import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.sets.class_names import class_names
from mspfn_tf.tasks.detection import Detections, iou
from mspfn_tf.tasks.networks import Network

Values = float | Sequence[float]
_LARGEST_BOX = 50  # times the input; logarithms that are none give more
_LEAST_RATIO = 0.7  # by which a map may be narrower than its picture, as without padding


# === Pictures into networks ===


def network_input(
    picture: np.ndarray,
    network: Network,
    order: str = "rgb",
    mean: Values = 0.0,
    std: Values = 1.0,
) -> np.ndarray:
    """A picture `uint8 [H, W, 3]` as the input of `network`: (levels - mean) / std.

    Args:
        picture: of the size that the network takes.
        network: decides the layout.
        order: "rgb" or "bgr".
        mean, std: one number or three, in levels 0..255 and in the network's order of channels.
    """
    if order not in ("rgb", "bgr"):
        raise UsageError(f"order must be 'rgb' or 'bgr'; received {order!r}")
    if order == "bgr":
        picture = picture[..., ::-1]
    x = (picture.astype(np.float32) - _float32(mean)) / _float32(std)
    return (x.transpose(2, 0, 1) if network.channels_first else x)[None]


def letterbox(
    picture: np.ndarray, size: tuple[int, int], fill: int = 114, centred: bool = False
) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Fits a picture into `size` (H, W) without distorting it.

    Returns:
        (picture `uint8 [*size, 3]`, scale, (top, left)): a point (x, y) of `picture` lies at
        (x * scale + left, y * scale + top).
    """
    height, width = picture.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    spare = size[0] - inner[0], size[1] - inner[1]
    top, left = (spare[0] // 2, spare[1] // 2) if centred else (0, 0)
    canvas = np.full((*size, 3), fill, np.uint8)
    canvas[top : top + inner[0], left : left + inner[1]] = resized(picture, inner)
    return canvas, scale, (top, left)


def resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture in another size (H, W), bilinear."""
    if picture.shape[:2] == tuple(size):
        return picture
    return np.asarray(
        Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    )


def suppressed(found: Detections, most_overlap: float) -> Detections:
    """Non-maximum suppression within each class: no two boxes overlap by more than that IoU."""
    kept: list[int] = []
    classes = np.array(found.classes)
    for name in sorted(set(found.classes)):
        (indices,) = np.nonzero(classes == name)
        indices = indices[np.argsort(-found.scores[indices], kind="stable")]
        while len(indices):
            kept.append(int(indices[0]))
            overlap = iou(found.boxes[indices[:1]], found.boxes[indices[1:]])[0]
            indices = indices[1:][overlap <= most_overlap]
    order = np.array(sorted(kept, key=lambda index: -found.scores[index]), int)
    return found.chosen(order)


# === Detection ===


def yolox(
    picture: np.ndarray,
    network: Network,
    *,
    classes: str | Sequence[str | None] = "coco80",
    strides: Sequence[int] = (8, 16, 32),
    order: str = "bgr",
    mean: Values = 0.0,
    std: Values = 1.0,
    fill: int = 114,
    least_score: float = 0.01,
    most_overlap: float = 0.65,
) -> Detections:
    """YOLOX as its ONNX export leaves it (Ge et al. 2021, arXiv 2107.08430, section 2).

    Letterbox at the top left; output `[1, cells, 5 + classes]`, one row per grid cell, stride by
    stride: (x, y) = (out + cell) * stride, (w, h) = exp(out) * stride, then objectness and class
    scores, whose product is the score.
    """
    names = class_names(classes)
    size = _fixed_size(network, "yolox")
    boxed, scale, _ = letterbox(picture, size, fill)
    outputs = network(network_input(boxed, network, order, mean, std))
    cells = sum((size[0] // s) * (size[1] // s) for s in strides)
    output = _output(network, outputs, 0, (1, cells, 5 + len(names)), "grid cells and scores")[0]
    grids, steps = [], []
    for stride in strides:
        rows, columns = np.indices((size[0] // stride, size[1] // stride))
        grids.append(np.stack([columns, rows], axis=-1).reshape(-1, 2))
        steps.append(np.full((len(grids[-1]), 1), stride))
    grid, stride = np.concatenate(grids), np.concatenate(steps)
    centre = (output[:, :2] + grid) * stride
    with np.errstate(over="ignore"):
        half = np.exp(output[:, 2:4]) * stride / 2
    scores = output[:, 4:5] * output[:, 5:]
    best = scores.argmax(axis=1)
    scores = scores[np.arange(len(best)), best]
    if (half[scores >= least_score] > _LARGEST_BOX * max(size)).any():
        raise UsageError(
            f"{network.name} gives boxes much larger than its input: are they decoded already? "
            "Export YOLOX without decode_in_inference"
        )
    boxes = np.concatenate([centre - half, centre + half], axis=1) / scale
    found = _named(boxes, scores, best, names, least_score)
    return suppressed(_clipped(found, picture), most_overlap)


def ssd(
    picture: np.ndarray,
    network: Network,
    *,
    classes: str | Sequence[str | None] = "coco90",
    outputs: Sequence[str] = ("boxes", "classes", "scores", "count"),
    order: str = "rgb",
    mean: Values = 127.5,
    std: Values = 127.5,
    least_score: float = 0.01,
) -> Detections:
    """The four outputs of TensorFlow's detection models (TFLite_Detection_PostProcess).

    Plain resize. Boxes `[1, N, 4]` (top, left, bottom, right, shares of the picture), classes
    `[1, N]` counted from 0, scores `[1, N]`, count `[1]`, in the order that `outputs` gives.
    Networks that take uint8 get the levels as they are.
    """
    names = class_names(classes)
    size = network.size or picture.shape[:2]
    if network.dtype == np.uint8:
        x = np.asarray(network_input(resized(picture, size), network, order), np.uint8)
    else:
        x = network_input(resized(picture, size), network, order, mean, std)
    results = network(x)
    if sorted(outputs) != ["boxes", "classes", "count", "scores"]:
        raise UsageError(f"outputs must order boxes, classes, scores, count; got {list(outputs)}")
    place = {name: index for index, name in enumerate(outputs)}
    boxes = _output(network, results, place["boxes"], (1, None, 4), "boxes")[0]
    count = len(boxes)
    numbers = _output(network, results, place["classes"], (1, count), "classes")[0]
    scores = _output(network, results, place["scores"], (1, count), "scores")[0]
    count = int(np.ravel(_output(network, results, place["count"], None, "count"))[0])
    height, width = picture.shape[:2]
    boxes = boxes[:count, [1, 0, 3, 2]] * _float32([width, height, width, height])
    numbers = np.rint(numbers[:count]).astype(int)
    return _clipped(_named(boxes, scores[:count], numbers, names, least_score), picture)


# === Segmentation ===


def semantic(
    picture: np.ndarray,
    network: Network,
    *,
    classes: int | str | Sequence[str] | None = None,
    resize: str = "plain",
    order: str = "rgb",
    mean: Values = 0.0,
    std: Values = 255.0,
    fill: int = 0,
    multiple_of: int = 8,
    output: int = 0,
    channels: str = "",
) -> np.ndarray:
    """Class scores `[1, H, W, C]` or `[1, C, H, W]`, or class numbers `[1, H, W]`, of any size.

    Args:
        classes: names, or how many of the network's first channels are classes; the rest, such as
            one for void, is never chosen. Default: all.
        resize: how a picture gets the size of a network that has one: "plain" or "letterbox".
            Networks of free size get the picture as it is, continued to `multiple_of`.
        order, mean, std: see `network_input`.
        fill: level beside a picture in the letterbox.
        multiple_of: what the sides must be multiples of.
        output: which output, counted from 0.
        channels: "first" or "last", where that cannot be told from the network's input.

    Networks that take whole numbers, and are not quantised, get the levels as they are.
    Scores are enlarged bilinearly to the size of the picture before the best class is taken.
    """
    height, width = picture.shape[:2]
    size = network.size
    if channels not in ("", "first", "last"):
        raise UsageError(f"channels must be 'first' or 'last'; received {channels!r}")
    if resize not in ("plain", "letterbox"):
        raise UsageError(f"resize must be 'plain' or 'letterbox'; received {resize!r}")
    if size is None:
        missing = [(0, -side % multiple_of) for side in (height, width)]
        fitted = np.pad(picture, [*missing, (0, 0)], mode="edge")
        used = height / fitted.shape[0], width / fitted.shape[1]
    elif resize == "letterbox":
        fitted, scale, _ = letterbox(picture, size, fill)
        used = height * scale / size[0], width * scale / size[1]
    else:
        fitted, used = resized(picture, size), (1.0, 1.0)
    if network.takes_levels:
        mean, std = 0.0, 1.0
    outputs = network(network_input(fitted, network, order, mean, std))
    scores = _scores(network, outputs, output, channels)
    sides = list(zip(scores.shape[:2], fitted.shape[:2], strict=True))
    least, most = (
        min((n + 1) / side for n, side in sides),
        max((n - 1) / side for n, side in sides),
    )
    if least < most * _LEAST_RATIO:
        raise UsageError(
            f"{network.name} makes {scores.shape[0]}x{scores.shape[1]} scores of "
            f"{fitted.shape[0]}x{fitted.shape[1]} pixels (height, width): are its channels another "
            "side? See the adapter's option `channels`"
        )
    # What belongs to the picture itself, without what was added below and on the right.
    rows, columns = (
        max(1, round(share * side)) for share, side in zip(used, scores.shape[:2], strict=True)
    )
    scores = scores[:rows, :columns]
    if scores.shape[2] == 1:
        labels = Image.fromarray(scores[..., 0].astype(np.int32))
        return np.asarray(labels.resize((width, height), Image.Resampling.NEAREST))
    count = classes if isinstance(classes, int) else len(class_names(classes or ())) or None
    if count and count > scores.shape[2]:
        raise UsageError(f"{network.name} has {scores.shape[2]} classes; {count} were expected")
    planes = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
                (width, height), Image.Resampling.BILINEAR
            )
        )
        for plane in np.moveaxis(scores[..., :count], -1, 0)
    ]
    return np.argmax(np.stack(planes), axis=0)


def espnet(picture: np.ndarray, network: Network) -> np.ndarray:
    """ESPNet with the authors' weights for CamVid; see `mspfn_tf.tasks.espnet`.

    The colour normalisation is part of our network; its twelfth channel, void, is never chosen.
    """
    return semantic(picture, network, classes="camvid")


DETECTION = {"yolox": yolox, "ssd": ssd}
SEGMENTATION = {"semantic": semantic, "espnet": espnet}

Adapter = Callable[[np.ndarray, Network], Detections | np.ndarray]


def find_adapter(task: str, name: str, options: Mapping[str, object] | None = None) -> Adapter:
    """The adapter `name`, with `options` for its keyword arguments.

    Args:
        task: "detection" or "segmentation".
        name: one of `DETECTION` or `SEGMENTATION`, or `FILE.py:FUNCTION` for one's own.
        options: keyword arguments.

    Raises:
        UsageError: no such adapter or option; the message lists those there are.
    """
    known = {"detection": DETECTION, "segmentation": SEGMENTATION}[task]
    adapter: Any = known.get(name) or _own_adapter(name, task, known)
    accepted = inspect.signature(adapter).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    options = dict(options or {})
    unknown = options.keys() - set(list(accepted)[2:])
    if unknown and not takes_any:
        names = [p.name for p in accepted.values() if p.kind is p.KEYWORD_ONLY]
        raise UsageError(
            f"adapter {name} has no option {', '.join(sorted(unknown))}; it has: "
            f"{', '.join(names) or 'no options'}"
        )

    def chosen(picture: np.ndarray, network: Network) -> Detections | np.ndarray:
        try:
            return adapter(picture, network, **options)
        except (UsageError, MemoryError):
            raise
        except Exception as error:  # of options that do not fit, or of the user's own code
            given = f" with {dict(options)}" if options else ""
            raise UsageError(f"adapter {name}{given}: {_told(error)}") from error

    return chosen


def _own_adapter(name, task, known):
    path, colon, function = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise UsageError(
            f"no adapter '{name}' for {task}; there are: {', '.join(known)}, or FILE.py:FUNCTION "
            "for your own"
        )
    if not os.path.isfile(path):
        raise UsageError(f"{path}: no such file with adapters")
    spec = importlib.util.spec_from_file_location(f"_adapters_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # which dataclasses in the file look for
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be imported: {_told(error)}") from error
    adapter = getattr(module, function, None)
    if not callable(adapter):
        raise UsageError(f"{path} has no function {function}")
    return adapter


def _told(error):
    """An exception in words, with the last line of code that it came from."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    file, line = last.filename, last.lineno
    if isinstance(error, SyntaxError):
        file, line = error.filename or file, error.lineno
    return f"{type(error).__name__}: {error} ({Path(file).name}, line {line})"


def _float32(values: Values) -> np.ndarray:
    return np.asarray(values, np.float32)


def _fixed_size(network, adapter):
    if network.size is None:
        raise UsageError(f"{network.name} takes any size; {adapter} expects a fixed one")
    return network.size


def _output(network, outputs, index, shape, what):
    """Output `index`, checked against `shape` (None: any side, or any shape at all)."""
    shapes = [list(output.shape) for output in outputs]
    if index >= len(outputs):
        raise UsageError(
            f"{network.name} has {len(outputs)} outputs of shapes {shapes}; expected {what} as "
            f"number {index}"
        )
    found = outputs[index].shape
    fits = shape is None or (
        len(found) == len(shape)
        and all(side in (None, own) for side, own in zip(shape, found, strict=True))
    )
    if not fits:
        expected = ["any" if side is None else side for side in shape or ()]
        raise UsageError(
            f"{network.name}: output {index} is {list(found)}; expected {what} "
            f"{expected} (all outputs: {shapes})"
        )
    return outputs[index]


def _scores(network, outputs, index, channels):
    """Scores, or whole class numbers, as `[H, W, C]`."""
    values = _output(network, outputs, index, None, "class scores")
    if values.ndim == 4:
        first = channels == "first" or (not channels and network.channels_first)
        values = np.moveaxis(values[0], 0, -1) if first else values[0]
    elif values.ndim == 3 and values.shape[0] == 1:
        values = values[0][..., None]
    else:
        raise UsageError(
            f"{network.name}: output {index} is {list(values.shape)}; expected class scores "
            "[1, H, W, C] or [1, C, H, W], or class numbers [1, H, W]"
        )
    if values.shape[2] == 1:
        if not np.array_equal(values, np.rint(values)):
            raise UsageError(
                f"{network.name}: output {index} has one channel of broken values; expected class "
                "scores, or whole class numbers"
            )
        values = values.astype(np.int64)
    return values


def _named(boxes, scores, numbers, names, least_score):
    """`Detections` from class numbers; those without a name are left out."""
    wrong = [int(n) for n in numbers if not 0 <= n < len(names)]
    if wrong:
        raise UsageError(
            f"the network found class {wrong[0]}, but there are only {len(names)} names; see the "
            "adapter's option `classes`"
        )
    keep = (scores >= least_score) & np.array([names[n] is not None for n in numbers], bool)
    known = tuple(dict.fromkeys(name for name in names if name is not None))
    classes = tuple(names[n] for n in numbers[keep])
    return Detections(boxes[keep], scores[keep], classes, known)


def _clipped(found, picture):
    height, width = picture.shape[:2]
    boxes = np.clip(found.boxes, 0, _float32([width, height, width, height]))
    return Detections(boxes, found.scores, found.classes, found.known)
