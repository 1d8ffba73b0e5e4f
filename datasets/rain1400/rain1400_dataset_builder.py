"""rain1400."""

from mspfn_tf.datasets.facts import NO_LICENCE, NO_SIZE, Facts
from mspfn_tf.datasets.layouts import Folders
from mspfn_tf.datasets.pair_set import PairSet, Split
from mspfn_tf.datasets.pairs_builder import PairsBuilder


def _folders(folder, scenes, names=("rainy_image", "ground_truth")):
    rainy, clean = names
    return Folders(
        f"{folder}{rainy}/{{scene:d}}_{{streaks:d}}", f"{folder}{clean}/{{scene:d}}", scenes=scenes
    )


def _whole(scenes):
    """The first release, which was not divided."""
    return tuple(
        _folders("rainy_image_dataset/", scenes, names)
        for names in (("rainy_image", "ground_truth"), ("rainy image", "ground truth"))
    )


def _training(scenes):
    return (_folders("training/", scenes), _folders("Rain12600/", scenes))


def _testing(scenes):
    return (_folders("testing/", scenes), _folders("Rain1400/", scenes))


def _test2800():
    scenes = range(801, 1001)
    repackaged = "Test2800/input/{scene:d}_{streaks:d}", "Test2800/target/{scene:d}_{streaks:d}"
    halves = tuple(zip(_training(scenes), _testing(scenes), strict=True))
    return (*halves, *_whole(scenes), Folders(*repackaged, scene=("scene",)))


class Builder(PairsBuilder):
    """Rain1400 (Fu et al., DDN), also known as Rain12600, Rain14000 and DDN-Data."""

    HOMEPAGE = "https://xueyangfu.github.io/projects/cvpr2017.html"
    FACTS = Facts(
        rain="synthetic, 14 rains on every scene",
        page="DDN",
        licence=NO_LICENCE,
        size=NO_SIZE,
        verified="the pair of names on 150 of the pictures; the folders on public code",
    )
    SETS = {
        "published": PairSet(
            {
                "train": Split(12600, _training(None) + _whole(range(1, 901))),
                "test": Split(1400, _testing(None) + _whole(range(901, 1001))),
            },
            "The published division: scenes 1 to 900 train, 901 to 1,000 test.",
        ),
        "published_validated": PairSet(
            {
                "train": Split(12600, _training(None) + _whole(range(1, 901))),
                "test": Split(1400, _testing(None) + _whole(range(901, 1001))),
            },
            "As published, but one training scene in eleven makes a validation split.",
            validation=True,
        ),
        "test2800": PairSet(
            {
                "train": Split(11200, _training(range(1, 801)) + _whole(range(1, 801))),
                "test": Split(2800, _test2800()),
            },
            "The division of MSPFN: scenes 1 to 800 train, 801 to 1,000 are Test2800.",
        ),
    }
