"""What a training run is: one frozen dataclass."""

import dataclasses
import hashlib
import json
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mspfn_tf.errors import UsageError
from mspfn_tf.files import sha256, visible_files
from mspfn_tf.pictures import find_images
from mspfn_tf.presets import PRESETS, STATE
from mspfn_tf.sizes import LEAST_LOSS_SIDE, MULTIPLE_OF
from mspfn_tf.source import resolve
from mspfn_tf.training.pair_source import check_mixture

# The published script (design: Adam 0.9/0.999/1e-8, 5e-4 * 0.8^(step / 20000) + 1e-6).
PUBLISHED = {
    "steps": 200_000,
    "batch_size": 12,
    "schedule": "published",
    "learning_rate": 5e-4,
    "warmup_steps": 0,
    "ema": 0.0,
    "clip_norm": 0.0,
}
# What suits small networks and short budgets better.
MODERN = {
    "steps": 100_000,
    "batch_size": 16,
    "schedule": "cosine",
    "learning_rate": 1e-3,
    "warmup_steps": 1_000,
    "ema": 0.999,
    "clip_norm": 1.0,
}
RECIPES = {
    "mspfn": PUBLISHED,
    "mspfn_m17n1": PUBLISHED,
    "mspfn_mobile": MODERN,
    "mspfn_nano": MODERN,
}

SCHEDULES = ("published", "cosine")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")

REQUIRED = ("dataset", "data_dir", "workdir")
_POSITIVE = (
    "steps",
    "batch_size",
    "learning_rate",
    "threads",
    "checkpoint_every",
    "keep_checkpoints",
    "log_every",
    "validation_images",
    "validation_size",
    "start_timeout",
)
_SHARES = (
    "fresh_rain",
    "rain_mix",
    "clean_share",
    "bars",
    "tone_curves",
    "enlarged",
    "near_drops",
    "teacher_weight",
)
_PATHS = (
    "data_dir",
    "workdir",
    "streaks",
    "teacher",
    "task_model",
    "task_model_weights",
    "init_weights",
)
# Fields that have an effect only beside another one, and what that has to be.
_BESIDE = {
    "teacher_weight": "a teacher",
    "weight_decay": "optimizer 'adamw' or 'muon'",
    "edge_weight": "loss 'derain'",
    "task_weight": "a task",
    "task_terms": "a task",
    "task_void": "a task",
    "task_model_weights": "a task",
    "validation_dataset": "validate_every above 0",
    "validation_images": "validate_every above 0",
    "validation_size": "validate_every above 0",
}
# Fields that may change when a run continues, but not from worker to worker.
_OF_ALL_WORKERS = ("steps", "checkpoint_every", "log_every", "validate_every")


def _field(help: str, default: Any = None, **metadata: Any) -> Any:
    """A field of `Recipe`; `default=None` means: what the preset's entry in RECIPES says."""
    return dataclasses.field(default=default, metadata={**metadata, "help": help})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The configuration of a training run; the `help` of each field tells what it is.

    `mspfn train --help` prints them: every field is a flag. Fields of several values take Python's
    own: `dataset="rain800"` or `{"rain800": 3, "synthetic_rain/mixed": 1}` (name -> weight),
    `patch_size=96` or `(64, 96)`, `model_arguments={"width": 24}`. They are kept as a dict, a
    tuple and a dict; paths are kept as text.

    Raises:
        UsageError: a value that cannot work, naming the field.
    """

    preset: str = _field("network to train", "mspfn_mobile")
    dataset: Mapping[str, float] = _field("prepared set, or several with their weights")
    data_dir: str = _field("folder that `mspfn prepare` filled", same_run=False)
    workdir: str = _field("folder of this run; run again with it to resume", same_run=False)
    fresh_rain: float = _field(
        "share of the patches, 0..1, in whose clean half synthetic rain is drawn anew", 0.0
    )
    streaks: str = _field("folder of streak pictures that fresh rain may use", "")
    rain_mix: float = _field(
        "share of the fresh rain, 0..1, whose streaks RainMix warps and mixes", 0.0
    )
    clean_share: float = _field(
        "share of the patches, 0..1, that go in without rain: none is to be taken away", 0.0
    )
    moved_rain: Mapping[str, float] = _field(
        "sets whose rain is added gray streaks, such as Rain100's, and the share of their patches, "
        "0..1, whose rain falls on a patch of any pair instead",
        None,
    )
    bars: float = _field(
        "share, 0..1, of the patches without rain, with fresh or moved rain that get bars to be "
        "kept",
        0.0,
    )
    tone_curves: float = _field(
        "share of the patches, 0..1, both halves of which are made darker, paler or of another "
        "colour",
        0.0,
    )
    enlarged: float = _field(
        "share of the patches, 0..1, that are cut 1.25 to 2.5 times smaller and enlarged, so that "
        "rain is wider",
        0.0,
    )
    near_drops: float = _field(
        "share, 0..1, of the patches that are not to stay clean, in front of which drops fall "
        "close to the camera",
        0.0,
    )
    symmetries: str = _field(
        "flips and rotations of the patches: all 8, or the 4 that keep rain upright",
        "all",
        choices=("all", "upright"),
    )
    steps: int = _field("training steps")
    batch_size: int = _field("patches of a batch, over all replicas together")
    patch_size: Sequence[int] = _field("side of the patches; several get an equal share each", 96)
    learning_rate: float = _field("learning rate at its highest")
    schedule: str = _field("course of the learning rate", choices=SCHEDULES)
    warmup_steps: int = _field("steps over which the learning rate rises from 0 (cosine)")
    optimizer: str = _field("optimizer", "adam", choices=("adam", "adamw", "muon"))
    weight_decay: float = _field("weight decay of adamw and muon", 1e-4)
    clip_norm: float = _field("largest norm of the whole gradient; 0: no clipping")
    ema: float = _field("decay of the moving average of the weights; 0: none")
    loss: str = _field("derain: Charbonnier and edges; psnr", "derain", choices=("derain", "psnr"))
    edge_weight: float = _field("weight of the edge loss", 0.05)
    ssim_weight: float = _field("weight of 1 - SSIM beside the psnr loss, in dB", 0.0)
    brightness_weight: float = _field(
        "weight of the psnr loss of means over 16x16 pixels beside that of pixels", 0.0
    )
    precision: str = _field(
        "compute type; auto: bfloat16 on CPUs that have it, with TensorFlow",
        "float32",
        choices=("float32", "bfloat16", "auto"),
    )
    teacher: str = _field("preset or model file whose output the student also learns", "")
    teacher_weight: float = _field("share of the teacher's part in the loss, 0..1", 0.5)
    task: str = _field(
        "train for a task, too: the loss of its network on the derained patches is added",
        "none",
        choices=("none", "segmentation"),
    )
    task_model: str = _field(
        "the task's network, which stays as it is: espnet, a .keras file, or ESPNet's .weights.h5",
        "",
    )
    task_model_weights: str = _field("weights file of task_model espnet", "")
    task_weight: float = _field("factor of the task's loss beside the restoration loss", 0.1)
    task_terms: str = _field(
        "cross-entropy against the labels, features of the clean patch, or both",
        "labels",
        choices=("labels", "features", "both"),
    )
    task_void: int = _field("value of the masks that means not labelled", 255)
    init_weights: str = _field("weights file to start from", "")
    model_arguments: Mapping[str, Any] = _field("arguments that override the preset's", None)
    seed: int = _field("seed of the first weights and of the data order", 0)
    crops_per_pair: int = _field(
        "patches per decoded pair; 0: 1 if the set fits the cache, else 4", 0
    )
    cache_mb: int = _field("memory for decoded pairs, MiB", 2048, same_run=False)
    threads: int = _field("threads of the input pipeline", 2, same_run=False)
    strategy: str = _field("devices", "auto", choices=STRATEGIES, same_run=False)
    start_timeout: float = _field(
        "minutes that several workers wait for each other at the start", 10.0, same_run=False
    )
    deterministic: bool = _field("force deterministic kernels (GPU; slower)", False, same_run=False)
    checkpoint_every: int = _field("steps between checkpoints", 500, same_run=False)
    keep_checkpoints: int = _field("newest checkpoints kept", 3, same_run=False)
    log_every: int = _field("steps between reports", 50, same_run=False)
    validate_every: int = _field("steps between validations; 0: none", 1000, same_run=False)
    validation_dataset: Mapping[str, float] = _field(
        "set(s) to validate on; default: the training ones", None
    )
    validation_images: int = _field("pairs of each validation set", 32)
    validation_size: int = _field("side of the centre crops validated", 256)
    photographs: str = _field(
        "prepared set of photographs without truth, such as real_rain, to show in TensorBoard",
        "",
        same_run=False,
    )
    on_nan: str = _field("what to do when the loss is not finite", "stop", choices=("stop", "skip"))
    max_minutes: float = _field(
        "stop, saved, after so many minutes; 0: no limit", 0.0, same_run=False
    )
    tensorboard: bool = _field("write TensorBoard scalars and panels", False, same_run=False)

    def __post_init__(self) -> None:
        defaults = RECIPES.get(self.preset, PUBLISHED)
        for name, value in defaults.items():
            if getattr(self, name) is None:
                self._set(name, value)
        for name in REQUIRED:
            if not getattr(self, name):
                raise UsageError(f"{name} is missing")
        for name in _PATHS:
            value = getattr(self, name) or ""
            if not isinstance(value, str | os.PathLike):
                raise UsageError(
                    f"{name} must be a path or a name; received {value!r} of type "
                    f"{type(value).__name__}"
                )
            self._set(name, os.fspath(value))
        if os.path.normpath(self.workdir) in PRESETS:
            raise UsageError(
                f"workdir {self.workdir!r} is the name of a preset, which every command would take "
                "it for: choose another name"
            )
        self._set("dataset", check_mixture(self.dataset))
        if self.validation_dataset:
            self._set("validation_dataset", check_mixture(self.validation_dataset))
        else:
            self._set("validation_dataset", None)
        self._set("moved_rain", self._moved_rain())
        self._set("patch_size", _sizes(self.patch_size))
        self._set("model_arguments", _arguments(self.model_arguments))
        for field in dataclasses.fields(self):
            self._check(field)
        for name in _SHARES:
            if getattr(self, name) > 1:
                raise UsageError(f"{name} {getattr(self, name):g}: a share is at most 1")
        if (self.task == "none") == bool(self.task_model):
            raise UsageError("task and task_model go together: give both or neither")
        if self.seed >= 2**32:
            raise UsageError(f"seed {self.seed}: must be less than 2**32")
        if self.streaks and not self.fresh_rain:
            raise UsageError("streaks are for the fresh rain: give fresh_rain as well")
        if self.photographs and not self.tensorboard:
            raise UsageError("photographs are shown in TensorBoard: give tensorboard as well")
        if self.photographs and not self.validate_every:
            raise UsageError(
                "photographs are shown at validations, of which validate_every 0 makes none: give "
                "the steps between them"
            )
        for name in ("ssim_weight", "brightness_weight"):
            if getattr(self, name) and self.loss != "psnr":
                raise UsageError(f"{name} goes with loss 'psnr'; received loss {self.loss!r}")
            if getattr(self, name) and min(self.patch_size) < LEAST_LOSS_SIDE:
                raise UsageError(
                    f"{name} looks at windows of the patches: patch_size must be at least "
                    f"{LEAST_LOSS_SIDE}; received {min(self.patch_size)}"
                )
        self._check_effects()
        if self.rain_mix and not self.fresh_rain:
            raise UsageError("rain_mix is a share of the fresh rain: give fresh_rain as well")
        if self.bars and not (self.fresh_rain or self.clean_share or self.moved_rain):
            raise UsageError(
                "bars are drawn where fresh_rain, clean_share or moved_rain apply: give one of them"
            )
        if len(self.patch_size) > self.steps:
            raise UsageError(
                f"patch_size: {len(self.patch_size)} sizes need at least as many steps; received "
                f"steps {self.steps}"
            )
        if self.ema >= 1:
            raise UsageError(f"ema {self.ema:g}: must be below 1")
        if self.schedule == "cosine" and self.warmup_steps >= self.steps:
            raise UsageError(f"warmup_steps {self.warmup_steps}: must be below steps {self.steps}")
        # What a preset brings for its own schedule may stay where another one is asked for.
        if self.schedule == "published" and self.warmup_steps not in (0, defaults["warmup_steps"]):
            raise UsageError(
                f"warmup_steps {self.warmup_steps}: schedule 'published' has none; give schedule "
                "'cosine', or leave warmup_steps out"
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check(self, field: dataclasses.Field) -> None:
        value, choices = getattr(self, field.name), field.metadata.get("choices")
        if choices and value not in choices:
            raise UsageError(f"{field.name} {value!r}: choose from {', '.join(choices)}")
        kinds = {int: numbers.Integral, float: numbers.Real, bool: bool}
        made = field.type
        if not isinstance(made, type) or made not in kinds:
            return
        kind = kinds[made]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UsageError(
                f"{field.name} must be {made.__name__}; received {value!r} of type "
                f"{type(value).__name__}"
            )
        self._set(field.name, made(value))
        if made is bool:
            return
        if not math.isfinite(value):
            raise UsageError(f"{field.name} {value}: must be finite")
        if value < 0:
            raise UsageError(f"{field.name} {value}: must not be negative")
        if value == 0 and field.name in _POSITIVE:
            raise UsageError(f"{field.name} 0: must be positive")

    def _check_effects(self) -> None:
        """Refuses what was given and would change nothing."""
        there = {
            "a teacher": self.teacher,
            "optimizer 'adamw' or 'muon'": self.optimizer != "adam",
            "loss 'derain'": self.loss == "derain",
            "a task": self.task != "none",
            "validate_every above 0": self.validate_every,
        }
        for field in dataclasses.fields(self):
            beside, value = _BESIDE.get(field.name), getattr(self, field.name)
            if beside and not there[beside] and value != field.default:
                raise UsageError(
                    f"{field.name} {value!r} has an effect with {beside} alone: give that as well, "
                    f"or leave {field.name} out"
                )

    def _moved_rain(self) -> dict[str, float]:
        if not isinstance(self.moved_rain or {}, Mapping):
            raise UsageError(f"moved_rain {self.moved_rain!r}: must be sets with their shares")
        for name, share in (self.moved_rain or {}).items():
            if name not in self.dataset:
                raise UsageError(f"moved_rain {name!r}: dataset has {', '.join(self.dataset)}")
            number = isinstance(share, numbers.Real) and not isinstance(share, bool)
            if not number or not 0 < share <= 1:
                raise UsageError(f"moved_rain {name!r}: its share {share!r} must be in (0, 1]")
        return {name: float(share) for name, share in (self.moved_rain or {}).items()}

    def stages(self) -> list[tuple[int, int, int]]:
        """The parts of the run: a list of (first step, step after the last, patch size)."""
        sizes = self.patch_size
        ends = [self.steps * (index + 1) // len(sizes) for index in range(len(sizes))]
        return list(zip([0, *ends[:-1]], ends, sizes, strict=True))

    def identity(self) -> dict[str, Any]:
        """What must stay the same when a run continues, as JSON keeps it.

        It says what things are, not how they are spelled: files and folders by the SHA-256 of what
        they hold, weights of a mixture by the shares, the network by all of its arguments.

        Raises:
            UsageError: a file or folder that is named does not exist.
        """
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.metadata.get("same_run", True)
        }
        if self.schedule == "published" and len(self.stages()) == 1:
            del fields["steps"]  # nothing depends on where such a run ends: it may be prolonged
        total = sum(self.dataset.values())
        fields["dataset"] = [[name, weight / total] for name, weight in self.dataset.items()]
        fields["validation_dataset"] = sorted(self.validation_dataset or self.dataset)
        fields["model_arguments"] = {**_preset_arguments(self.preset), **self.model_arguments}
        if self.preset not in PRESETS:
            fields["preset"] = ""
        fields["streaks"] = _folder_digest(self.streaks)
        for name in ("teacher", "init_weights"):
            fields[name] = _weights_digest(getattr(self, name))
        # Runs from before there were these can be resumed.
        for name in ("clean_share", "moved_rain", "bars", "tone_curves", "enlarged", "near_drops"):
            if not fields[name]:
                del fields[name]
        if self.task == "none":
            fields = {name: v for name, v in fields.items() if not name.startswith("task")}
        else:
            network = self.task_model_weights if self.task_model == "espnet" else self.task_model
            fields["task_model"] = _weights_digest(network)
            del fields["task_model_weights"]
        return json.loads(json.dumps(fields))

    def agreement(self) -> dict[str, Any]:
        """What must be the same on all workers of a run: its identity and what they do together."""
        names: list[str] = [*_OF_ALL_WORKERS]
        if not self.crops_per_pair:  # the size of the cache decides
            names.append("cache_mb")
        return {**self.identity(), **{name: getattr(self, name) for name in names}}


def differences(one: Mapping, other: Mapping, names: tuple[str, str]) -> list[str]:
    """A line for every field in which two identities differ.

    Args:
        one, other: as `Recipe.identity` gives them.
        names: where each stands, such as ("there", "now").
    """
    return [
        f"  {key}: {one.get(key)!r} {names[0]}, {other.get(key)!r} {names[1]}"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ]


def _sizes(value: Any) -> tuple[int, ...]:
    sizes = (value,) if isinstance(value, numbers.Integral) else value
    if (
        not isinstance(sizes, Sequence)
        or not sizes
        or not all(
            isinstance(s, numbers.Integral) and int(s) > 0 and int(s) % MULTIPLE_OF == 0
            for s in sizes
        )
    ):
        raise UsageError(
            f"patch_size {value!r}: must be a positive multiple of {MULTIPLE_OF}, such "
            "as 96, or several"
        )
    return tuple(int(size) for size in sizes)


def _arguments(value: Any) -> dict[str, Any]:
    try:
        if value is not None and not isinstance(value, Mapping):
            raise TypeError("must be a dict")
        return json.loads(json.dumps(dict(value or {})))
    except (TypeError, ValueError) as error:
        raise UsageError(f"model_arguments {value!r}: {error}") from error


def _preset_arguments(preset: str) -> dict[str, Any]:
    if preset in PRESETS:
        return dict(PRESETS[preset]["arguments"])
    path = Path(preset, "config.json")
    try:
        config = json.loads(path.read_text())
        arguments = config.get("model", config)
        return {key: arguments[key] for key in arguments if key not in STATE}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"preset {preset!r}: neither one of {', '.join(PRESETS)} nor a folder with the "
            "config.json of a network"
        ) from error


def _weights_digest(source: str) -> str:
    """The SHA-256 of the weights that a preset, a folder of a run or a file holds; "" of ""."""
    try:
        return resolve(source).digest or "" if source else ""
    except OSError as error:
        raise UsageError(f"no weights in {source}: {error.strerror}") from error


def _folder_digest(folder: str) -> str:
    """The SHA-256 of the files below a folder and of their names; "" of ""."""
    if not folder:
        return ""
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"streaks {folder}: no such folder")
    digest = hashlib.sha256()
    # What reads the pictures follows links to folders.
    for path in sorted({*visible_files(root), *find_images(root)}):
        try:
            content = sha256(path)
        except OSError as error:  # such as a link to nothing
            raise UsageError(f"streaks: {path} cannot be read ({error.strerror})") from error
        # Names need not be UTF-8.
        digest.update(os.fsencode(path.relative_to(root).as_posix()) + f"\0{content}\n".encode())
    return digest.hexdigest()
