"""Boxes and masks in the files of COCO and BDD100K."""

import json
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.partial_results import digest
from mspfn_tf.pictures import ImageError
from mspfn_tf.sets.class_names import class_names
from mspfn_tf.sets.labels import BoxLabels, MaskLabels

COCO = {
    "images": [{"id": 5, "file_name": "a/one.jpg"}, {"id": 7, "file_name": "two.jpg"}],
    "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    "annotations": [
        {"image_id": 5, "category_id": 3, "bbox": [1, 2, 10, 20], "iscrowd": 1, "area": 99.5},
        {"image_id": 5, "category_id": 1, "bbox": [0, 0, 2, 3]},
    ],
}
BOX = {"x1": 1, "y1": 2, "x2": 4, "y2": 6}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_coco(tmp_path):
    labels = BoxLabels(write(tmp_path / "a.json", COCO))
    truth = labels["sub/one"]
    assert truth.classes == ("car", "person")
    np.testing.assert_array_equal(truth.boxes, [[1, 2, 11, 22], [0, 0, 2, 3]])
    assert truth.crowd.tolist() == [True, False]
    assert truth.area.tolist() == [99.5, 6]
    assert labels.classes == {"person", "car"}
    assert len(labels["two"].boxes) == 0
    with pytest.raises(UsageError, match="1 pictures have no entry.*\n  three"):
        labels.check(["one", "three"])


def test_bdd_in_one_file_and_in_many(tmp_path):
    whole = [
        {"name": "x.jpg", "labels": [{"category": "car", "box2d": BOX}, {"category": "lane"}]},
        {"name": "y.jpg"},
    ]
    labels = BoxLabels(write(tmp_path / "bdd.json", whole), {"car": "vehicle"})
    assert labels["x"].classes == ("vehicle",)
    assert labels["x"].area.tolist() == [12]
    assert labels["y"].classes == ()
    for name in ("x", "y"):
        entry = {"name": name, "frames": [{"objects": [{"category": "bus", "box2d": BOX}]}]}
        write(tmp_path / f"many/{name}.json", entry)
    many = BoxLabels(tmp_path / "many")
    np.testing.assert_array_equal(many["y"].boxes, [[1, 2, 4, 6]])
    assert BoxLabels(tmp_path / "many", {"bus": None})["y"].classes == ()


@pytest.mark.parametrize(
    "content", [{"annotations": []}, [{"labels": []}], [{"name": "a", "labels": [{"box2d": BOX}]}]]
)
def test_other_files_are_refused(tmp_path, content):
    with pytest.raises(UsageError, match="expected the JSON of COCO"):
        BoxLabels(write(tmp_path / "a.json", content))


def test_broken_and_missing_files_are_refused(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UsageError, match="not a JSON file"):
        BoxLabels(tmp_path / "a.json")
    (tmp_path / "a.json").write_text('"Überführung"', encoding="cp1252")
    with pytest.raises(UsageError, match="a.json: not in UTF-8"):
        BoxLabels(tmp_path / "a.json")
    with pytest.raises(UsageError, match="no such file"):
        BoxLabels(tmp_path / "b.json")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no .json files"):
        BoxLabels(tmp_path / "empty")
    with pytest.raises(UsageError, match="no masks"):
        MaskLabels(tmp_path / "empty")
    with pytest.raises(UsageError, match="two pictures are called x"):
        BoxLabels(write(tmp_path / "c.json", [{"name": "x.jpg"}, {"name": "d/x.png"}]))


def test_masks_keep_their_numbers(tmp_path):
    numbers = np.array([[0, 1], [2, 255]], np.uint8)
    (tmp_path / "a").mkdir()
    palette = Image.fromarray(numbers, "P")
    palette.putpalette([255 - n // 3 for n in range(768)])
    palette.save(tmp_path / "a/one_L.png")
    Image.fromarray(numbers).save(tmp_path / "a/two.png")
    Image.fromarray(numbers.astype(np.uint16)).save(tmp_path / "three_labelIds.png")
    labels = MaskLabels(tmp_path)
    for name in ("one", "a/one", "a/two", "b/three"):
        np.testing.assert_array_equal(labels[name], numbers)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "four.png")
    with pytest.raises(UsageError, match="mode RGB; expected one channel"):
        MaskLabels(tmp_path)["four"]
    with pytest.raises(UsageError, match="1 pictures have no mask, or several:\n  five"):
        labels.check(["one", "five"])


def test_masks_of_pictures_whose_names_end_as_those_of_masks(tmp_path):
    names = ["1_L", "1_R", "2_mask"]
    for number, name in enumerate(names):
        Image.new("L", (2, 2), number).save(tmp_path / f"{name}.png")
    labels = MaskLabels(tmp_path)
    labels.check(names)
    assert [labels[name][0, 0] for name in names] == [0, 1, 2]
    assert labels["2"][0, 0] == 2


@pytest.mark.parametrize("ours, theirs", [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_and_windows_separators_in_names(tmp_path, ours, theirs):
    named = f"set\\{unicodedata.normalize(theirs, 'été')}.jpg"
    picture = f"a/{unicodedata.normalize(ours, 'été')}"
    image = {"id": 1, "file_name": named, "width": 9, "height": 8}
    labels = BoxLabels(write(tmp_path / "a.json", COCO | {"images": [image], "annotations": []}))
    labels.check([picture])
    assert len(labels[picture].boxes) == 0
    with pytest.raises(ImageError, match="the labels are for 9x8 pixels"):
        labels.check_size(picture, (2, 2))
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (2, 2), 3).save(masks / f"{Path(named.replace(chr(92), '/')).stem}.png")
    found = MaskLabels(masks)
    found.check([picture])
    assert found[picture][0, 0] == 3


def test_masks_whose_format_changes_numbers_are_refused(tmp_path):
    numbers = np.where(np.tri(32, 40, dtype=bool), 11, 0).astype(np.uint8)
    Image.fromarray(numbers).save(tmp_path / "one.jpg", quality=95)
    with Image.open(tmp_path / "one.jpg") as image:
        assert (np.asarray(image) != numbers).any()
    with pytest.raises(ImageError, match="one.jpg: a mask in JPEG.*such as PNG"):
        MaskLabels(tmp_path)["one"]


@pytest.mark.parametrize("turn", [1, 3, 6])
def test_masks_are_turned_as_their_exif_says(tmp_path, turn):
    numbers = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(numbers).save(tmp_path / "one.png", exif=exif)
    upright = {1: numbers, 3: numbers[::-1, ::-1], 6: np.rot90(numbers, -1)}[turn]
    np.testing.assert_array_equal(MaskLabels(tmp_path)["one"], upright)


def test_masks_of_other_depths(tmp_path):
    """16 bits in the order of big machines are read; the numbers of 4 bits are not those read."""
    numbers = np.arange(6, dtype=np.uint16).reshape(2, 3)
    Image.frombytes("I;16B", (3, 2), numbers.astype(">u2").tobytes()).save(tmp_path / "one.tif")
    np.testing.assert_array_equal(MaskLabels(tmp_path)["one"], numbers)
    data = zlib.compress(b"\0\x01\x20" * 2)  # a row: its filter, and 3 numbers of 4 bits
    head = struct.pack(">IIBBBBB", 3, 2, 4, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    (tmp_path / "two.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in chunks
        )
    )
    with pytest.raises(ImageError, match=r"two\.png: a gray mask of 2 or 4 bits"):
        MaskLabels(tmp_path)["two"]


def test_no_two_pictures_share_a_truth(tmp_path):
    mask = Image.fromarray(np.zeros((2, 2), np.uint8))
    (tmp_path / "a").mkdir()
    mask.save(tmp_path / "one.png")
    mask.save(tmp_path / "a" / "two.png")
    with pytest.raises(UsageError, match="a/one and b/one would share one mask"):
        MaskLabels(tmp_path).check(["a/one", "b/one"])
    mask.save(tmp_path / "one_label.png")
    with pytest.raises(UsageError, match="1 pictures have no mask, or several:\n  one"):
        MaskLabels(tmp_path).check(["one", "a/two"])
    labels = BoxLabels(write(tmp_path / "a.json", COCO))
    with pytest.raises(UsageError, match="a/one and b/one would share one entry"):
        labels.check(["a/one", "b/one"])


def test_what_a_system_puts_beside_labels_is_no_label(tmp_path):
    write(tmp_path / "x.json", {"name": "x", "frames": []})
    before = digest(tmp_path)
    for name in ("._x.json", ".DS_Store", "__MACOSX/._x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    BoxLabels(tmp_path).check(["x"])
    assert digest(tmp_path) == before
    write(tmp_path / "Y.JSON", {"name": "y", "frames": []})
    BoxLabels(tmp_path).check(["x", "y"])
    assert digest(tmp_path) != before


@pytest.mark.parametrize(
    "change, message",
    [
        ({"category_id": 9}, "annotation 4 has category_id 9, which is none of the categories"),
        ({"image_id": 6}, "annotation 4 has image_id 6, which is none of the images"),
        ({"bbox": [0, float("nan"), 1, 1]}, "annotation 4 has the box"),
        ({"bbox": [0, 0, 1e39, 1]}, "annotation 4 has the box"),
        ({"bbox": [9, 9, -2, 3]}, r"annotation 4 has the box \[9, 9, -2, 3\], whose right or"),
        ({"bbox": None}, r"annotation 4 has the bbox None; expected \[left, top, width, height\]"),
        ({"bbox": [1, 2, 3]}, r"annotation 4 has the bbox \[1, 2, 3\]; expected"),
        ({"bbox": [1, 2, 3, "x"]}, "annotation 4 has the bbox"),
        ({"area": float("nan")}, "annotation 4 has the area nan"),
        ({"area": "large"}, "expected the JSON of COCO"),
    ],
)
def test_annotations_that_cannot_be(tmp_path, change, message):
    entry = {"id": 4, "image_id": 5, "category_id": 1, "bbox": [0, 0, 2, 3], **change}
    with pytest.raises(UsageError, match=message):
        BoxLabels(write(tmp_path / "a.json", {**COCO, "annotations": [entry]}))


@pytest.mark.parametrize("key", ["category_id", "image_id", "bbox"])
def test_annotations_that_lack_something(tmp_path, key):
    entry = {"id": 4, "image_id": 5, "category_id": 1, "bbox": [0, 0, 2, 3]}
    del entry[key]
    with pytest.raises(UsageError, match=f"annotation 4 has (the )?{key} None"):
        BoxLabels(write(tmp_path / "a.json", {**COCO, "annotations": [entry]}))


def test_boxes_of_bdd_that_end_before_they_begin_are_refused(tmp_path):
    label = {"id": 3, "category": "car", "box2d": {**BOX, "x2": 0}}
    with pytest.raises(UsageError, match="annotation 3 of x.jpg has the box"):
        BoxLabels(write(tmp_path / "a.json", [{"name": "x.jpg", "labels": [label]}]))


def test_numbers_of_coco_may_be_texts_and_areas_missing(tmp_path):
    entry = {"image_id": 5, "category_id": 1, "bbox": ["1", "2", "3", "4"], "area": None}
    entry["iscrowd"] = "0"
    (tmp_path / "a.json").write_text(
        json.dumps({**COCO, "annotations": [entry]}), encoding="utf-8-sig"
    )
    truth = BoxLabels(tmp_path / "a.json")["one"]
    assert truth.boxes.tolist() == [[1, 2, 4, 6]] and truth.area.tolist() == [12]
    assert truth.crowd.tolist() == [False]


def test_what_an_entry_of_coco_lacks_is_named(tmp_path):
    for part, key in (("images", "file_name"), ("categories", "name"), ("images", "id")):
        entries = [dict(entry) for entry in COCO[part]]
        del entries[1][key]
        with pytest.raises(UsageError, match=rf"{part}\[1\] has no {key}: \{{"):
            BoxLabels(write(tmp_path / "a.json", {**COCO, part: entries}))
    entry = {**COCO["annotations"][0], "id": 9, "iscrowd": "no"}
    with pytest.raises(UsageError, match="annotation 9 has iscrowd 'no'; expected 0 or 1"):
        BoxLabels(write(tmp_path / "a.json", {**COCO, "annotations": [entry]}))


def test_crowds_of_bdd_are_told_among_the_attributes(tmp_path):
    labels = [
        {"category": "car", "box2d": BOX, "attributes": {"crowd": True, "occluded": False}},
        {"category": "car", "box2d": BOX, "attributes": {"crowd": False}},
        {"category": "car", "box2d": BOX, "attributes": None},
        {"category": "car", "box2d": BOX, "crowd": True},
    ]
    path = write(tmp_path / "bdd.json", [{"name": "x.jpg", "labels": labels}])
    assert BoxLabels(path)["x"].crowd.tolist() == [True, False, False, True]


@pytest.mark.parametrize("part", ["images", "categories"])
def test_ids_that_stand_twice_are_refused(tmp_path, part):
    twice = {**COCO[part][1], "id": COCO[part][0]["id"]}
    content = {**COCO, part: [COCO[part][0], twice]}
    with pytest.raises(UsageError, match=f"two of the {part} have the id {twice['id']}"):
        BoxLabels(write(tmp_path / "a.json", content))


def test_boxes_of_pictures_of_another_size_are_refused(tmp_path):
    one = {**COCO["images"][0], "width": 40, "height": 30}
    labels = BoxLabels(write(tmp_path / "a.json", {**COCO, "images": [one, COCO["images"][1]]}))
    labels.check_size("sub/one", (30, 40))
    labels.check_size("two", (1, 1))  # the file does not tell it
    with pytest.raises(ImageError, match="one: the labels are for 40x30 pixels.* 20x15"):
        labels.check_size("one", (15, 20))


def test_boxes_beside_their_picture_are_refused(tmp_path):
    """As those of a picture before it was made smaller, or turned."""
    box = {"x1": 300, "y1": 20, "x2": 340, "y2": 60}
    entry = [{"name": "x.jpg", "labels": [{"category": "car", "box2d": box}]}]
    labels = BoxLabels(write(tmp_path / "a.json", entry))
    labels.check_size("x", (50, 330))  # only a part of it is
    with pytest.raises(ImageError, match=r"x: the box from \(300, 20\).* beside .* 299x400 pixels"):
        labels.check_size("x", (400, 299))


def test_files_of_class_names_are_utf_8(tmp_path):
    (tmp_path / "names.txt").write_text("café\ncar\n", encoding="utf-8-sig")
    assert class_names(str(tmp_path / "names.txt")) == ("café", "car")
    (tmp_path / "names.txt").write_text("café\n", encoding="latin-1")
    with pytest.raises(UsageError, match="names.txt: no text in UTF-8"):
        class_names(str(tmp_path / "names.txt"))
