"""The two generations of Yang et al.'s synthetic sets, which four builders read."""

from mspfn_tf.datasets.layouts import Folders, SameNames, repackaged
from mspfn_tf.datasets.pair_set import Split


def first_generation(letter: str, training_pairs: int) -> dict[str, Split]:
    """The splits of Rain100H (`letter="H"`) and Rain100L as first published: 100 test pairs."""
    train, test = f"RainTrain{letter}/", f"Rain100{letter}/"
    return {
        "train": Split(
            training_pairs,
            (
                Folders(train + "rain-{n:d}", train + "norain-{n:d}"),
                *repackaged(train),
                *repackaged("train/"),
                *repackaged("train/small/"),
            ),
        ),
        "test": Split(
            100,
            (
                Folders(test + "rainy/rain-{n:d}", test + "norain-{n:d}"),
                Folders(test + "rain-{n:d}", test + "norain-{n:d}"),
                Folders(test + "rainy/rain-{n:d}", test + "norain/norain-{n:d}"),
                *repackaged(test),
                *repackaged("test/"),
                *repackaged("test/small/"),
                *repackaged("/"),
            ),
        ),
    }


def second_generation(letter: str) -> dict[str, Split]:
    """The splits of the later Rain100H and Rain100L, also known as Rain200H and Rain200L: 1,800
    training and 200 test pairs."""
    word = {"H": "Heavy", "L": "Light"}[letter]
    archives = {
        "train": (f"rain_data_train_{word}/", "train/"),
        "test": (f"rain_data_test_{word}/", f"rain_{word.lower()}_test/", "test/"),
    }
    return {
        split: Split(
            count,
            tuple(
                layout
                for folder in archives[split]
                for layout in (
                    Folders(folder + "rain/X2/norain-{n:d}x2", folder + "norain/norain-{n:d}"),
                    Folders(folder + "rain/norain-{n:d}x2", folder + "norain/norain-{n:d}"),
                    SameNames(folder),
                )
            ),
        )
        for split, count in (("train", 1800), ("test", 200))
    }
