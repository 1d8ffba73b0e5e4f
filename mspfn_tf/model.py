"""MSPFN, the multi-scale progressive fusion network, as a functional Keras model."""

import dataclasses
import inspect
import json
import os
from collections.abc import Sequence
from typing import Any, NoReturn, Self

import keras
from keras import layers

from mspfn_tf.checks import check_choice, check_int
from mspfn_tf.errors import UsageError
from mspfn_tf.layers import Blocks, DepthToSpace, DType, SpaceToDepth, Tensor, weights_to_come
from mspfn_tf.presets import PRESETS, STATE, weights_path
from mspfn_tf.released import check_released
from mspfn_tf.sizes import MULTIPLE_OF, check_image_size
from mspfn_tf.source import resolve
from mspfn_tf.weights_file import MOST_STEPS, check_declared, fewest_weights, inspect_weights
from mspfn_tf.weights_file import load_weights as fill

MOST_PARAMETERS = 200_000_000
"""A network with more weights is not built: ten times the paper's, 800 MB."""
_MOST_UNITS = 500  # residual units of all blocks; the paper's network has 170


@keras.saving.register_keras_serializable(package="mspfn_tf")
class MSPFN(keras.Model):
    """Multi-Scale Progressive Fusion Network for single image deraining.

    Jiang et al., CVPR 2020 (arXiv 2003.10985). The rain layer R of a rainy image O is predicted
    from a pyramid of three scales; the model returns O - R. Input: float32 `[batch, height, width,
    3]`, RGB in [0, 1], height and width multiples of 8. Output: the same shape and range, not
    clipped. `mspfn_tf.Restorer` takes pictures of any size.

    Args:
        width: int, channels of the features. Multiple of 2 and of `reduction`. Default 64.
        blocks: int, progressive fusion blocks (M in section 3.3). Default 17.
        rcabs: three ints, residual channel attention blocks per fusion block at 1/4, 1/2 and 1/1.
            Default (1, 3, 3); the authors' released weights have (1, 1, 1).
        hidden: three ints, ConvLSTM channels at 1/4, 1/2 and 1/1 (section 3.1), or None for a
            coarse fusion without ConvLSTM. Default (64, 128, 256).
        reduction: int, channel reduction inside the attention, or None for no attention. Default 4.
        attention: what the attention draws on: "block" (the paper: the global means of each
            block's own features) or "picture" (one set of global means, of the shallow features of
            all scales: tiles that are given those of the whole picture agree with it, see
            `mspfn_tf.whole_picture`). Default "block".
        recurrent_steps: int, how often the ConvLSTM runs on its input. Default 1, as in the
            published graph; then the forget gate and the kernels on the hidden state, which have
            no effect, are not built.
        stem: 1 or 2. With 2, every image of the pyramid is folded by space-to-depth, so that the
            whole trunk runs at half the resolution. Default 1.
        activation: "prelu" (the paper) or "relu" (phones; ReLU and biases everywhere, also inside
            the ConvLSTM). Default "prelu".
        upsampling: "transposed" (the paper), or for phones, whose accelerators do not all run
            transposed convs, "subpixel", "nearest" or "smooth" (subpixel, then a binomial filter,
            so that no mesh is left). Default "transposed".
        image_size: (height, width) for a fixed size. Default None: any.
        dtype: dtype or dtype policy of the layers, such as "mixed_bfloat16". Default: Keras' own.
        trainable: bool, whether the weights can be trained. Default True.
        name: name of the model.

    Raises:
        UsageError (a ValueError): an argument breaks its rule.

    Example:

        model = mspfn_tf.MSPFN(width=32, blocks=2)
        derained = model.predict(rainy)  # float32 [batch, height, width, 3] in [0, 1]
    """

    def __init__(
        self,
        width: int = 64,
        blocks: int = 17,
        rcabs: tuple[int, int, int] = (1, 3, 3),
        hidden: tuple[int, int, int] | None = (64, 128, 256),
        reduction: int | None = 4,
        attention: str = "block",
        recurrent_steps: int = 1,
        stem: int = 1,
        activation: str = "prelu",
        upsampling: str = "transposed",
        image_size: tuple[int, int] | None = None,
        dtype: DType = None,
        trainable: bool = True,
        name: str = "mspfn",
    ):
        if keras.config.image_data_format() != "channels_last":
            raise UsageError(
                "MSPFN takes pictures [batch, height, width, 3]; received the image data format "
                "channels_first: call keras.config.set_image_data_format('channels_last')"
            )
        width = check_int("width", width, minimum=2)
        blocks = check_int("blocks", blocks, minimum=1)
        rcabs = _check_triple("rcabs", rcabs, minimum=0)
        hidden = None if hidden is None else _check_triple("hidden", hidden, minimum=1)
        if reduction is not None:
            reduction = check_int("reduction", reduction, minimum=1)
        if width % 2 or width % (reduction or 1):
            raise UsageError(
                f"width must be a multiple of 2 and of reduction={reduction}; received {width}"
            )
        recurrent_steps = check_int("recurrent_steps", recurrent_steps, minimum=1)
        _check_extent(width, blocks, rcabs, hidden or (), recurrent_steps)
        check_choice("attention", attention, ("block", "picture"))
        check_choice("stem", stem, (1, 2))
        check_choice("activation", activation, ("prelu", "relu"))
        check_choice("upsampling", upsampling, ("transposed", "subpixel", "smooth", "nearest"))
        if image_size is not None:
            image_size = check_image_size(image_size)
        height, wide = image_size or (None, None)
        policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())

        make = Blocks(activation, upsampling, reduction, policy)
        image = keras.Input((height, wide, 3), name="rainy", dtype="float32")

        # === Image pyramid, in the published range [-1, 1] ===
        # It stays float32 under mixed precision, like the rain layer and the subtraction.
        x = layers.Rescaling(2.0, offset=-1.0, dtype="float32", name="range")(image)
        pyramid = {
            "quarter": layers.AveragePooling2D(4, dtype="float32", name="pyramid_quarter")(x),
            "half": layers.AveragePooling2D(2, dtype="float32", name="pyramid_half")(x),
            "full": x,
        }
        if stem > 1:
            pyramid = {
                scale: SpaceToDepth(stem, dtype="float32", name=f"fold_{scale}")(level)
                for scale, level in pyramid.items()
            }
        shallow = {s: make.conv(level, width, f"shallow_{s}") for s, level in pyramid.items()}

        if attention == "picture" and reduction is not None:
            context = make.picture_context(shallow, width, "context")
            make = dataclasses.replace(make, context=context)
        recurrent = _coarse_fusion(make, shallow, width, hidden, recurrent_steps)
        fused = recurrent
        for n in range(1, blocks + 1):
            fused = _progressive_fusion_block(make, fused, rcabs, stem, f"fusion{n}")
        y = _reconstruction(make, fused, recurrent, width)

        # With ReLU the rain layer starts near zero. One drawn at full size is noise at first, and
        # what takes that noise away switches off the few ReLUs of a narrow network for good.
        start = {"prelu": "glorot_uniform", "relu": keras.initializers.VarianceScaling(1e-4)}
        rain = make.conv(
            y,
            3 * stem**2,
            "rain",
            activate=False,
            dtype="float32",
            kernel_initializer=start[activation],
        )
        if stem > 1:
            rain = DepthToSpace(stem, dtype="float32", name="unfold")(rain)
        # A difference in [-1, 1] is twice one in [0, 1].
        rain = layers.Rescaling(0.5, dtype="float32", name="rain_range")(rain)
        derained = layers.Subtract(dtype="float32", name="derained")([image, rain])
        super().__init__(inputs=image, outputs=derained, name=name)

        self.width = width
        self.blocks = blocks
        self.rcabs = rcabs
        self.hidden = hidden
        self.reduction = reduction
        self.attention = attention
        self.recurrent_steps = recurrent_steps
        self.stem = stem
        self.activation = activation
        self.upsampling = upsampling
        self.image_size = image_size
        self.policy = policy
        if not trainable:
            self.trainable = False

    def get_config(self) -> dict[str, Any]:
        # Single layers may be frozen while the model is not.
        frozen = [layer.name for layer in self.layers if not layer.trainable]
        return {
            "width": self.width,
            "blocks": self.blocks,
            "rcabs": self.rcabs,
            "hidden": self.hidden,
            "reduction": self.reduction,
            "attention": self.attention,
            "recurrent_steps": self.recurrent_steps,
            "stem": self.stem,
            "activation": self.activation,
            "upsampling": self.upsampling,
            "image_size": self.image_size,
            "dtype": self.policy.name,
            "trainable": self.trainable,
            "name": self.name,
            **({"frozen": frozen} if frozen and self.trainable else {}),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        config = dict(config)
        frozen = config.pop("frozen", ())
        # A subclass may take the arguments of this class as **kwargs.
        classes = [base for base in cls.__mro__ if issubclass(base, MSPFN)]
        known = {name for base in classes for name in inspect.signature(base).parameters}
        unknown = config.keys() - known
        if unknown:
            raise UsageError(f"{cls.__name__} has no argument {', '.join(sorted(unknown))}")
        model = cls(**config)
        for name in frozen:
            model.get_layer(name).trainable = False
        return model

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        height, width = inputs.shape[1:3]
        if any(side is not None and side % MULTIPLE_OF for side in (height, width)):
            raise UsageError(
                f"height and width must be multiples of {MULTIPLE_OF}; received {height}x{width}. "
                "mspfn_tf.Restorer takes pictures of any size"
            )
        return super().call(inputs, training=training, mask=mask)

    def export(
        self,
        filepath: str | os.PathLike,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """As `keras.Model.export`, also before the model has run for the first time.

        `mspfn_tf.export` writes the same formats with clipped results, and checks them.
        """
        if input_signature is None and format == "onnx":
            shape = self.inputs[0].shape
            input_signature = [keras.InputSpec(shape=shape, dtype="float32", name="rainy")]
        return super().export(
            filepath, format=format, verbose=verbose, input_signature=input_signature, **kwargs
        )

    def quantize(self, *arguments: Any, **options: Any) -> NoReturn:
        """Refused: Keras quantises layers that MSPFN has none of (it would warn of every layer, and
        change nothing).

        Raises:
            UsageError: always; the message names what to do instead.
        """
        raise UsageError(
            "Keras quantises Dense and Embedding layers only, and this network consists of convs: "
            "export it in 8 bits instead, mspfn_tf.export.export_litert(model, 'model.tflite', "
            "quantize='int8')"
        )

    @classmethod
    def from_preset(
        cls, preset: str | os.PathLike, load_weights: bool = True, **overrides: Any
    ) -> Self:
        """A model from a built-in preset, from a directory that training or `mspfn release` wrote,
        or from the Hugging Face Hub.

        Args:
            preset: a name in `mspfn_tf.PRESETS`, a directory with `config.json` and
                `model.weights.h5`, or `hf://owner/name` (see `mspfn_tf.hub.fetch`).
            load_weights: whether to load the weights; otherwise they are drawn at random.
            **overrides: arguments that differ from the preset's, such as `image_size` or `dtype`.
                The dtype that a directory was trained in is not taken over.

        Raises:
            UsageError (a ValueError): unknown name, no weights to load, or a weights file whose
                SHA-256 is not the one that the package was made with.
        """
        source = resolve(preset)
        if source.kind == "preset":
            arguments = {"name": source.name, **PRESETS[source.name]["arguments"], **overrides}
            with weights_to_come(load_weights):
                model = cls(**arguments)
            if load_weights:
                fill(model, weights_path(source.name))
            return model
        folder, weights = source.path, source.weights_file
        if source.kind != "folder" or folder is None or weights is None:
            raise UsageError(
                f"from_preset takes a preset ({', '.join(PRESETS)}) or a folder with config.json; "
                f"{preset} is neither. mspfn_tf.model_files.load_model takes files"
            )
        check_released(folder)
        config_file = folder / "config.json"
        arguments = arguments_in(config_file)
        if weights.is_file():
            check_declared(arguments, inspect_weights(weights), weights)
        try:
            with weights_to_come(load_weights):
                model = cls.from_config({**arguments, **overrides})
        except (ValueError, TypeError) as error:  # Keras has errors of its own
            raise UsageError(f"{config_file} describes no MSPFN: {error}") from error
        if load_weights:
            fill(model, weights)
        return model


def arguments_in(config_file: os.PathLike) -> dict[str, Any]:
    """The arguments of `MSPFN` in a `config.json`, without what weights do not depend on.

    Raises:
        UsageError: the file cannot be read or holds no arguments of `MSPFN`.
    """
    try:
        with open(config_file, encoding="utf-8") as file:
            config = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"cannot read {config_file}: {error}") from error
    name = config.get("class_name", "MSPFN") if isinstance(config, dict) else None
    if name not in (None, "MSPFN"):
        raise UsageError(f"{config_file} is of a model of class {name}; expected MSPFN")
    arguments = config.get("model", config.get("config", config)) if isinstance(config, dict) else 0
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise UsageError(f"{config_file} holds no arguments of MSPFN: expected a JSON object")
    return {key: value for key, value in arguments.items() if key not in STATE}


def _coarse_fusion(make, shallow, width, hidden, steps):
    """Recurrent features, coarse to fine (section 3.1); each scale also gets the coarser ones."""
    hidden = dict(zip(("quarter", "half", "full"), hidden or (None,) * 3, strict=True))

    def unit(entry, scale):
        y = make.recurrent_unit(entry, width, hidden[scale], steps, f"recurrent_{scale}")
        return make.add(y, shallow[scale], name=f"recurrent_{scale}_skip")

    return _coarse_to_fine(make, shallow, unit, "recurrent")


def _progressive_fusion_block(make, features, rcabs, stem, name):
    """One attention-guided fusion block, coarse to fine (section 3.2, figure 3)."""
    rcabs = dict(zip(("quarter", "half", "full"), rcabs, strict=True))

    def unit(entry, scale):
        # The quarter scale of a folded pyramid is 1/8 of the image already: it goes no lower, so
        # that multiples of 8 suffice.
        stride = 1 if scale == "quarter" and stem > 1 else 2
        y = make.attention_unit(entry, rcabs[scale], stride, f"{name}_{scale}")
        return make.add(features[scale], y, name=f"{name}_{scale}_skip")

    return _coarse_to_fine(make, features, unit, name)


def _coarse_to_fine(make, features, unit, name):
    """The scales one after the other through `unit(entry, scale)`, each with the coarser ones."""
    width = features["full"].shape[-1]
    quarter = unit(features["quarter"], "quarter")
    quarter_up = make.up(quarter, width, f"{name}_quarter_to_half")
    half = unit(make.add(features["half"], quarter_up, name=f"{name}_half_entry"), "half")
    full = unit(
        make.up_and_add(
            features["full"],
            {f"{name}_half_to_full": half, f"{name}_quarter_to_full": quarter_up},
            width,
            name=f"{name}_full_entry",
        ),
        "full",
    )
    return {"quarter": quarter, "half": half, "full": full}


def _reconstruction(make, fused, recurrent, width):
    """Merges the scales into the features of the rain layer (section 3.4)."""
    merged = {}
    for scale in fused:
        both = make.concatenate(fused[scale], recurrent[scale], name=f"merge_{scale}_concat")
        merged[scale] = make.conv(both, width, f"merge_{scale}")
    half = make.concatenate(
        make.up(merged["quarter"], width, "merge_quarter_to_half"),
        merged["half"],
        name="merge_half_to_full_concat",
    )
    full = make.concatenate(
        merged["full"],
        make.up(half, width, "merge_half_to_full"),
        name="reconstruction_concat",
    )
    return make.conv(full, width // 2, "reconstruction")


def _check_extent(width, blocks, rcabs, hidden, steps):
    """Refuses what would take minutes or gigabytes to build: arguments may come from a file."""
    units = blocks * (3 + sum(rcabs))
    weights = fewest_weights(
        {
            "width": width,
            "blocks": blocks,
            "rcabs": rcabs,
            "hidden": hidden,
            "recurrent_steps": steps,
        }
    )
    if weights > MOST_PARAMETERS or units > _MOST_UNITS or steps > MOST_STEPS:
        raise UsageError(
            f"a network of at least {weights:,} weights, {units:,} residual units and {steps} "
            f"recurrent steps is not built; at most {MOST_PARAMETERS:,}, {_MOST_UNITS} and "
            f"{MOST_STEPS} are"
        )


def _check_triple(name: str, value: Any, minimum: int) -> tuple[int, int, int]:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise UsageError(
            f"{name} must be three ints, for 1/4, 1/2 and 1/1; received {value!r} "
            f"of type {type(value).__name__}"
        )
    quarter, half, full = (check_int(f"{name}[{n}]", item, minimum) for n, item in enumerate(value))
    return quarter, half, full
