"""What a training run is: one frozen dataclass, whose fields are the flags of `mspfn train`."""

import dataclasses
import json

from mspfn_tf.errors import UsageError
from mspfn_tf.training.pair_source import parse_mixture

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


def _flag(help, default=None, **metadata):
    """A field of `Recipe`; `default=None` means: what the preset's entry in RECIPES says."""
    return dataclasses.field(default=default, metadata={**metadata, "help": help})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """The configuration of a training run; see `mspfn train --help` for each field.

    Raises:
        UsageError: a value that cannot work, naming the flag.
    """

    preset: str = _flag("network to train", "mspfn_mobile")
    dataset: str = _flag("NAME, NAME/CONFIG or a mixture rain800:1,synthetic_rain/heavy:2")
    data_dir: str = _flag("folder that `mspfn prepare` filled", same_run=False)
    workdir: str = _flag("folder of this run; run again with it to resume", same_run=False)
    fresh_rain: float = _flag(
        "share of the patches, 0..1, in whose clean half synthetic rain is drawn anew", 0.0
    )
    streaks: str = _flag("folder of streak pictures that fresh rain may use", "")
    symmetries: str = _flag(
        "flips and rotations of the patches: all 8, or the 4 that keep rain upright",
        "all",
        choices=("all", "upright"),
    )
    steps: int = _flag("training steps")
    batch_size: int = _flag("patches of a batch, over all replicas together")
    patch_size: str = _flag("side of the patches; 64,96,128 gives each an equal share", "96")
    learning_rate: float = _flag("learning rate at its highest")
    schedule: str = _flag("course of the learning rate", choices=SCHEDULES)
    warmup_steps: int = _flag("steps over which the learning rate rises from 0 (cosine)")
    optimizer: str = _flag("optimizer", "adam", choices=("adam", "adamw", "muon"))
    weight_decay: float = _flag("weight decay of adamw and muon", 1e-4)
    clip_norm: float = _flag("largest norm of the whole gradient; 0: no clipping")
    ema: float = _flag("decay of the moving average of the weights; 0: none")
    loss: str = _flag("derain: Charbonnier and edges; psnr", "derain", choices=("derain", "psnr"))
    edge_weight: float = _flag("weight of the edge loss", 0.05)
    ssim_weight: float = _flag("weight of 1 - SSIM beside the psnr loss, in dB", 0.0)
    precision: str = _flag("compute type", "float32", choices=("float32", "bfloat16"))
    teacher: str = _flag("preset or model file whose output the student also learns", "")
    teacher_weight: float = _flag("share of the teacher's part in the loss, 0..1", 0.5)
    init_weights: str = _flag("weights file to start from", "")
    model_arguments: str = _flag("JSON object of arguments that override the preset's", "")
    seed: int = _flag("seed of the first weights and of the data order", 0)
    crops_per_pair: int = _flag(
        "patches per decoded pair; 0: 1 if the set fits the cache, else 4", 0
    )
    cache_mb: int = _flag("memory for decoded pairs, MiB", 2048, same_run=False)
    threads: int = _flag("threads of the input pipeline", 2, same_run=False)
    strategy: str = _flag("devices", "auto", choices=STRATEGIES, same_run=False)
    deterministic: bool = _flag("force deterministic kernels (GPU; slower)", False, same_run=False)
    checkpoint_every: int = _flag("steps between checkpoints", 500, same_run=False)
    keep_checkpoints: int = _flag("newest checkpoints kept", 3, same_run=False)
    log_every: int = _flag("steps between reports", 50, same_run=False)
    validate_every: int = _flag("steps between validations; 0: none", 1000, same_run=False)
    validation_dataset: str = _flag("set(s) to validate on; default: the training ones", "")
    validation_images: int = _flag("pairs of each validation set", 32)
    validation_size: int = _flag("side of the centre crops validated", 256)
    on_nan: str = _flag("what to do when the loss is not finite", "stop", choices=("stop", "skip"))
    max_minutes: float = _flag("stop, saved, after so many minutes; 0: no limit", 0, same_run=False)
    tensorboard: bool = _flag("write TensorBoard scalars and panels", False, same_run=False)

    def __post_init__(self):
        for name, value in RECIPES.get(self.preset, PUBLISHED).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name in ("dataset", "data_dir", "workdir"):
            if not getattr(self, name):
                raise UsageError(f"--{name} is missing")
        for field in dataclasses.fields(self):
            value, choices = getattr(self, field.name), field.metadata.get("choices")
            if choices and value not in choices:
                raise UsageError(f"--{field.name} '{value}': choose from {', '.join(choices)}")
            if field.type in (int, float) and value < 0:
                raise UsageError(f"--{field.name} {value}: must not be negative")
        for name in (
            "steps",
            "batch_size",
            "learning_rate",
            "threads",
            "checkpoint_every",
        ):
            if getattr(self, name) == 0:
                raise UsageError(f"--{name} 0: must be positive")
        for name in (
            "keep_checkpoints",
            "log_every",
            "validation_images",
            "validation_size",
        ):
            if getattr(self, name) == 0:
                raise UsageError(f"--{name} 0: must be positive")
        if self.fresh_rain > 1:
            raise UsageError(f"--fresh_rain {self.fresh_rain:g}: a share, at most 1")
        if self.ema >= 1 or self.teacher_weight > 1:
            raise UsageError("--ema must be below 1, --teacher_weight at most 1")
        if self.schedule == "cosine" and self.warmup_steps >= self.steps:
            raise UsageError(
                f"--warmup_steps {self.warmup_steps}: must be below --steps {self.steps}"
            )
        parse_mixture(self.dataset)
        self.stages()
        self.arguments()

    def stages(self):
        """The parts of the run: a list of (first step, step after the last, patch size)."""
        try:
            sizes = [int(size) for size in str(self.patch_size).split(",")]
        except ValueError:
            sizes = [0]
        for size in sizes:
            if size <= 0 or size % 8:
                raise UsageError(
                    f"--patch_size {self.patch_size}: must be multiples of 8, such as 96 or 64,96"
                )
        ends = [self.steps * (index + 1) // len(sizes) for index in range(len(sizes))]
        return list(zip([0, *ends[:-1]], ends, sizes, strict=True))

    def arguments(self):
        """The model arguments that override the preset's, as a dict."""
        try:
            arguments = json.loads(self.model_arguments or "{}")
        except json.JSONDecodeError as error:
            raise UsageError(f"--model_arguments {self.model_arguments}: {error}") from error
        if not isinstance(arguments, dict):
            raise UsageError(f"--model_arguments {self.model_arguments}: must be a JSON object")
        return arguments

    def identity(self):
        """What must stay the same when a run continues, as a dict."""
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.metadata.get("same_run", True)
        }
        if self.schedule == "published" and len(self.stages()) == 1:
            del fields["steps"]  # nothing depends on where such a run ends: it may be prolonged
        return fields
