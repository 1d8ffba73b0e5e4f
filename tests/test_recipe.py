"""The configuration of a run: Python's values, what is refused, what a run is known by."""

import dataclasses
import json
import os

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.partial_results import digest
from mspfn_tf.training import Recipe
from mspfn_tf.training.recipe import differences
from tests.tiny_recipe import recipe


def of(**fields):
    return Recipe(**{"dataset": "rain800", "data_dir": "tfds", "workdir": "run", **fields})


def test_stages_share_the_steps(tmp_path):
    stages = recipe(tmp_path, "x", patch_size=(64, 96, 128), steps=10).stages()
    assert stages == [(0, 3, 64), (3, 6, 96), (6, 10, 128)]


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("patch_size", 60, "multiple of 8"),
        ("patch_size", "96", "multiple of 8"),
        ("patch_size", (), "multiple of 8"),
        ("schedule", "linear", "published, cosine"),
        ("strategy", "parameter_server", "auto, one_device, mirrored, multi_worker, tpu"),
        ("steps", 0, "must be positive"),
        ("ema", 1.0, "below 1"),
        ("batch_size", -4, "must not be negative"),
        ("model_arguments", "{", "model_arguments"),
        ("dataset", "", "^dataset is missing"),
        ("on_nan", "ignore", "stop, skip"),
    ],
)
def test_wrong_fields_are_named(tmp_path, field, value, words):
    with pytest.raises(UsageError, match=words):
        recipe(tmp_path, "x", **{field: value})


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("steps", "100", "steps must be int; received '100' of type str"),
        ("batch_size", True, "batch_size must be int"),
        ("tensorboard", 1, "tensorboard must be bool"),
        ("learning_rate", float("nan"), "must be finite"),
        ("dataset", {}, "^dataset is missing"),
        ("dataset", {"a": 0}, "weight 0 must be a positive number"),
        ("dataset", {"a": float("inf")}, "must be a positive number"),
        ("dataset", "rain800:2,a:1", "should be NAME or NAME/CONFIG"),
        ("dataset", "../elsewhere", "should be NAME or NAME/CONFIG"),
        ("dataset", ["a"], "a name, or names with their weights"),
        ("validation_dataset", {"a": -1}, "must be a positive number"),
        ("patch_size", (64, 0), "multiple of 8"),
        ("model_arguments", {"width": {1}}, "model_arguments"),
        ("fresh_rain", 1.5, "at most 1"),
        ("rain_mix", 1.5, "at most 1"),
        ("clean_share", 1.5, "at most 1"),
        ("tone_curves", 1.5, "at most 1"),
        ("enlarged", 1.5, "at most 1"),
        ("near_drops", 1.5, "at most 1"),
        ("bars", 0.5, "give one of them"),
        ("moved_rain", {"rain800": 1.5}, r"must be in \(0, 1\]"),
        ("moved_rain", {"rain800": 0}, r"must be in \(0, 1\]"),
        ("moved_rain", {"rain800": True}, r"must be in \(0, 1\]"),
        ("moved_rain", {"rain100h": 0.5}, "dataset has rain800"),
        ("moved_rain", "rain800", "sets with their shares"),
        ("rain_mix", 0.5, "give fresh_rain as well"),
        ("symmetries", "some", "all, upright"),
        ("start_timeout", 0, "must be positive"),
        ("workdir", "mspfn_nano", "is the name of a preset"),
        ("workdir", "./mspfn_nano/", "is the name of a preset"),
    ],
)
def test_wrong_values_are_named_without_dashes(field, value, words):
    with pytest.raises(UsageError, match=words) as error:
        of(**{field: value})
    assert "--" not in str(error.value)


@pytest.mark.parametrize("term", ["ssim_weight", "brightness_weight"])
def test_terms_of_the_psnr_loss(term):
    with pytest.raises(UsageError, match=f"{term} goes with loss 'psnr'"):
        of(loss="derain", **{term: 10})
    assert getattr(of(loss="psnr", **{term: 10}), term) == 10
    with pytest.raises(UsageError, match=f"{term} looks .*at least 16; received 8"):
        of(loss="psnr", patch_size=(16, 8), **{term: 10})


def test_python_values_are_kept_as_they_are_meant():
    one = of(patch_size=np.int64(96), steps=np.int64(2000))
    assert one.patch_size == (96,) and type(one.steps) is int
    several = of(dataset={"a": 3, "b/heavy": 1}, patch_size=[64, 96])
    assert several.dataset == {"a": 3.0, "b/heavy": 1.0} and several.patch_size == (64, 96)
    assert several.model_arguments == {} and several.validation_dataset is None
    assert dataclasses.replace(several, seed=1).dataset == several.dataset


def test_identity_says_what_things_are_not_how_they_are_spelled(tmp_path):
    plain = of().identity()
    assert plain == json.loads(json.dumps(plain))
    same = (
        {"dataset": {"rain800": 7}},
        {"validation_dataset": {"rain800": 1}},
        {"patch_size": (96,)},
        {"model_arguments": {"width": of().identity()["model_arguments"]["width"]}},
        {"data_dir": "elsewhere", "workdir": "other", "threads": 9, "log_every": 1},
        {"start_timeout": 1, "max_minutes": 5},
    )
    for fields in same:
        assert of(**fields).identity() == plain, fields
    others = (
        {"dataset": {"rain800": 1, "a": 1}},
        {"patch_size": 64},
        {"model_arguments": {"width": 16}},
        {"seed": 1},
        {"fresh_rain": 0.5},
        {"clean_share": 0.1},
        {"moved_rain": {"rain800": 0.1}},
        {"tone_curves": 0.1},
        {"enlarged": 0.1},
        {"near_drops": 0.1},
        {"symmetries": "upright"},
        {"precision": "bfloat16"},
    )
    for fields in others:
        assert of(**fields).identity() != plain, fields
    for basis, more in (
        ({"fresh_rain": 0.5}, {"rain_mix": 0.5}),
        ({"clean_share": 0.1}, {"bars": 0.1}),
        ({"moved_rain": {"rain800": 0.1}}, {"bars": 0.1}),
        ({"loss": "psnr"}, {"ssim_weight": 1.0}),
        ({"loss": "psnr"}, {"brightness_weight": 1.0}),
    ):
        assert of(**basis, **more).identity() != of(**basis).identity(), more
    shares = of(dataset={"a": 1, "b": 2}).identity()
    assert shares == of(dataset={"a": 2, "b": 4}).identity()


def test_runs_from_before_there_was_more_rain_can_be_resumed():
    newer = {"clean_share", "moved_rain", "bars", "tone_curves", "enlarged", "near_drops"}
    assert not newer & of().identity().keys()
    assert of(enlarged=0.1).identity()["enlarged"] == 0.1


def test_files_are_known_by_what_they_hold(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "model.weights.h5").write_bytes(b"weights")
        (folder / "streaks").mkdir()
        (folder / "streaks/one.png").write_bytes(b"streaks")
    for field in ("teacher", "init_weights", "streaks"):
        more = {"fresh_rain": 0.5} if field == "streaks" else {}
        one, two = (of(**more, **{field: tmp_path / name}).identity() for name in ("one", "two"))
        assert one == two != of(**more).identity()
        assert str(tmp_path) not in json.dumps(one)
        with pytest.raises(UsageError, match="nowhere"):
            of(**more, **{field: tmp_path / "nowhere"}).identity()
    file = of(teacher=str(tmp_path / "one" / "model.weights.h5")).identity()
    assert file["teacher"] == of(teacher=tmp_path / "two").identity()["teacher"]
    (tmp_path / "two/model.weights.h5").write_bytes(b"others")
    assert file["teacher"] != of(teacher=tmp_path / "two").identity()["teacher"]
    (tmp_path / "two/streaks/.DS_Store").write_bytes(b"which macOS writes when it shows a folder")
    one, two = (
        of(fresh_rain=0.5, streaks=tmp_path / name / "streaks").identity()["streaks"]
        for name in ("one", "two")
    )
    assert one == two
    (tmp_path / "two/streaks/one.png").rename(tmp_path / "two/streaks/renamed.png")
    one, two = (
        of(fresh_rain=0.5, streaks=tmp_path / name / "streaks").identity()["streaks"]
        for name in ("one", "two")
    )
    assert one != two  # which picture is drawn goes by their order
    # Those in folders that a link leads to are read, and so count.
    (tmp_path / "one/streaks/linked").symlink_to(tmp_path / "two/streaks")
    streaks = tmp_path / "one/streaks"
    linked, linked_digest = (
        of(fresh_rain=0.5, streaks=streaks).identity()["streaks"],
        digest(streaks),
    )
    (tmp_path / "two/streaks/renamed.png").write_bytes(b"other streaks")
    assert one != linked != of(fresh_rain=0.5, streaks=streaks).identity()["streaks"]
    assert digest(streaks) != linked_digest


def test_streaks_of_any_name_and_without_content(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.png")).write_bytes(b"streaks")
    assert len(of(fresh_rain=0.5, streaks=tmp_path).identity()["streaks"]) == 64
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(UsageError, match="gone.png cannot be read"):
        of(fresh_rain=0.5, streaks=tmp_path).identity()


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"streaks": "folder"}, "streaks are for the fresh rain"),
        ({"photographs": "real_rain"}, "photographs are shown in TensorBoard"),
        ({"photographs": "real_rain", "tensorboard": True, "validate_every": 0}, "at validations"),
        ({"preset": "mspfn", "warmup_steps": 500}, "warmup_steps 500: schedule 'published' has"),
        ({"schedule": "published", "warmup_steps": 500}, "give schedule 'cosine', or leave"),
        ({"schedule": "cosine", "warmup_steps": 9, "steps": 9}, "must be below steps 9"),
        ({"seed": 2**32}, "seed 4294967296: must be less than"),
        (
            {"preset": "mspfn", "patch_size": (16, 24, 32), "steps": 2},
            "3 sizes need at least as many steps",
        ),
        ({"teacher": {"a": 1}}, "teacher must be a path or a name; received {'a': 1} of type dict"),
        ({"teacher_weight": 0.7}, "teacher_weight 0.7 has an effect with a teacher alone"),
        ({"weight_decay": 0.1}, "with optimizer 'adamw' or 'muon' alone"),
        ({"loss": "psnr", "edge_weight": 0.1}, "with loss 'derain' alone"),
        ({"task_weight": 3.0}, "with a task alone: give that as well, or leave task_weight out"),
        ({"task_terms": "both"}, "with a task alone"),
        ({"task_void": 11}, "with a task alone"),
        ({"task_model_weights": "a.weights.h5"}, "with a task alone"),
        ({"validate_every": 0, "validation_dataset": "a"}, "with validate_every above 0 alone"),
        ({"validate_every": 0, "validation_images": 9}, "with validate_every above 0 alone"),
    ],
)
def test_what_would_have_no_effect_or_fail_later(fields, words):
    with pytest.raises(UsageError, match=words):
        of(**fields)


def test_the_warm_up_of_a_preset_may_stay_beside_another_schedule():
    assert dataclasses.replace(of(preset="mspfn_mobile", schedule="published")).warmup_steps


def test_a_published_run_may_be_prolonged_and_a_cosine_not(tmp_path):
    published = {"preset": "mspfn", "steps": 10}
    assert "steps" not in of(**published).identity()
    assert "steps" in of(**published, patch_size=(64, 96)).identity()
    assert of(steps=2000).identity()["steps"] == 2000


def test_differences_are_told_by_field():
    lines = differences({"a": 1, "b": 2, "c": None}, {"a": 1, "b": 3}, ("there", "now"))
    assert lines == ["  b: 2 there, 3 now"]
    assert of(steps=2000).agreement()["checkpoint_every"] == 500
    assert of(cache_mb=9).agreement()["cache_mb"] == 9  # by which crops_per_pair is chosen
    assert "cache_mb" not in of(cache_mb=9, crops_per_pair=1).agreement()
