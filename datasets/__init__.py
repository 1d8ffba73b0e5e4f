"""Rain datasets for TensorFlow Datasets. Importing this package registers the builders."""

import importlib

NAMES = ("rain800", "synthetic_rain")

for _name in NAMES:
    importlib.import_module(f"mspfn_tf.datasets.{_name}.{_name}_dataset_builder")
