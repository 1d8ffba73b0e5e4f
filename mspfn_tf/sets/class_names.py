"""Names of the classes of well-known sets, in the order of the outputs of networks for them."""

from collections.abc import Sequence
from pathlib import Path

from mspfn_tf.errors import UsageError

# cocodataset.org: the 80 classes that COCO's detection task uses, in the order of their numbers.
# TFDS's `coco` has them in the same order.
_COCO80 = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat",
    "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack",
    "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball",
    "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket",
    "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair",
    "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse",
    "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush",
)  # fmt: skip
# COCO's own numbers run to 90, with gaps; networks of TensorFlow's detection zoo use them.
_COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


def _coco90():
    names = iter(_COCO80)
    return [None if number in _COCO_GAPS else next(names) for number in range(1, 91)]


CLASSES: dict[str, tuple[str | None, ...]] = {
    "coco80": _COCO80,
    "coco90": tuple(_coco90()),
    # Brostow et al. 2008, in the eleven classes that SegNet made of them.
    "camvid": (
        "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car",
        "pedestrian", "bicyclist",
    ),
    # The training numbers of Cityscapes, which BDD100K shares.
    "cityscapes": (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign",
        "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train",
        "motorcycle", "bicycle",
    ),
    "bdd100k": (
        "pedestrian", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
        "traffic light", "traffic sign",
    ),
}  # fmt: skip

CLASS_MAPS: dict[str, dict[str, str | None]] = {
    # The names of BDD100K, old and new, in COCO's words; None: COCO has no such class.
    "bdd100k_to_coco": {
        "pedestrian": "person",
        "rider": "person",
        "motor": "motorcycle",
        "bike": "bicycle",
        "traffic sign": None,
        "other person": "person",
        "other vehicle": None,
        "trailer": None,
        "drivable area": None,
        "lane": None,
    },
}


def class_names(which: str | Sequence[str | None]) -> tuple[str | None, ...]:
    """The names for `which`: a key of `CLASSES`, a text file of one name per line, or a sequence.

    Raises:
        UsageError: neither a key nor a file, or a file without names.
    """
    if not isinstance(which, str):
        if not isinstance(which, Sequence) or not all(
            n is None or isinstance(n, str) for n in which
        ):
            raise UsageError(f"classes {which!r}: expected a name, a text file or a list of names")
        return tuple(which)
    if which in CLASSES:
        return CLASSES[which]
    path = Path(which)
    if not path.is_file():
        raise UsageError(
            f"classes '{which}': neither one of {', '.join(CLASSES)}, nor a text file with one "
            "name per line"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"classes {path}: no text in UTF-8 that can be read ({error})") from error
    lines = [line.strip() for line in text.splitlines()]
    # An empty line, or one of question marks (as in the label files of LiteRT), keeps a number.
    names = tuple(line if line.strip("?-") else None for line in lines)
    if not any(names):
        raise UsageError(f"{path}: no class names in this file; expected one per line")
    return names
