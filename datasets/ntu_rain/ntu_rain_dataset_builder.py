"""ntu_rain."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import Folders
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


class Builder(PairsBuilder):
    """NTURain (Chen et al., SPAC-CNN): clips of moving cameras with synthetic rain."""

    VIDEO = True
    HOMEPAGE = "https://github.com/hotndy/SPAC-SupplementaryMaterials"
    FACTS = Facts(
        rain="synthetic, videos",
        page="SPAC-CNN",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="the authors' page (names of the clips) and public code (folders, frames)",
    )
    SETS = PairSet(
        {
            "train": Split(
                None,
                (
                    Folders(
                        "Dataset_Training_Synthetic/{scene}_Rain_{rain:d}/{frame}",
                        "Dataset_Training_Synthetic/{scene}_GT/{frame}",
                        scene=("scene",),
                        clip=("scene", "rain"),
                    ),
                ),
            ),
            "test": Split(
                None,
                (
                    Folders(
                        "Dataset_Testing_Synthetic/{scene}_Rain/{frame}",
                        "Dataset_Testing_Synthetic/{scene}_GT/{frame}",
                        scene=("scene",),
                        clip=("scene",),
                    ),
                ),
            ),
        }
    )
