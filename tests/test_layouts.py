import pytest

from mspfn_tf.datasets.layouts import (
    Folders,
    Half,
    Pair,
    Photographs,
    SameNames,
    SideBySide,
    listing,
    repackaged,
)
from mspfn_tf.datasets.picture_tree import PictureTree
from mspfn_tf.errors import UsageError


def _tree(tmp_path, *paths):
    """Layouts look at names alone."""
    for path in paths:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return PictureTree(tmp_path)


def test_halves():
    assert Half("a").box((7, 5)) == (0, 0, 7, 5)
    assert Half("a", "left").box((7, 5)) == (0, 0, 3, 5)
    assert Half("a", "right").box((7, 5)) == (3, 0, 6, 5)


def test_many_rains_on_one_scene(tmp_path):
    tree = _tree(tmp_path, "rain/7_1.jpg", "rain/7_2.png", "rain/10_1.jpg", "gt/7.png", "gt/10.jpg")
    layout = Folders("rain/{n:d}_{streaks:d}", "gt/{n:d}")
    assert layout.find(tree) == {
        "": [
            Pair("7_1", "7", Half("rain/7_1.jpg"), Half("gt/7.png")),
            Pair("7_2", "7", Half("rain/7_2.png"), Half("gt/7.png")),
            Pair("10_1", "10", Half("rain/10_1.jpg"), Half("gt/10.jpg")),
        ]
    }
    some = Folders("rain/{n:d}_{streaks:d}", "gt/{n:d}", scenes=range(8, 20))
    assert [pair.name for pair in some.find(tree)[""]] == ["10_1"]


def test_a_field_that_returns_repeats_itself(tmp_path):
    tree = _tree(tmp_path, "rain/3/3-1.png", "rain/3/4-1.png", "gt/3.png")
    found = Folders("rain/{video}/{video}-{n:d}", "gt/{video}", scene=("video",)).find(tree)
    assert [(pair.name, pair.scene) for pair in found[""]] == [("3_1", "3")]


def test_a_field_may_be_empty(tmp_path):
    tree = _tree(
        tmp_path, "r/rain-1.png", "r/pie-rain-1.png", "gt/norain-1.png", "gt/pie-norain-1.png"
    )
    found = Folders("r/{group:?}rain-{n:d}", "gt/{group:?}norain-{n:d}").find(tree)
    assert [(pair.name, pair.clean.path) for pair in found[""]] == [
        ("pie-1", "gt/pie-norain-1.png"),
        ("1", "gt/norain-1.png"),
    ]


def test_side_by_side(tmp_path):
    tree = _tree(tmp_path, "x/y/Heavy/1.jpg", "x/y/Light/1.jpg", "x/y/Light/notes.jpg")
    found = SideBySide("{density}/{n:d}", clean="right", scene=("n",)).find(tree)
    assert found == {
        "x/y/": [
            Pair(f"{d}_1", "1", Half(f"x/y/{d}/1.jpg", "left"), Half(f"x/y/{d}/1.jpg", "right"))
            for d in ("Heavy", "Light")
        ]
    }


def test_roots(tmp_path):
    tree = _tree(tmp_path, "a/1.png", "b/A/2.png", "b/c/d/a/3.png")
    assert set(SideBySide("a/{n:d}", clean="left").find(tree)) == {"", "b/"}
    assert set(SideBySide("/a/{n:d}", clean="left").find(tree)) == {""}
    assert set(Photographs("/{name:path}").find(tree)) == {""}
    below = PictureTree(tmp_path / "b")
    assert [pair.name for pair in Photographs("/{name:path}").find(below)[""]] == ["A/2", "c/d/a/3"]


def test_a_common_folder_counts_as_root(tmp_path):
    tree = _tree(tmp_path, "set/input/a/1.png", "set/target/a/1.jpg")
    assert set(SameNames("/").find(tree)) == set()
    assert [pair.name for pair in SameNames("/", nested=True).find(tree)["set/"]] == ["a/1"]


@pytest.mark.parametrize(
    "names", [("input", "target"), ("rain", "norain"), ("rainy", "clean"), ("rainy", "norain")]
)
def test_same_names(tmp_path, names):
    paths = f"test/{names[0]}/1.png", f"test/{names[1]}/1.jpg"
    tree = _tree(tmp_path, *paths)
    (pair,) = SameNames("test/").find(tree)[""]
    assert (pair.rainy.path, pair.clean.path) == (
        f"test/{names[0]}/1.png",
        f"test/{names[1]}/1.jpg",
    )


def test_repackaged_with_prefixes(tmp_path):
    tree = _tree(tmp_path, "test/rain/rain-001.png", "test/norain/norain-001.png")
    found = [layout.find(tree) for layout in repackaged("test/")[:1]]
    assert found == [
        {"": [Pair("001", "001", Half(tree.paths[1]), Half(tree.paths[0]))]},
    ]


def test_unpaired_pictures_are_named(tmp_path):
    tree = _tree(tmp_path, "input/1.png", "input/2.png", "target/1.png", "target/3.png")
    with pytest.raises(UsageError, match="2 pictures miss their counterpart") as error:
        SameNames("/").find(tree)
    assert f"{tmp_path}/input/2.png" in str(error.value)
    assert f"{tmp_path}/target/3.png" in str(error.value)


def test_accents_that_one_half_spells_apart(tmp_path):
    tree = _tree(tmp_path, "input/e\u0301.png", "target/\u00e9.png")
    (pair,) = SameNames("/").find(tree)[""]
    assert (pair.rainy.path, pair.clean.path) == ("input/e\u0301.png", "target/\u00e9.png")
    with pytest.raises(UsageError, match="1 pictures miss their counterpart"):
        SameNames("/").find(_tree(tmp_path, "target/e\u0301.png"))


def test_two_files_of_one_name_are_refused(tmp_path):
    tree = _tree(tmp_path, "input/1.png", "input/1.jpg", "target/1.png")
    with pytest.raises(UsageError, match=r"1\.jpg and .*1\.png share a name"):
        SameNames("/").find(tree)


def test_listing():
    assert listing("two:", ["a", "b"]) == "two:\n  a\n  b"
    assert listing("many:", list("abcd"), limit=2) == "many:\n  a\n  b\n  ... and 2 more"


def test_clean_pictures_that_several_share(tmp_path):
    tree = _tree(tmp_path, "a/R-0.png", "a/R-1.png", "a/C-0.png", "b/R-5.png", "b/C-0.png")
    layout = Folders("{scene}/R-{n:d}", "{scene}/C-{n:d}", ("scene",), shared="{scene}/C-0")
    assert [(pair.name, pair.clean.path) for pair in layout.find(tree)[""]] == [
        ("a_0", "a/C-0.png"),
        ("a_1", "a/C-0.png"),
        ("b_5", "b/C-0.png"),
    ]
    assert str(layout) == "<scene>/R-<n>.* with <scene>/C-<n>.* or <scene>/C-0.*"


def test_more_clean_pictures_than_needed(tmp_path):
    tree = _tree(tmp_path, "r/1.png", "c/1.png", "c/2.png")
    with pytest.raises(UsageError, match="1 pictures miss their counterpart"):
        Folders("r/{n}", "c/{n}").find(tree)
    assert len(Folders("r/{n}", "c/{n}", more_clean=True).find(tree)[""]) == 1


def test_folders_that_do_not_matter(tmp_path):
    tree = _tree(tmp_path, "r/1.png", "r/a/b/2.png", "c/1.png", "c/d/2.png")
    layout = Folders("r/**/{n}", "c/**/{n}")
    assert [pair.name for pair in layout.find(tree)[""]] == ["1", "2"]
    assert str(layout) == "r/<n>.* with c/<n>.*"
    assert str(SameNames("/a/")).startswith("a/input/<name>.* with a/target/<name>.* (or ")


def test_clips(tmp_path):
    tree = _tree(tmp_path, "a_Rain_1/0.png", "a_Rain_2/0.png", "a_GT/0.png")
    layout = Folders("{a}_Rain_{r:d}/{f}", "{a}_GT/{f}", scene=("a",), clip=("a", "r"))
    assert [(pair.clip, pair.scene) for pair in layout.find(tree)[""]] == [
        ("a_1", "a"),
        ("a_2", "a"),
    ]
