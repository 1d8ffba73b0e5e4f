"""Writes the pictures below `datasets/*/dummy_data`: `python -m tests.make_dummy_data`.

The paths are those of the distributed sets, written out, so that the templates of the builders are
tested against something else than themselves.
"""

import shutil
from pathlib import Path

from tests.rain_pictures import clean, left_clean, rainy, right_clean, same_names, write

DATASETS = Path(__file__).resolve().parent.parent / "datasets"


def _first_generation(letter):
    train, test = f"RainTrain{letter}", f"Rain100{letter}"
    # Pair 3 shows the scene of test pair 1; pair 9 validates where there is a validation split.
    scenes = ((1, 1), (2, 2), (3, 11), (9, 9))
    return {
        **{f"{train}/rain-{n}.png": rainy(scene, n) for n, scene in scenes},
        **{f"{train}/norain-{n}.png": clean(scene) for n, scene in scenes},
        f"{train}/rainstreak-1.png": rainy(99),
        f"{train}/rainregion-1.png": rainy(98),
        **{f"{test}/rainy/rain-00{n}.png": rainy(10 + n) for n in (1, 2)},
        **{f"{test}/norain-00{n}.png": clean(10 + n) for n in (1, 2)},
    }


def _second_generation(word, subfolder):
    train, test = f"rain_data_train_{word}", f"rain_{word.lower()}_test"
    return {
        **{f"{train}/rain/{subfolder}norain-{n}x2.png": rainy(n) for n in (1, 2)},
        **{f"{train}/norain/norain-{n}.png": clean(n) for n in (1, 2)},
        f"{test}/rain/X2/norain-1x2.png": rainy(11),
        f"{test}/norain/norain-1.png": clean(11),
    }


def _rain1400(folder, scenes):
    return {
        **{
            f"rainy_image_dataset/{folder}/rainy_image/{n}_{streaks}.jpg": rainy(n, streaks)
            for n in scenes
            for streaks in (1, 2, 14)
        },
        **{f"rainy_image_dataset/{folder}/ground_truth/{n}.jpg": clean(n) for n in scenes},
    }


def _rain_ds():
    pictures = {}
    for folder, prefix in (
        ("gt", "norain-"),
        ("rainstreak", "rain-"),
        ("raindrop", "rd-"),
        ("rainstreak_raindrop", "rd-rain-"),
    ):
        show = clean if folder == "gt" else rainy
        for scene, split in ((0, "train"), (10, "test")):
            at = f"RainDS_syn/{split}/{folder}/"
            pictures[f"{at}{prefix}1.png"] = show(scene + 1)
            pictures[f"{at}pie-{prefix}1.png"] = show(scene + 2)
            at = f"RainDS_real/{split}_set/{folder}/"
            pictures.update({f"{at}{n}.png": show(scene + n) for n in (3, 4)})
    # The distributed set has this file and no truth for it.
    return {**pictures, "RainDS_real/test_set/rainstreak/IMG_7435.png": rainy(5)}


def _rain_cityscapes(folder, city, suffix, scenes):
    pictures = {}
    for n in scenes:
        name = f"{city}/{city}_00000{n}_000019"
        pictures[f"leftImg8bit/{folder}/{name}_leftImg8bit.png"] = clean(n)
        for pattern in (1, 12):
            rain = f"_rain_alpha_0.01_beta_0.005_dropsize_0.01_pattern_{pattern}"
            pictures[f"leftImg8bit_rain/{folder}/{name}{suffix}{rain}.png"] = rainy(n, pattern)
    # Cityscapes has pictures that were not rained on.
    pictures[f"leftImg8bit/{folder}/{city}/{city}_000099_000019_leftImg8bit.png"] = clean(99)
    return pictures


def _gt_rain():
    pictures = {}
    for split, scene, number in (("train", "A_0-0", 1), ("val", "B_0-0", 2), ("test", "C_1-0", 3)):
        at = f"GT-RAIN_{split}/{scene}/{scene}-Webcam"
        pictures[f"{at}-C-000.png"] = clean(number)
        pictures.update({f"{at}-R-{n:03d}.png": rainy(number, n) for n in (0, 1)})
    at = "GT-RAIN_val/Gurutto_1-2/Gurutto_1-2-Webcam"
    for n in (0, 1):
        pictures[f"{at}-R-{n:03d}.png"], pictures[f"{at}-C-{n:03d}.png"] = (
            rainy(9 + n),
            clean(9 + n),
        )
    return pictures


def _ntu_rain():
    at = "Dataset_Training_Synthetic/t1"
    frames = range(1, 4)
    return {
        **{f"{at}_Rain_{r:02d}/{n:05d}.jpg": rainy(n, r) for r in (1, 2) for n in frames},
        **{f"{at}_GT/{n:05d}.jpg": clean(n) for n in frames},
        **{f"Dataset_Testing_Synthetic/a1_Rain/{n:05d}.jpg": rainy(10 + n) for n in frames},
        **{f"Dataset_Testing_Synthetic/a1_GT/{n:05d}.jpg": clean(10 + n) for n in frames},
    }


def _raindrop_clarity(time):
    pictures = {}
    for folder, scene, frames in (("Train", 1, (1, 2)), ("Test", 7, (1,))):
        for n in frames:
            at, name = f"{time}RainDrop_{folder}", f"{scene:05d}/{n:05d}.png"
            pictures[f"{at}/Drop/{name}"] = rainy(scene, n)
            pictures[f"{at}/Clear/{name}"] = pictures[f"{at}/Blur/{name}"] = clean(scene)
    return pictures


DUMMY_DATA = {
    "gt_rain": _gt_rain(),
    "hq_rain": {
        "HQ-RAIN_train_input/input/1.png": rainy(1),
        "HQ-RAIN_train_target/target/1.png": clean(1),
        **same_names("test/", (2,)),
    },
    "lhp_rain": {
        **same_names("train/", (1, 2), names=("input", "gt")),
        **same_names("val/", (3,), names=("input", "gt")),
        **same_names("test/", (4,), names=("input", "gt")),
    },
    "ntu_rain": _ntu_rain(),
    "paired_folder": {
        **same_names("train/", (2, 3)),
        "train/input/street/2.png": rainy(1),
        "train/target/street/2.png": clean(1),
        **same_names("val/", (4,), names=("rainy", "clean")),
        **same_names("test/", (5, 6)),
    },
    "rain100h": {**_first_generation("H"), **_second_generation("Heavy", "X2/")},
    "rain100l": {**_first_generation("L"), **_second_generation("Light", "")},
    "rain12": {
        **{f"00{n}_in.png": rainy(n) for n in (1, 2)},
        **{f"00{n}_GT.png": clean(n) for n in (1, 2)},
    },
    "rain1200": {
        **{
            f"DID-MDN-datasets/DID-MDN-training/Rain_{density}/train2018new/{n}.jpg": right_clean(
                n, streaks
            )
            for streaks, density in enumerate(("Light", "Medium", "Heavy"))
            for n in (0, 1)
        },
        **{f"DID-MDN-datasets/DID-MDN-test/{n}.jpg": right_clean(10 + n) for n in (0, 1, 2)},
    },
    "rain13k": {
        **same_names("train/Rain13K/", (1, 2, 31), suffix=".jpg"),
        **same_names("test/Test100/", (21,)),
        **same_names("test/Rain100H/", (31, 32)),
        **same_names("test/Rain100L/", (33, 34)),
        **same_names("test/Test2800/", (41,), suffix=".jpg"),
        **same_names("test/Test1200/", (51,)),
    },
    "rain1400": {**_rain1400("training", (1, 801)), **_rain1400("testing", (901,))},
    "rain200h": _second_generation("Heavy", "X2/"),
    "rain200l": _second_generation("Light", ""),
    "rain800": {
        **{f"rain/training/{n}.jpg": left_clean(n) for n in (1, 2, 9)},
        "rain/training/3.jpg": left_clean(1, 3),
        **{f"rain/test_syn/{n}.jpg": left_clean(10 + n) for n in (1, 2)},
        "rain/test_nature/1.jpg": rainy(20),
    },
    "rain_cityscapes": {
        **_rain_cityscapes("train", "aachen", "_leftImg8bit", (1, 2)),
        **_rain_cityscapes("val", "lindau", "", (3,)),
    },
    "rain_drop": {
        **{f"train/data/{n}_rain.png": rainy(n) for n in (0, 1)},
        **{f"train/gt/{n}_clean.png": clean(n) for n in (0, 1)},
        "test_a/data/0_rain.png": rainy(10),
        "test_a/gt/0_clean.png": clean(10),
        "test_b/data/0_rain.jpg": rainy(11),
        "test_b/gt/0_clean.jpg": clean(11),
    },
    "rain_ds": _rain_ds(),
    "raindrop_clarity": {**_raindrop_clarity("Day"), **_raindrop_clarity("Night")},
    "real_rain": {"street/1.jpg": rainy(1), "2.png": rainy(2)},
    "realrain_1k": {
        **{
            path: picture
            for letter, first in (("L", 1), ("H", 11))
            for split, count in (("train", 2), ("validation", 1), ("test", 1))
            for path, picture in same_names(
                f"RealRain-1k-{letter}/{split}/", range(first, first + count)
            ).items()
        }
    },
    "spa_data": {
        **{
            f"real_world/000/000-{frame}/000-{frame}_{x}_{y}.png": rainy(100 + x, frame)
            for frame in (1, 2)
            for x, y in ((0, 0), (1, 0))
        },
        **{f"real_world_gt/000/000_{x}_{y}.png": clean(100 + x) for x, y in ((0, 0), (1, 0))},
        "real_test_1000/rain/000.png": rainy(200),
        "real_test_1000/gt/000gt.png": clean(200),
    },
    "uav_rain1k": {**same_names("train/", (1, 2)), **same_names("test/", (3,))},
    "weather_bench": {
        **same_names("WeatherBench/rain/train/", (1, 2), suffix=".jpg"),
        **same_names("WeatherBench/rain/test/", (3,), names=("input", "gt"), suffix=".jpg"),
        "WeatherBench/snow/train/input/1.jpg": rainy(50),
    },
}


def main():
    for name, pictures in DUMMY_DATA.items():
        folder = DATASETS / name / "dummy_data"
        shutil.rmtree(folder, ignore_errors=True)
        write(folder, pictures)


if __name__ == "__main__":
    main()
