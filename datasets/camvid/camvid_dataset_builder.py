"""camvid."""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.labelled_builder import checked_mask, pictures_root
from mspfn_tf.datasets.pairs_builder import PairsBuilder, pixel_hash
from mspfn_tf.datasets.picture_tree import PictureTree
from mspfn_tf.errors import UsageError
from mspfn_tf.sets.labels import MaskLabels

# split -> folders of pictures and of masks; the first that exist are used.
_PLACES = {
    "train": (
        ("train", "trainannot"),
        ("train/images", "train/labels"),
        ("camvid_train/images", "camvid_train/labels"),
    ),
    "validation": (
        ("val", "valannot"),
        ("validation/images", "validation/labels"),
        ("camvid_validation/images", "camvid_validation/labels"),
    ),
    "test": (
        ("test", "testannot"),
        ("test/images", "test/labels"),
        ("camvid_test/images", "camvid_test/labels"),
    ),
}


class Builder(PairsBuilder):
    """Clean pictures with masks: CamVid, or any labelled folder of the same layout."""

    HOMEPAGE = "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/"
    FACTS = Facts(
        rain="none: clean frames from a driving car, with masks",
        page="CamVid",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="140 of its frames, in another folder; the layout of SegNet by public code",
    )
    COUNTS = "train -, validation -, test -"
    PLACE = "`train/<name>.* with trainannot/<name>.*`"
    PAIRED = False

    def _info(self):
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3)),
                    "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
                    "name": tfds.features.Text(),
                    "scene": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "mask"),
            homepage=self.HOMEPAGE,
        )

    def _split_generators(self, dl_manager):
        root = pictures_root(self, dl_manager, lambda it: bool(_places(it)))
        found = _places(root)
        if not found:
            expected = ", ".join(
                f"{p}/ with {m}/" for places in _PLACES.values() for p, m in places
            )
            raise UsageError(f"{self.name}: no pictures with masks in {root}; expected: {expected}")
        self.found += [f"{split}: {pictures}, masks in {masks}"
                       for split, (pictures, masks) in found.items()]  # fmt: skip
        return {
            split: self._generate_examples(split, PictureTree(pictures), MaskLabels(masks))
            for split, (pictures, masks) in found.items()
        }

    def _generate_examples(self, split, tree, labels):
        names = {}
        for path in tree.paths:
            other = names.setdefault(path.rpartition(".")[0], path)
            if other != path:
                raise UsageError(
                    f"{tree.root}: {other} and {path} would be one example: rename or remove one"
                )
        labels.check(list(names))
        hashes = self.hashes[split] = {}
        # The frames of a sequence show one drive: `0016E5_07959` belongs to the scene `0016E5`.
        self.scenes[split] = {name: name.rpartition("_")[0] or name for name in names}
        for done, (name, path) in enumerate(names.items(), 1):
            self.progress(f"writing {split}", done, len(names))
            image, _ = tree.open(path)
            hashes[name] = pixel_hash(image), None
            picture = np.array(image)
            yield (
                name,
                {
                    "image": picture,
                    "mask": checked_mask(labels[name], picture.shape[:2], name),
                    "name": name,
                    "scene": self.scenes[split][name],
                },
            )


def _places(root: Path) -> dict[str, tuple[Path, Path]]:
    """The folders of pictures and of masks in `root`, by split."""
    found = {}
    for split, places in _PLACES.items():
        for pictures, masks in places:
            if (root / pictures).is_dir() and (root / masks).is_dir():
                found[split] = root / pictures, root / masks
                break
    return found
