"""Rain datasets for TensorFlow Datasets. Importing this package registers the builders."""

import importlib

NAMES = (
    "bdd_rain",
    "camvid",
    "coco_rain",
    "gt_rain",
    "hq_rain",
    "lhp_rain",
    "ntu_rain",
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
    "rain_cityscapes",
    "rain_drop",
    "rain_ds",
    "raindrop_clarity",
    "real_rain",
    "realrain_1k",
    "spa_data",
    "synthetic_rain",
    "uav_rain1k",
    "weather_bench",
)

for _name in NAMES:
    importlib.import_module(f"mspfn_tf.datasets.{_name}.{_name}_dataset_builder")
