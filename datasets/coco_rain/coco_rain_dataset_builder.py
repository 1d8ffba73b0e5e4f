"""coco_rain."""

from mspfn_tf.datasets.labelled_builder import LabelledBuilder


class Builder(LabelledBuilder):
    """Rainy and clean pictures with the boxes of COCO, in the manner of COCO350."""

    HOMEPAGE = "https://github.com/kuijiang94/MSPFN"
    NAMED = "coco80"
    LABELS = ("annotations.json", "instances_val2017.json", "annotations/instances_val2017.json")
