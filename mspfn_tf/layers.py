"""The parts of MSPFN: what Keras has no layer for, and the blocks of the paper as functions.

Only `keras.layers` and `keras.ops` are used, so the parts run on every Keras backend.
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers, ops

Tensor: TypeAlias = Any
"""A tensor of whichever backend runs, or a Keras tensor: they have no type in common."""

DType: TypeAlias = str | keras.DTypePolicy | None

_drawn = contextvars.ContextVar("drawn", default=True)


@contextlib.contextmanager
def weights_to_come(coming: bool = True) -> Iterator[None]:
    """Within it kernels are zeros at first, for networks whose weights are about to be loaded.

    To draw them, JAX compiles a program for each of their shapes: half a minute, for nothing.
    """
    token = _drawn.set(not coming)
    try:
        yield
    finally:
        _drawn.reset(token)


def _initializer(wanted: Any) -> Any:
    return wanted if _drawn.get() else "zeros"


@keras.saving.register_keras_serializable(package="mspfn_tf")
class SpaceToDepth(layers.Layer):
    """Folds `factor` x `factor` pixels into channels: [b, h, w, c] -> [b, h/f, w/f, c*f*f]."""

    def __init__(self, factor: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Tensor) -> Tensor:
        return ops.space_to_depth(x, self.factor)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, channels = input_shape
        sides = [None if side is None else side // self.factor for side in sides]
        return (batch, *sides, channels and channels * self.factor**2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="mspfn_tf")
class DepthToSpace(layers.Layer):
    """Unfolds channels into `factor` x `factor` pixels (Shi et al. 2016, eq. 4).

    Of several tensors of one shape, their sum is unfolded.
    """

    def __init__(self, factor: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x: Tensor | list[Tensor]) -> Tensor:
        if isinstance(x, list):
            x = functools.reduce(ops.add, x)
        return ops.depth_to_space(x, self.factor)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...] | list[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        if isinstance(input_shape, list):
            input_shape = input_shape[0]
        batch, *sides, channels = input_shape
        sides = [None if side is None else side * self.factor for side in sides]
        return (batch, *sides, channels and channels // self.factor**2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="mspfn_tf")
class GlobalMean(layers.Layer):
    """Mean over rows, then over columns: [b, h, w, c] -> [b, 1, 1, c].

    Equal to the mean over both at once, but no sum runs over more than one side, so that float16
    accumulators on phones do not overflow.
    """

    def call(self, x: Tensor) -> Tensor:
        return ops.mean(ops.mean(x, axis=1, keepdims=True), axis=2, keepdims=True)

    def get_config(self) -> dict[str, Any]:
        return super().get_config()  # Keras' own fails where `dtype` was given as a policy


@keras.saving.register_keras_serializable(package="mspfn_tf")
class ConvLSTM(layers.Layer):
    """A convolutional LSTM cell (Shi et al. 2015), run `steps` times on one input from zero.

    With gates i, j, f, o, each a 3x3 conv of the input plus a 3x3 conv of the hidden state h:

        c' = c * sigmoid(f + 1) + sigmoid(i) * tanh(j),   h' = tanh(c') * sigmoid(o)

    In the first step c and h are zero, so the forget gate and every kernel on the hidden state
    have no effect on the output. With `steps=1` they are therefore not built.

    Args:
        filters: channels of the hidden state.
        steps: how often the cell runs. Default 1, as in the published graph.
        activation: "tanh", or "relu" for phones (int8 and float16 friendly).
        kernel_initializer: of all kernels.
    """

    def __init__(
        self,
        filters: int,
        steps: int = 1,
        activation: str = "tanh",
        kernel_initializer: str | dict[str, Any] | keras.Initializer = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.steps = steps
        self.activation = activation
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.gates = ["input", "candidate", "output"]
        if steps > 1:
            self.gates.insert(2, "forget")
        self.input_convs = {gate: self._conv(gate, use_bias=True) for gate in self.gates}
        self.hidden_convs = {}
        if steps > 1:
            self.hidden_convs = {g: self._conv(f"{g}_hidden", use_bias=False) for g in self.gates}

    def _conv(self, name, use_bias):
        return layers.Conv2D(
            self.filters,
            3,
            padding="same",
            use_bias=use_bias,
            kernel_initializer=_initializer(self.kernel_initializer.clone()),
            dtype=self.dtype_policy,
            trainable=self.trainable,  # set later, Keras passes it on; given at once, it does not
            name=name,
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for conv in self.input_convs.values():
            conv.build(input_shape)
        for conv in self.hidden_convs.values():
            conv.build((*input_shape[:-1], self.filters))

    def call(self, x: Tensor) -> Tensor:
        activation = keras.activations.get(self.activation)
        from_input = {gate: conv(x) for gate, conv in self.input_convs.items()}
        gate = from_input
        cell = ops.sigmoid(gate["input"]) * activation(gate["candidate"])
        hidden = activation(cell) * ops.sigmoid(gate["output"])
        for _ in range(1, self.steps):
            gate = {g: from_input[g] + conv(hidden) for g, conv in self.hidden_convs.items()}
            cell = cell * ops.sigmoid(gate["forget"] + 1.0) + ops.sigmoid(
                gate["input"]
            ) * activation(gate["candidate"])
            hidden = activation(cell) * ops.sigmoid(gate["output"])
        return hidden

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "steps": self.steps,
            "activation": self.activation,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="mspfn_tf")
class Smooth(layers.Layer):
    """Filters every channel with the binomial kernel (1 2 1) x (1 2 1) / 16, zero padding.

    After a doubling it cancels whatever offset there is between the four sub-pixels, which would
    stand in the picture as a mesh (Sugawara et al. 2019). It has no weights.
    """

    def call(self, x: Tensor) -> Tensor:
        line = np.array([0.25, 0.5, 0.25], "float32")
        kernel = np.tile(np.outer(line, line)[:, :, None, None], (1, 1, x.shape[-1], 1))
        kernel = ops.cast(ops.convert_to_tensor(kernel), x.dtype)
        return ops.depthwise_conv(x, kernel, padding="same")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config()  # as that of `GlobalMean`


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The blocks of the network as functions of Keras tensors, in one style.

    Attributes:
        activation: "prelu" (the paper: convs without bias outside the attention blocks, one slope
            per channel) or "relu" (phones: convs with bias, ReLU also inside the ConvLSTM).
        upsampling: how a scale is doubled. "transposed": stride-2 transposed 3x3 conv (the paper).
            "subpixel": 1x1 conv to four times the channels, depth to space. "smooth": the same,
            then `Smooth`. "nearest": 3x3 conv, then every pixel four times.
        reduction: channel reduction inside the attention; None leaves the attention out.
        dtype: dtype or dtype policy of the layers.
        context: [b, 1, 1, c] from which all attention is drawn; None: each block's own means.
    """

    activation: str
    upsampling: str
    reduction: int | None
    dtype: DType = None
    context: keras.KerasTensor | None = None

    def activate(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        if self.activation == "relu":
            return layers.ReLU(dtype=self.dtype, name=f"{name}_relu")(x)
        return layers.PReLU(shared_axes=[1, 2], dtype=self.dtype, name=f"{name}_prelu")(x)

    def conv(
        self,
        x: keras.KerasTensor,
        filters: int,
        name: str,
        stride: int = 1,
        activate: bool = True,
        use_bias: bool | None = None,
        size: int = 3,
        dtype: DType = None,
        kernel_initializer: str | keras.Initializer = "glorot_uniform",
    ) -> keras.KerasTensor:
        """`size` x `size` conv, and the activation unless `activate` is false."""
        y = layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="same",
            use_bias=self.activation == "relu" if use_bias is None else use_bias,
            kernel_initializer=_initializer(kernel_initializer),
            dtype=dtype or self.dtype,
            name=name,
        )(x)
        return self.activate(y, name) if activate else y

    def up(self, x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
        """Doubles height and width."""
        use_bias = self.activation == "relu"
        if self.upsampling == "transposed":
            y = layers.Conv2DTranspose(
                filters,
                3,
                strides=2,
                padding="same",
                use_bias=use_bias,
                kernel_initializer=_initializer("glorot_uniform"),
                dtype=self.dtype,
                name=name,
            )(x)
            return self.activate(y, name)
        if self.upsampling in ("subpixel", "smooth"):
            return self._unfold(self.conv(x, 4 * filters, name, size=1), name)
        # Four copies of each pixel, unfolded: what UpSampling2D does, in ops that phones run.
        y = self.conv(x, filters, name)
        return self._unfold(self.concatenate(y, y, y, y, name=f"{name}_copies"), name)

    def _unfold(self, x, name):
        y = DepthToSpace(2, dtype=self.dtype, name=f"{name}_depth_to_space")(x)
        if self.upsampling == "smooth":
            y = Smooth(dtype=self.dtype, name=f"{name}_smooth")(y)
        return y

    def up_and_add(
        self,
        finer: keras.KerasTensor,
        coarser: dict[str, keras.KerasTensor],
        filters: int,
        name: str,
    ) -> keras.KerasTensor:
        """`finer` plus what `coarser` holds, doubled, each by convs of its name."""
        if self.upsampling not in ("subpixel", "smooth"):
            doubled = [self.up(x, filters, its_name) for its_name, x in coarser.items()]
            return self.add(finer, *doubled, name=name)
        # Unfolding and smoothing are linear: done once, for the sum. That is no layer of its own:
        # the order of layers, by which files of weights go, follows from their depth.
        folded = [self.conv(x, 4 * filters, its_name, size=1) for its_name, x in coarser.items()]
        return self.add(finer, self._unfold(folded, name), name=name)

    def add(self, *tensors: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return layers.Add(dtype=self.dtype, name=name)(list(tensors))

    def concatenate(self, *tensors: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return layers.Concatenate(dtype=self.dtype, name=name)(list(tensors))

    def picture_context(
        self, features: dict[str, keras.KerasTensor], filters: int, name: str
    ) -> keras.KerasTensor:
        """What all attention is drawn from: global means of the features of every scale."""
        means = []
        for scale, x in features.items():
            y = self.conv(x, filters, f"{name}_{scale}", stride=2)
            means.append(GlobalMean(dtype=self.dtype, name=f"{name}_{scale}_mean")(y))
        y = self.concatenate(*means, name=f"{name}_concat")
        return self.conv(y, filters, name, use_bias=True, size=1)

    def channel_attention(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Scales each channel by a number in (0, 1) drawn from all channels' global means."""
        filters = x.shape[-1]
        y = self.context
        if y is None:
            y = GlobalMean(dtype=self.dtype, name=f"{name}_mean")(x)
        y = self.conv(y, filters // self.reduction, f"{name}_squeeze", use_bias=True, size=1)
        y = self.conv(y, filters, f"{name}_excite", use_bias=True, size=1, activate=False)
        y = layers.Activation("sigmoid", dtype=self.dtype, name=f"{name}_sigmoid")(y)
        return layers.Multiply(dtype=self.dtype, name=f"{name}_scale")([x, y])

    def rcab(self, x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        """Residual channel attention block (Zhang et al. 2018; MSPFN section 3.2)."""
        filters = x.shape[-1]
        y = self.conv(x, filters, f"{name}_conv1", use_bias=True)
        y = self.conv(y, filters, f"{name}_conv2", use_bias=True, activate=False)
        if self.reduction is not None:
            y = self.channel_attention(y, f"{name}_attention")
        return self.add(x, y, name=f"{name}_add")

    def attention_unit(
        self, entry: keras.KerasTensor, rcabs: int, stride: int, name: str
    ) -> keras.KerasTensor:
        """Down by `stride`, `rcabs` RCABs, up again: what a fusion block adds to one scale."""
        filters = entry.shape[-1]
        down = self.conv(entry, filters, f"{name}_down", stride=stride)
        y = down
        for n in range(1, rcabs + 1):
            y = self.rcab(y, f"{name}_rcab{n}")
        y = self.concatenate(down, y, name=f"{name}_concat")
        if stride == 1:
            return self.conv(y, filters, f"{name}_up")
        return self.up(y, filters, f"{name}_up")

    def recurrent_unit(
        self, entry: keras.KerasTensor, width: int, hidden: int | None, steps: int, name: str
    ) -> keras.KerasTensor:
        """Narrow conv, ConvLSTM, conv back: what the coarse fusion adds to one scale."""
        y = self.conv(entry, width // 2, f"{name}_in")
        if hidden:
            relu = self.activation == "relu"
            y = ConvLSTM(
                hidden,
                steps,
                activation="relu" if relu else "tanh",
                kernel_initializer="glorot_uniform"
                if relu
                else keras.initializers.TruncatedNormal(stddev=1e-3),
                dtype=self.dtype,
                name=f"{name}_convlstm",
            )(y)
        return self.conv(y, width, f"{name}_out")
