"""coco_rain."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.labelled_builder import LabelledBuilder


class Builder(LabelledBuilder):
    """Rainy and clean pictures with the boxes of COCO, in the manner of COCO350."""

    HOMEPAGE = "https://github.com/kuijiang94/MSPFN"
    FACTS = Facts(
        rain="synthetic, with boxes",
        page="MSPFN",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="the files of COCO; the paper's own sets could not be had",
    )
    COUNTS = "test -"
    PLACE = "`rainy/<name>.* with clean/<name>.*`, and labels"
    NAMED = "coco80"
    LABELS = ("annotations.json", "instances_val2017.json", "annotations/instances_val2017.json")
