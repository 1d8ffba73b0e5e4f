"""What the documentation says of the datasets is what their builders say."""

import shutil
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

import mspfn_tf.datasets
from mspfn_tf.datasets.blends import BLENDS
from mspfn_tf.datasets.preparing import find_builder
from tools import dataset_tables

ROOT = Path(__file__).resolve().parent.parent


def test_the_documentation_is_up_to_date(tmp_path):
    (tmp_path / "docs").mkdir()
    pages = [Path("docs/datasets.md")]
    pages += [Path("datasets", name, "README.md") for name in mspfn_tf.datasets.NAMES]
    for page in pages:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    assert dataset_tables.main(tmp_path) == 0
    for page in pages:
        told = (tmp_path / page).read_text(encoding="utf-8")
        assert told == (ROOT / page).read_text(encoding="utf-8"), (
            f"{page}: run python -m tools.dataset_tables"
        )


def test_every_set_and_configuration_is_in_the_table():
    table = dataset_tables.sets_table()
    for name in mspfn_tf.datasets.NAMES:
        for config in list(tfds.builder_cls(name).builder_configs) or [None]:
            assert f"| `{name}/{config}` |" in table if config else f"| `{name}` |" in table
    assert "train 26,124, validation 3,300, test 2,100" in table


@pytest.mark.parametrize("name", mspfn_tf.datasets.NAMES)
def test_every_set_says_what_people_want_to_know(name):
    builder = tfds.builder_cls(name)
    facts = dataset_tables.facts_list(builder)
    for what in ("Rain", "Pairs", "Where to get it", "Licence", "Download", "Cite"):
        assert f"- **{what}**: " in facts
    assert not any(line.endswith(": ") for line in facts.splitlines())


def test_citations_are_read():
    told = dataset_tables.citation(tfds.builder_cls("rain1200"))
    assert told.startswith("Zhang and Patel, *Density-Aware Single Image De-Raining")
    assert told.endswith("*, 2018")
    told = dataset_tables.citation(tfds.builder_cls("lhp_rain"))
    assert told.startswith(
        "Guo et al., *From Sky to the Ground: A Large-scale Benchmark and Simple"
    )
    assert "Towards Real Rain Removal*, 2023" in told and "{" not in told


@pytest.mark.parametrize("name", BLENDS)
def test_blends_name_sets_that_exist(name):
    assert BLENDS[name].about
    for part, weight in BLENDS[name].sets.items():
        builder, config = find_builder(part)
        assert "/" in part or config is None
        assert weight > 0


def test_synthetic_and_real():
    sets = BLENDS["synthetic_and_real"].sets
    real = sum(sets[name] for name in sets if name.startswith(("spa_data", "realrain_1k")))
    assert real / sum(sets.values()) == pytest.approx(0.38, abs=0.005)
