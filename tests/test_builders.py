"""Every dataset builder on its dummy data."""

import pytest
import tensorflow_datasets as tfds

import mspfn_tf.datasets  # noqa: F401 (registers the builders)

pytestmark = pytest.mark.slow


def _case(name, splits, config=None):
    """A test case of one configuration, with the counts of the dummy data."""
    builder_class = tfds.builder_cls(name)

    class Case(tfds.testing.DatasetBuilderTestCase):
        DATASET_CLASS = builder_class
        BUILDER_CONFIG_NAMES_TO_TEST = [config] if config else None
        EXAMPLE_DIR = builder_class.pkg_dir_path / "dummy_data"
        SPLITS = splits

        def _make_builder(self, config=config):
            return builder_class(data_dir=self.tmp_dir, config=config, allow_incomplete=True)

    return Case


# In test_synthetic_rain.py and test_labelled_builders.py.
_TESTED_ELSEWHERE = {"synthetic_rain", "bdd_rain", "camvid", "coco_rain"}
_RAIN13K_TESTS = {"test100": 1, "rain100h": 2, "rain100l": 2, "test2800": 1, "test1200": 1}

GTRainTest = _case("gt_rain", {"train": 2, "validation": 4, "test": 2})
HQRainTest = _case("hq_rain", {"train": 1, "test": 1})
LHPRainTest = _case("lhp_rain", {"train": 2, "validation": 1, "test": 1})
NTURainTest = _case("ntu_rain", {"train": 6, "test": 3})
PairedFolderTest = _case("paired_folder", {"train": 3, "validation": 1, "test": 2})
Rain100HOldTest = _case("rain100h", {"train": 4, "test": 2}, "old")
Rain100HOldDisjointTest = _case("rain100h", {"train": 3, "test": 2}, "old_disjoint")
Rain100HOldValidatedTest = _case(
    "rain100h", {"train": 2, "validation": 1, "test": 2}, "old_validated"
)
Rain100HNewTest = _case("rain100h", {"train": 2, "test": 1}, "new")
Rain100LOldTest = _case("rain100l", {"train": 4, "test": 2}, "old")
Rain100LOldValidatedTest = _case(
    "rain100l", {"train": 3, "validation": 1, "test": 2}, "old_validated"
)
Rain100LNewTest = _case("rain100l", {"train": 2, "test": 1}, "new")
Rain12Test = _case("rain12", {"test": 2})
Rain1200AllTest = _case("rain1200", {"train": 6, "test": 3}, "all")
Rain1200LightTest = _case("rain1200", {"train": 2, "test": 3}, "light")
Rain1200MediumTest = _case("rain1200", {"train": 2, "test": 3}, "medium")
Rain1200HeavyTest = _case("rain1200", {"train": 2, "test": 3}, "heavy")
Rain13KFullTest = _case("rain13k", {"train": 3, **_RAIN13K_TESTS}, "full")
Rain13KDisjointTest = _case("rain13k", {"train": 2, **_RAIN13K_TESTS}, "disjoint")
Rain1400PublishedTest = _case("rain1400", {"train": 6, "test": 3}, "published")
Rain1400PublishedValidatedTest = _case(
    "rain1400", {"train": 3, "validation": 3, "test": 3}, "published_validated"
)
Rain1400Test2800Test = _case("rain1400", {"train": 3, "test": 6}, "test2800")
Rain200HTest = _case("rain200h", {"train": 2, "test": 1})
Rain200LTest = _case("rain200l", {"train": 2, "test": 1})
Rain800Test = _case("rain800", {"train": 3, "validation": 1, "test": 2})
RainCityscapesTest = _case("rain_cityscapes", {"train": 4, "test": 2})
RainDropTest = _case("rain_drop", {"train": 2, "test_a": 1, "test_b": 1})
RainDSSyntheticStreaksTest = _case("rain_ds", {"train": 2, "test": 2}, "synthetic_streaks")
RainDSSyntheticDropsTest = _case("rain_ds", {"train": 2, "test": 2}, "synthetic_drops")
RainDSSyntheticBothTest = _case("rain_ds", {"train": 2, "test": 2}, "synthetic_both")
RainDSRealStreaksTest = _case("rain_ds", {"train": 2, "test": 2}, "real_streaks")
RainDSRealDropsTest = _case("rain_ds", {"train": 2, "test": 2}, "real_drops")
RainDSRealBothTest = _case("rain_ds", {"train": 2, "test": 2}, "real_both")
RaindropClarityDayTest = _case("raindrop_clarity", {"train": 2, "test": 1}, "day")
RaindropClarityNightTest = _case("raindrop_clarity", {"train": 2, "test": 1}, "night")
RealRain1kLightTest = _case("realrain_1k", {"train": 2, "validation": 1, "test": 1}, "light")
RealRain1kHeavyTest = _case("realrain_1k", {"train": 2, "validation": 1, "test": 1}, "heavy")
RealRainTest = _case("real_rain", {"test": 2})
SpaDataTest = _case("spa_data", {"train": 4, "test": 1})
UAVRain1kTest = _case("uav_rain1k", {"train": 2, "test": 1})
WeatherBenchTest = _case("weather_bench", {"train": 2, "test": 1})


def test_every_configuration_is_tested():
    tested = set()
    for case in globals().values():
        if isinstance(case, type) and hasattr(case, "DATASET_CLASS"):
            configs = case.BUILDER_CONFIG_NAMES_TO_TEST or [None]
            tested |= {(case.DATASET_CLASS.name, config) for config in configs}
    assert tested == {
        (name, config)
        for name in set(mspfn_tf.datasets.NAMES) - _TESTED_ELSEWHERE
        for config in list(tfds.builder_cls(name).builder_configs) or [None]
    }
