"""What judges a run: the derained pictures, every set alike."""

import numpy as np
import pytest

from mspfn_tf import metrics
from mspfn_tf.datasets.preparing import prepare as build
from mspfn_tf.errors import UsageError
from mspfn_tf.training.evaluators import Photographs, ValidationSet
from mspfn_tf.training.pair_source import PairSource
from tests.pair_sets import prepare, smooth_pair
from tests.rain_pictures import rainy as rainy_picture
from tests.rain_pictures import same_names, write


def dark_pair(index):
    rainy, clean = smooth_pair(index)
    return rainy // 4, clean


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    prepare(folder, "tiny", make=smooth_pair)
    prepare(folder, "dark", make=dark_pair)
    return folder


def test_what_to_do_without_a_validation_split_is_told(tmp_path):
    write(tmp_path / "pairs", same_names("", (1, 2)))
    build("paired_folder", tmp_path / "pairs", tmp_path)
    with pytest.raises(UsageError, match=r"only: train\. .*validate_every=0 trains without"):
        ValidationSet("paired_folder", tmp_path, count=9, size=16)


def test_the_derained_picture_is_scored_and_not_the_rainy_one(data_dir):
    validation = ValidationSet("tiny", data_dir, count=9, size=16)
    source = PairSource("tiny", "validation", data_dir)

    def less(rainy):
        return np.clip(rainy - 0.2, 0, 1)

    crops = [[image[8:24, 12:28] for image in source[index]] for index in range(3)]
    derained = [np.uint8(np.rint(less(rainy / np.float32(255)) * 255)) for rainy, _ in crops]
    scores = validation.scores(less)
    for name, images in (("val", derained), ("val_input", [rainy for rainy, _ in crops])):
        psnr = np.mean([metrics.psnr(c, i) for (_, c), i in zip(crops, images, strict=True)])
        ssim = np.mean([metrics.ssim(c, i) for (_, c), i in zip(crops, images, strict=True)])
        assert scores[f"{name}_psnr"] == pytest.approx(psnr, abs=1e-2)
        assert scores[f"{name}_ssim"] == pytest.approx(ssim, abs=1e-3)
    same = validation.scores(lambda rainy: rainy)
    assert same["val_psnr"] == pytest.approx(same["val_input_psnr"])
    assert abs(scores["val_psnr"] - same["val_psnr"]) > 1


def test_other_pairs_have_another_fingerprint(data_dir):
    def fingerprint(sets, size=16):
        return ValidationSet(sets, data_dir, 9, size).fingerprint()

    both = fingerprint({"tiny": 1, "dark": 1})
    assert both == fingerprint({"dark": 2, "tiny": 1})
    assert len({both, fingerprint("tiny"), fingerprint("dark"), fingerprint("tiny", 24)}) == 4


def test_a_perfect_picture_counts_a_finite_number_of_decibels(data_dir):
    validation = ValidationSet("tiny", data_dir, count=1, size=16)
    clean = PairSource("tiny", "validation", data_dir)[0][1][8:24, 12:28]
    scores = validation.scores(lambda rainy: clean[None] / np.float32(255))
    assert scores["val_psnr"] == 60 and scores["val_ssim"] == pytest.approx(1)


def test_every_set_counts_alike(data_dir):
    def score(dataset, count):
        return ValidationSet(dataset, data_dir, count, 16).scores(lambda rainy: rainy)

    one, other = score("tiny", 9), score("dark", 9)
    assert abs(one["val_psnr"] - other["val_psnr"]) > 3
    both = score({"tiny": 1, "dark": 5}, 9)
    assert both["val_psnr"] == pytest.approx((one["val_psnr"] + other["val_psnr"]) / 2)


def test_a_small_set_weighs_as_much_as_a_large_one(data_dir, tmp_path, monkeypatch):
    class Short(PairSource):
        def __len__(self):
            return 1 if self.dataset == "dark" else super().__len__()

    monkeypatch.setattr("mspfn_tf.training.evaluators.PairSource", Short)
    parts = [
        ValidationSet(name, data_dir, 9, 16).scores(lambda rainy: rainy)["val_psnr"]
        for name in ("tiny", "dark")
    ]
    both = ValidationSet({"tiny": 1, "dark": 1}, data_dir, 9, 16)
    assert len(both.names) == 4
    psnr = both.scores(lambda rainy: rainy)["val_psnr"]
    assert psnr == pytest.approx(sum(parts) / 2) and psnr != pytest.approx(parts[0])


def test_panels(data_dir):
    panels = list(ValidationSet("tiny", data_dir, 9, 16).panels(lambda rainy: 1 - rainy))
    assert [name for name, _ in panels] == [f"tiny/validation/validation{i}" for i in range(3)]
    for _, (rainy, derained, clean) in panels:
        assert rainy.shape == derained.shape == clean.shape == (16, 16, 3)
        np.testing.assert_array_equal(derained, 255 - rainy)


def test_photographs_are_shown_and_not_scored(tmp_path):
    write(tmp_path / "photographs", {"a/1.png": rainy_picture(1), "2.png": rainy_picture(2)})
    build("real_rain", tmp_path / "photographs", tmp_path / "tfds")
    photographs = Photographs("real_rain", tmp_path / "tfds", 16)
    assert photographs.scores(lambda rainy: rainy) == {}
    panels = dict(photographs.panels(lambda rainy: 1 - rainy))
    assert sorted(panels) == ["real_rain/2", "real_rain/a/1"]
    for before, after in panels.values():
        assert before.shape == (16, 16, 3)
        np.testing.assert_array_equal(after, 255 - before)
    prepare(tmp_path / "other")
    with pytest.raises(UsageError, match="no split 'test'"):
        Photographs("tiny", tmp_path / "other", 16)


def test_what_cannot_be_validated(data_dir):
    with pytest.raises(UsageError, match="too small"):
        ValidationSet("tiny", data_dir, 9, 8)
    with pytest.raises(UsageError, match="not prepared"):
        ValidationSet("elsewhere", data_dir, 9, 16)
