"""The truth about pictures: boxes in the files of COCO and BDD100K, masks in folders."""

import json
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mspfn_tf.errors import UsageError
from mspfn_tf.files import visible_files
from mspfn_tf.pictures import ImageError, find_images

_LISTED = 20
_SHOWN = 200  # characters of an entry in a message
_COCO_KEYS = {"images": ("id", "file_name"), "categories": ("id", "name"), "annotations": ()}
_LARGEST = 1e9  # of pixels and areas that can be meant
# What sets append to the name of a picture for that of its mask.
_MASK_ENDINGS = ("_L", "_label", "_labels", "_mask", "_train_id", "_labelTrainIds", "_labelIds")


@dataclass(frozen=True, eq=False)
class Boxes:
    """The true boxes of a picture.

    Attributes:
        boxes: `float32 [N, 4]`: left, top, right, bottom in pixels.
        classes: N class names.
        crowd: `bool [N]`, boxes around many objects at once.
        area: `float32 [N]` in pixels, by which COCO tells small from large; default: of the boxes.
    """

    boxes: np.ndarray
    classes: tuple[str, ...]
    crowd: np.ndarray = None  # pyright: ignore[reportAssignmentType] set below
    area: np.ndarray = None  # pyright: ignore[reportAssignmentType] set below

    def __post_init__(self) -> None:
        boxes = as_boxes(self.boxes)
        object.__setattr__(self, "boxes", boxes)
        if self.crowd is None:
            object.__setattr__(self, "crowd", np.zeros(len(boxes), bool))
        if self.area is None:
            object.__setattr__(self, "area", box_areas(boxes))


def as_boxes(boxes: np.ndarray) -> np.ndarray:
    """Boxes as `float32 [N, 4]`, also where there are none; raises `UsageError`."""
    boxes = np.asarray(boxes, np.float32)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise UsageError(
            f"boxes must be [N, 4]: left, top, right, bottom; received {list(boxes.shape)}"
        )
    return boxes


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """The areas of boxes `[N, 4]`, `[N]` in square pixels."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


class BoxLabels:
    """The boxes of many pictures.

    Read are the JSON file of COCO (`images`, `annotations`, `categories`), that of BDD100K (a list
    of `name` and `labels` with `category` and `box2d`), and a folder of BDD100K's files for single
    pictures (`name`, `frames`, `objects`). Labels of BDD100K without `box2d`, such as lanes, are
    left out. Pictures are found by name without folders and suffix, however accents in it are
    spelled. Boxes that end before they begin, and ids of COCO that stand twice, are refused.

    Args:
        path: the file or folder.
        renamed: class of the labels -> class of the network, None where that has no such class:
            such boxes are left out.

    Attributes:
        classes: the class names that the labels have, renamed.

    Raises:
        UsageError: no such file, or not one of these formats; the message says what was expected.
    """

    def __init__(self, path: str | Path, renamed: Mapping[str, str | None] | None = None):
        self.path = Path(path)
        if not self.path.exists():
            raise UsageError(f"labels {path}: no such file or folder")
        self._renamed = dict(renamed or {})
        self._sizes = {}
        if self.path.is_dir():
            files = [file for file in visible_files(self.path) if file.suffix.lower() == ".json"]
            if not files:
                raise UsageError(f"labels {path}: no .json files in this folder")
            entries = [_read_json(file) for file in files]
        else:
            entries = _read_json(self.path)
        try:
            if isinstance(entries, dict) and "annotations" in entries:
                self._read_coco(entries)
            else:
                self._read_bdd(entries if isinstance(entries, list) else [entries])
        except UsageError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"labels {path}: expected the JSON of COCO (images, annotations, categories) or "
                f"of BDD100K (a list of name and labels with box2d); {type(error).__name__}: "
                f"{error}"
            ) from error

    def _read_coco(self, content):
        for part, keys in _COCO_KEYS.items():
            for number, entry in enumerate(content[part]):
                if missing := [key for key in keys if key not in entry]:
                    raise UsageError(
                        f"labels {self.path}: {part}[{number}] has no {missing[0]}: "
                        f"{json.dumps(entry)[:_SHOWN]}"
                    )
        for part in ("images", "categories"):
            _refuse_equal_ids(content[part], self.path, part)
        classes = {entry["id"]: self._named(entry["name"]) for entry in content["categories"]}
        boxes = {entry["id"]: [] for entry in content["images"]}
        for entry in content["annotations"]:
            known = (("category_id", classes, "categories"), ("image_id", boxes, "images"))
            for key, ids, part in known:
                if entry.get(key) not in ids:
                    raise UsageError(
                        f"labels {self.path}: annotation {entry.get('id')} has {key} "
                        f"{entry.get(key)}, which is none of the {part}"
                    )
            name = classes[entry["category_id"]]
            if name is not None:
                boxes[entry["image_id"]].append(self._coco_box(entry, name))
        self._boxes = self._by_stem(
            (entry["file_name"], boxes[entry["id"]]) for entry in content["images"]
        )
        for entry in content["images"]:
            if entry.get("width") and entry.get("height"):  # some tools leave them out, or 0
                size = int(entry["height"]), int(entry["width"])
                self._sizes[_stem(entry["file_name"])] = size
        self.classes = frozenset(name for name in classes.values() if name is not None)

    def _coco_box(self, entry, name):
        label = entry.get("id")
        try:
            left, top, width, height = map(float, entry["bbox"])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"labels {self.path}: annotation {label} has the bbox {entry.get('bbox')}; "
                "expected [left, top, width, height]"
            ) from error
        box = [left, top, left + width, top + height]
        self._check_finite(box, "box", label)
        self._check_sides(box, entry["bbox"], label)
        try:
            crowd = bool(float(entry.get("iscrowd") or 0))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"labels {self.path}: annotation {label} has iscrowd {entry['iscrowd']!r}; "
                "expected 0 or 1"
            ) from error
        area = entry.get("area")
        if area is None:
            area = width * height
        self._check_finite(area, "area", label)
        return box, name, crowd, float(area)

    def _read_bdd(self, entries):
        found = []
        for entry in entries:
            labels = entry.get("labels")
            if labels is None:  # one file per picture, or a picture without any label
                labels = [label for frame in entry.get("frames", ()) for label in frame["objects"]]
            boxes = []
            for label in labels:
                name = self._named(label["category"])
                if name is not None and label.get("box2d"):
                    box = [float(label["box2d"][side]) for side in ("x1", "y1", "x2", "y2")]
                    which = f"{label.get('id')} of {entry['name']}"
                    self._check_finite(box, "box", which)
                    self._check_sides(box, label["box2d"], which)
                    area = (box[2] - box[0]) * (box[3] - box[1])
                    # BDD100K tells it among the attributes.
                    attributes = label.get("attributes") or {}
                    crowd = bool(attributes.get("crowd") or label.get("crowd"))
                    boxes.append((box, name, crowd, area))
            found.append((entry["name"], boxes))
        self._boxes = self._by_stem(found)
        self.classes = frozenset(name for _, boxes in found for _, name, _, _ in boxes)

    def _check_finite(self, value, what, label):
        if not (np.abs(np.asarray(value, np.float64)) < _LARGEST).all():
            raise UsageError(f"labels {self.path}: annotation {label} has the {what} {value}")

    def _check_sides(self, box, given, label):
        if box[2] < box[0] or box[3] < box[1]:
            raise UsageError(
                f"labels {self.path}: annotation {label} has the box {given}, whose right or "
                "bottom side is before the other: put it right or leave it out"
            )

    def _named(self, name):
        return self._renamed.get(name, name)

    def _by_stem(self, found):
        result = {}
        for name, boxes in found:
            stem = _stem(name)
            if stem in result:
                raise UsageError(f"labels {self.path}: two pictures are called {stem}")
            result[stem] = boxes
        return result

    def check(self, names: list[str]) -> None:
        """Raises `UsageError` that lists the pictures, of these names, without an entry."""
        missing = [name for name in names if _called(name) not in self._boxes]
        _refuse(missing, self.path, "entry in the file (a picture without objects needs one, too)")
        _refuse_shared(names, _called, self.path, "entry")

    def check_size(self, name: str, size: tuple[int, int]) -> None:
        """Raises `ImageError` if the boxes are those of a picture of another size (H, W): where the
        file tells it, or where one lies beside the picture."""
        height, width = self._sizes.get(_called(name), size)
        if (height, width) != tuple(size):
            raise ImageError(
                f"{name}: the labels are for {width}x{height} pixels, the picture has "
                f"{size[1]}x{size[0]} (upright, by its EXIF); expected equal sizes"
            )
        for (left, top, right, bottom), *_ in self._boxes[_called(name)]:
            if left > width or top > height or right < 0 or bottom < 0:
                raise ImageError(
                    f"{name}: the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) lies "
                    f"beside the picture of {width}x{height} pixels (upright, by its EXIF); "
                    "expected labels of a picture of this size"
                )

    def __getitem__(self, name: str) -> Boxes:
        entries = self._boxes[_called(name)]
        boxes, classes, crowd, area = zip(*entries, strict=True) if entries else ((), (), (), ())
        return Boxes(np.array(boxes), classes, np.array(crowd, bool), np.array(area, np.float32))


class MaskLabels:
    """The masks of many pictures: files of one channel whose values are class numbers.

    A mask belongs to the picture of the same path below its folder, or else of the same name; an
    ending such as `_L` or `_labelTrainIds` may follow. Pictures whose own names end so, such as
    `1_L` and `1_R` of two cameras, have the masks of just these names.

    Args:
        folder: the masks.

    Raises:
        UsageError: no folder, or no pictures in it.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder)
        if not self.path.is_dir():
            raise UsageError(f"labels {folder}: expected a folder of masks")
        self._by_path, self._by_name = {}, {}
        for path in find_images(self.path):
            relative = Path(_composed(path.relative_to(self.path).with_suffix("").as_posix()))
            name = relative.name
            for ending in _MASK_ENDINGS:
                name = name.removesuffix(ending)
            # Pictures may be called so, too.
            for called in {name, relative.name}:
                self._by_path.setdefault(relative.with_name(called).as_posix(), []).append(path)
                self._by_name.setdefault(called, []).append(path)
        if not self._by_path:
            raise UsageError(f"labels {folder}: no masks in this folder")

    def _find(self, name):
        candidates = self._by_path.get(_composed(name)) or self._by_name.get(_called(name), [])
        return candidates[0] if len(candidates) == 1 else None

    def check(self, names: list[str]) -> None:
        """Raises `UsageError` that lists the pictures, of these names, without a mask."""
        missing = [name for name in names if self._find(name) is None]
        _refuse(missing, self.path, "mask, or several")
        _refuse_shared(names, self._find, self.path, "mask")

    def __getitem__(self, name: str) -> np.ndarray:
        """Class numbers, integers `[H, W]`, upright. Raises `ImageError` if they cannot be read."""
        path = self._find(name)
        if path is None:
            raise ImageError(f"{self.path}: no mask of {name}, or several")
        try:
            with Image.open(path) as image:
                if image.format == "JPEG":
                    raise ImageError(
                        f"{path}: a mask in JPEG, which changes the numbers along edges; expected "
                        "a format without loss, such as PNG"
                    )
                # A palette's indices are the class numbers, so nothing is converted.
                # Pillow spreads the levels of 2 and 4 bits over 0 to 255.
                raw = image.tile[0][3] if image.tile else None
                if (raw[0] if isinstance(raw, tuple) else raw) in ("L;2", "L;4"):
                    raise ImageError(
                        f"{path}: a gray mask of 2 or 4 bits, whose numbers may mean class numbers "
                        "or shares of white; expected 8 or 16 bits, or a palette"
                    )
                if image.mode not in ("L", "P", "1") and not image.mode.startswith("I"):
                    raise ImageError(
                        f"{path}: a mask of mode {image.mode}; expected one channel whose values "
                        "are class numbers"
                    )
                # Turned as the picture is, which a tool may have taken the tag from.
                return np.asarray(ImageOps.exif_transpose(image)).astype(np.int64)
        except (OSError, UnidentifiedImageError, SyntaxError) as error:
            raise ImageError(f"{path}: unreadable mask ({error})") from error


def _composed(name):
    """Accents as parts of their letters, which macOS spells apart in names of files; and bytes that
    are no UTF-8 as escapes, which prepared sets have for them."""
    return unicodedata.normalize("NFC", name).encode(errors="backslashreplace").decode()


def _called(name):
    """What a picture (path without suffix) is called in files of labels."""
    return Path(_composed(name)).name


def _stem(name):
    """What a picture is called that a file of labels names, on Windows with its separators."""
    return Path(_composed(name.replace("\\", "/"))).stem


def _refuse(missing, path, what):
    if missing:
        listed = "\n  ".join(missing[:_LISTED])
        more = f"\n  ... and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
        raise UsageError(
            f"labels {path}: {len(missing)} pictures have no {what}:\n  {listed}{more}"
        )


def _refuse_equal_ids(entries, path, part):
    """Files that were joined may have them: the boxes of one picture would be those of another."""
    counts = Counter(entry["id"] for entry in entries)
    twice = next((number for number, count in counts.items() if count > 1), None)
    if twice is not None:
        raise UsageError(
            f"labels {path}: two of the {part} have the id {twice}: give each one of its own"
        )


def _refuse_shared(names, label_of, path, what):
    """No two pictures may be judged by one truth."""
    claimed = {}
    for name in names:
        other = claimed.setdefault(label_of(name), name)
        if other != name:
            raise UsageError(
                f"labels {path}: {other} and {name} would share one {what}; expected one of each, "
                "under names of their own"
            )


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not in UTF-8 ({error}); save it so") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a JSON file that can be read ({error})") from error
