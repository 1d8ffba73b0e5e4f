"""Makes the dummy data of the sets with boxes or masks: python -m tests.make_labelled_dummy_data"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

DATASETS = Path(__file__).resolve().parent.parent / "datasets"
SIZE = (24, 32)


def _picture(path, seed, rainy=False):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 200, (3, 4, 3), np.uint8))
    picture = np.asarray(coarse.resize(SIZE[::-1], Image.Resampling.BILINEAR))
    if rainy:
        picture = picture + np.uint8(40) * (rng.random((*SIZE, 1)) < 0.2)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.astype(np.uint8)).save(path)


def _mask(path, seed, classes, void):
    rng = np.random.default_rng(seed)
    mask = np.repeat(np.repeat(rng.integers(0, classes, (3, 4), np.uint8), 8, 0), 8, 1)
    mask[:2] = void
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def main():
    coco = DATASETS / "coco_rain/dummy_data"
    for number in (139, 285):
        _picture(coco / f"rainy/{number:012}.png", number, rainy=True)
        _picture(coco / f"clean/{number:012}.png", number)
    boxes = [(139, 1, [2, 3, 10, 8], 0), (139, 3, [16, 4, 12, 16], 0), (285, 1, [0, 0, 30, 9], 1)]
    _write(
        coco / "annotations.json",
        {
            "images": [
                {"id": n, "file_name": f"{n:012}.jpg", "height": SIZE[0], "width": SIZE[1]}
                for n in (139, 285, 632)
            ],
            "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
            "annotations": [
                {"id": i, "image_id": n, "category_id": c, "bbox": b, "iscrowd": k, "area": 70.5}
                for i, (n, c, b, k) in enumerate(boxes, 1)
            ],
        },
    )
    bdd = DATASETS / "bdd_rain/dummy_data"
    labels = []
    for number, name in enumerate(("b1c66a42-6f7d68ca", "b1d0a191-28f0a0b2")):
        _picture(bdd / f"rainy/{name}.png", 50 + number, rainy=True)
        _picture(bdd / f"clean/{name}.png", 50 + number)
        _mask(bdd / f"masks/{name}_train_id.png", number, 19, 255)
        box = {"x1": 3.5, "y1": 2, "x2": 20 + number, "y2": 17}
        objects = [
            {"category": ("car", "bike")[number], "box2d": box},
            {"category": "lane", "poly2d": []},
        ]
        labels.append({"name": f"{name}.jpg", "labels": objects})
    _write(bdd / "labels.json", labels)
    camvid = DATASETS / "camvid/dummy_data"
    for number, (split, name) in enumerate(
        (("train", "0001TP_006690"), ("train", "0006R0_f00930"), ("val", "0016E5_07959"))
    ):
        _picture(camvid / f"{split}/{name}.png", 70 + number)
        _mask(camvid / f"{split}annot/{name}.png", 80 + number, 11, 11)


if __name__ == "__main__":
    main()
