"""What the builders of sets with boxes or masks share."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from mspfn_tf.datasets.pairs_builder import PairsBuilder, pixel_hash
from mspfn_tf.datasets.picture_tree import PictureTree, as_text
from mspfn_tf.errors import UsageError
from mspfn_tf.files import is_hidden
from mspfn_tf.sets.class_names import CLASSES
from mspfn_tf.sets.labels import BoxLabels, MaskLabels
from mspfn_tf.sets.pairs import pair_folders


class LabelledBuilder(PairsBuilder, skip_registration=True):  # pyright: ignore[reportCallIssue, reportGeneralTypeIssues]
    """Rainy and clean pictures with boxes or masks, from `rainy/` and `clean/` in `manual_dir`.

    Examples are those of `PairsBuilder` and besides `objects`, a sequence of `bbox` (as TFDS keeps
    boxes: shares of the picture), `label`, `area` in pixels and `is_crowd`; or `mask`, a picture of
    class numbers. The one split is `test`. Archives are to be extracted first.

    Attributes:
        NAMED: the key of `CLASSES` that names the classes.
        LABELS: what is looked for in the folder: the first of these that exists.
        RENAMED: class names of the files that `CLASSES` has otherwise.
        has_masks: whether there are masks instead of boxes.
    """

    NAMED: str
    LABELS: tuple[str, ...]
    RENAMED: Mapping[str, str | None] | None = None
    has_masks = False

    def _features(self):
        features = super()._features()
        if self.has_masks:
            features["mask"] = tfds.features.Image(shape=(None, None, 1), encoding_format="png")
        else:
            features["objects"] = tfds.features.Sequence(
                {
                    "bbox": tfds.features.BBoxFeature(),
                    "label": tfds.features.ClassLabel(names=list(CLASSES[self.NAMED])),
                    "area": tfds.features.Scalar(np.float32),
                    "is_crowd": tfds.features.Scalar(np.bool_),
                }
            )
        return features

    def _split_generators(self, dl_manager):
        root = pictures_root(self, dl_manager, lambda it: (it / "rainy").is_dir())
        missing = [f"{root}/{name}/" for name in ("rainy", "clean") if not (root / name).is_dir()]
        labels = next((root / name for name in self.LABELS if (root / name).exists()), None)
        if labels is None:
            missing.append(" or ".join(f"{root}/{name}" for name in self.LABELS))
        if missing or labels is None:
            raise UsageError(f"{self.name}: not there, expected: {', '.join(missing)}")
        pairs = pair_folders(root / "rainy", root / "clean", allow_unmatched=self.allow_incomplete)
        names = [name for name, _, _ in pairs.pairs]
        read = MaskLabels(labels) if self.has_masks else BoxLabels(labels, self.RENAMED)
        read.check(names)
        unknown = sorted(getattr(read, "classes", set()) - set(CLASSES[self.NAMED]))
        if unknown:
            raise UsageError(
                f"{labels}: unknown classes {', '.join(unknown)}; expected those of {self.NAMED}: "
                f"{', '.join(filter(None, CLASSES[self.NAMED]))}"
            )
        self.found.append(f"test: {len(names)} pairs in {root}, labels in {labels}")
        self._tree = PictureTree(root, self.scratch, self.progress)
        return {"test": self._generate_examples(self._tree, "test", pairs.pairs, read)}

    def _generate_examples(self, tree, split, pairs, labels):
        hashes = self.hashes[split] = {}
        pairs = [(as_text(name), *paths) for name, *paths in pairs]
        self.scenes[split] = {name: name for name, *_ in pairs}
        for done, (name, *paths) in enumerate(pairs, 1):
            self.progress(f"writing {split}", done, len(pairs))
            relative = [as_text(path.relative_to(tree.root).as_posix()) for path in paths]
            images = [tree.open(path)[0] for path in relative]
            rainy, clean = map(np.array, images)
            if rainy.shape != clean.shape:
                raise UsageError(f"{paths[0]} and {paths[1]} differ in size")
            hashes[name] = pixel_hash(images[0]), pixel_hash(images[1])
            example = {"rainy": rainy, "clean": clean, "name": name, "scene": name}
            height, width = rainy.shape[:2]
            if self.has_masks:
                example["mask"] = checked_mask(labels[name], (height, width), name)
            else:
                labels.check_size(name, (height, width))
                example["objects"] = _objects(labels[name], height, width)
            yield name, example


def pictures_root(
    builder: PairsBuilder,
    dl_manager: tfds.download.DownloadManager,
    holds: Callable[[Path], bool],
) -> Path:
    """The folder to build from, of which `holds` is true: the one named or, as archives often bring
    folders of their own, one up to two folders further down; the one named if there is none.

    Raises:
        UsageError: it is no folder, such as an archive; several folders below it could be meant.
    """
    root = Path(builder._place(dl_manager)).expanduser()
    if not root.is_dir():
        raise UsageError(f"{root}: not a folder; {builder.name} is read from one: extract archives")
    below = [root]
    for _ in range(3):
        if found := [folder for folder in below if holds(folder)]:
            if len(found) > 1:
                folders = ", ".join(map(str, found))
                raise UsageError(f"{builder.name}: could be read from {folders}: name one of them")
            return found[0]
        below = sorted(
            path for it in below for path in it.iterdir()
            if path.is_dir() and not is_hidden(path.name)
        )  # fmt: skip
    return root


def checked_mask(mask: np.ndarray, size: tuple[int, int], name: str) -> np.ndarray:
    """A mask as `uint8 [H, W, 1]`; raises `UsageError` if it does not fit its picture."""
    if mask.shape != tuple(size):
        raise UsageError(f"{name}: the mask is {mask.shape}, the picture {tuple(size)}")
    if mask.min() < 0 or mask.max() > 255:
        raise UsageError(f"{name}: the mask holds {mask.max()}; expected 0 to 255")
    return mask.astype(np.uint8)[..., None]


def _objects(truth, height, width):
    def share(value, side):
        return min(max(float(value) / side, 0.0), 1.0)

    return [
        {
            "bbox": tfds.features.BBox(
                ymin=share(top, height),
                xmin=share(left, width),
                ymax=share(bottom, height),
                xmax=share(right, width),
            ),
            "label": name,
            "area": float(area),
            "is_crowd": bool(crowd),
        }
        for (left, top, right, bottom), name, area, crowd in zip(
            truth.boxes, truth.classes, truth.area, truth.crowd, strict=True
        )
    ]
