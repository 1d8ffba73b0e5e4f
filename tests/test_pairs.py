import pytest
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.sets.pairs import pair_folders


@pytest.fixture
def folders(tmp_path):
    def make(pictures, targets):
        made = tmp_path / "pictures", tmp_path / "targets"
        for folder, names in zip(made, (pictures, targets), strict=True):
            folder.mkdir()
            for name in names:
                path = folder / (name if "." in name else f"{name}.png")
                path.parent.mkdir(exist_ok=True)
                Image.new("RGB", (2, 2)).save(path)
        return made

    return make


def matched(pairing):
    return {name: target.name for name, _, target in pairing.pairs}


@pytest.mark.parametrize(
    ("picture", "target"),
    [
        ("12.png", "12.jpg"),
        ("a/12.png", "a/12.png"),
        ("rain-001.png", "norain-001.png"),
        ("norain-001.png", "norain-001.png"),
        ("rain-001x2.png", "norain-001.png"),
        ("norain-1.png", "norain-001x2.png"),
        ("rain-001.png", "1.png"),
        ("Rain_7.PNG", "7.png"),
        ("1_1.jpg", "1.jpg"),
        ("901_14.png", "901.jpg"),
        ("street.png", "street.png"),
        ("e\u0301te\u0301.png", "\u00e9t\u00e9.png"),
        ("street_2.png", "street_2.png"),
    ],
)
def test_names_that_belong_together(folders, picture, target):
    # Each beside a pair of other names, so that being alone in a folder is not what pairs them.
    pairing = pair_folders(*folders([picture, "50.png"], [target, "50.png"]))
    assert matched(pairing)[picture.rsplit(".", 1)[0]] == target.rsplit("/", 1)[-1]
    assert len(pairing.pairs) == 2
    assert pairing.left_out == ()


def test_the_names_of_pictures_with_their_own_target_are_not_shortened(folders):
    pairing = pair_folders(*folders(["1_1", "1_2", "1"], ["1_1", "1_2", "1"]))
    assert matched(pairing) == {"1": "1.png", "1_1": "1_1.png", "1_2": "1_2.png"}


def test_several_rain_patterns_share_a_target(folders):
    pairing = pair_folders(*folders(["1_1", "1_2", "2_1", "10_1"], ["1", "2", "10"]))
    assert matched(pairing) == {
        "1_1": "1.png",
        "1_2": "1.png",
        "2_1": "2.png",
        "10_1": "10.png",
    }


@pytest.mark.parametrize(
    ("pictures", "targets", "messages"),
    [
        (["1", "2"], ["1"], ["pictures/2.png: no target"]),
        (["1"], ["1", "2"], ["targets/2.png: nothing belongs to this target"]),
        (["1.png", "1.jpg"], ["1"], ["ambiguous, it could be the target of"]),
        (["1"], ["1.png", "1.jpg"], ["pictures/1.png: ambiguous, it could belong to"]),
        (["rain-1", "norain-1"], ["norain-1"], ["targets/norain-1.png: ambiguous"]),
        (["rain-1", "rain-1x2"], ["1"], ["targets/1.png: ambiguous"]),
        (["rain-1"], ["1", "001"], ["pictures/rain-1.png: ambiguous"]),
        (["1", "1_1"], ["1"], ["targets/1.png: ambiguous"]),
        (["1_1", "01_1"], ["1"], ["targets/1.png: ambiguous"]),
        (["a/1"], ["b/1"], ["a/1.png: no target", "b/1.png: nothing belongs"]),
        (["train-1"], ["1"], ["train-1.png: no target"]),
        (["img_1"], ["img_2"], ["img_1.png: no target", "img_2.png: nothing belongs"]),
        # Only predictions drop the number of a pattern: a target of another one is not the truth.
        (["1"], ["1_1"], ["1.png: no target"]),
    ],
)
def test_what_does_not_pair_is_listed_and_fails(folders, pictures, targets, messages):
    made = folders([*pictures, "77"], [*targets, "77"])
    with pytest.raises(UsageError) as error:
        pair_folders(*made)
    for message in messages:
        assert message in str(error.value)
    assert "allow_unmatched=True" in str(error.value)

    pairing = pair_folders(*made, allow_unmatched=True)
    assert pairing.pairs[-1][0] == "77"
    for message in messages:
        assert any(message in line for line in pairing.left_out)
    left = [str(path) for _, *paths in pairing.pairs for path in paths]
    assert not [line for line in pairing.left_out if line.split(":")[0] in left]


def test_long_lists_are_shortened_in_the_message_only(folders):
    made = folders([str(n) for n in range(40)], ["0"])
    with pytest.raises(UsageError, match=r"(?s)39 files.*\.\.\. and 19 more") as error:
        pair_folders(*made)
    assert str(error.value).count(": no target") == 20
    assert len(pair_folders(*made, allow_unmatched=True).left_out) == 39


def test_nothing_in_common_fails_in_any_case(folders):
    made = folders(["a"], ["b"])
    with pytest.raises(UsageError, match="are these the right folders"):
        pair_folders(*made, allow_unmatched=True)


def test_folders_that_hold_nothing(folders, tmp_path):
    pictures, targets = folders(["1"], [])
    with pytest.raises(UsageError, match="targets: no pictures"):
        pair_folders(pictures, targets)
    with pytest.raises(UsageError, match="missing: not a folder"):
        pair_folders(tmp_path / "missing", pictures)
