"""Rain datasets for TensorFlow Datasets. Importing this package registers the builders."""

import importlib

NAMES = (
    "paired_folder",
    "rain100h",
    "rain100l",
    "rain12",
    "rain1200",
    "rain13k",
    "rain1400",
    "rain200h",
    "rain200l",
    "rain800",
    "rain_ds",
    "real_rain",
    "spa_data",
    "synthetic_rain",
)

for _name in NAMES:
    importlib.import_module(f"mspfn_tf.datasets.{_name}.{_name}_dataset_builder")
