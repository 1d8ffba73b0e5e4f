"""Small prepared pair sets: noise as the rainy half, its negative as the clean one."""

import numpy as np
import tensorflow_datasets as tfds


def pair(index, height=24, width=32):
    rainy = np.random.default_rng(index).integers(0, 256, (height, width, 3), np.uint8)
    return rainy, 255 - rainy


def smooth_pair(index, height=32, width=40):
    """A pair that a network can learn: a gradient, and the same under bright columns."""
    y, x = np.mgrid[:height, :width]
    clean = np.stack([(x + 7 * index) % 90, y + 60, (x + y) % 120], axis=-1).astype(np.uint8) + 40
    rainy = clean.copy()
    rainy[:, index % 5 :: 7] += 60
    return rainy, clean


def prepare(data_dir, name="tiny", count=10, make=pair, config=None, file_format="array_record"):
    """Builds a set as `mspfn prepare` does: splits train (`count` pairs) and validation (3)."""
    image = tfds.features.Image(shape=(None, None, 3), dtype=np.uint8, encoding_format="png")
    features = {"rainy": image, "clean": image, "name": tfds.features.Text()}

    def examples(split, first, count):
        for index in range(first, first + count):
            rainy, clean = make(index)
            yield index, {"rainy": rainy, "clean": clean, "name": f"{split}{index - first}"}

    if config is not None:
        config = tfds.core.BuilderConfig(name=config, version="1.0.0")
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        config=config,
        data_dir=str(data_dir),
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            "train": examples("train", 0, count),
            "validation": examples("validation", 1000, 3),
        },
        file_format=file_format,
        disable_shuffling=True,
    )
