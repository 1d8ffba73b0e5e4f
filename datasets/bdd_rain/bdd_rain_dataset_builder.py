"""bdd_rain."""

import tensorflow_datasets as tfds

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.labelled_builder import LabelledBuilder


class Builder(LabelledBuilder):
    """Rainy and clean pictures with the boxes or masks of BDD100K, as BDD350 and BDD150."""

    HOMEPAGE = "https://github.com/kuijiang94/MSPFN"
    FACTS = Facts(
        rain="synthetic, with boxes or masks",
        page="MSPFN",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="public code that reads BDD100K; the paper's own sets could not be had",
    )
    COUNTS = "test -"
    PLACE = "`rainy/<name>.* with clean/<name>.*`, and labels"
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="detection", description="Boxes, in the manner of BDD350."),
        tfds.core.BuilderConfig(name="segmentation", description="Masks, as in BDD150."),
    ]
    # What older files of BDD100K say, and what its detection task leaves out.
    RENAMED = {
        "person": "pedestrian",
        "motor": "motorcycle",
        "bike": "bicycle",
        "other person": None,
        "other vehicle": None,
        "trailer": None,
    }

    @property
    def has_masks(self) -> bool:
        return self.builder_config.name == "segmentation"

    @property
    def NAMED(self) -> str:
        return "cityscapes" if self.has_masks else "bdd100k"

    @property
    def LABELS(self) -> tuple[str, str]:
        return ("masks", "labels") if self.has_masks else ("labels.json", "labels")
