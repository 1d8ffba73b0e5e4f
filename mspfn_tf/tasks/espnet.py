"""ESPNet, a small network for semantic segmentation, in Keras.

Mehta et al., "ESPNet: Efficient Spatial Pyramid of Dilated Convolutions for Semantic Segmentation",
ECCV 2018 (arXiv 1803.06815), with the light decoder of its section 3.3. Differentiable on every
backend, so that it can judge pictures while a deraining network trains.
"""

import json
import os
from pathlib import Path
from typing import Any, Self

import h5py
import keras
from keras import layers, ops

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write, writing
from mspfn_tf.weights_file import encoded_weights, inspect_weights

MULTIPLE_OF = 8
"""Height and width are multiples of this: the encoder works at an eighth of the size."""
CONFIG_ATTRIBUTE = "espnet_config"

_EPSILON = 1e-3
_DILATIONS = (2, 4, 8, 16)
# Colour statistics of CamVid that the published weights were trained with, levels 0..255, in the
# order blue, green, red. After that the authors divide by 255 once more.
_MEAN = (111.39, 109.45, 106.44)
_DEVIATION = (72.48, 73.20, 70.44)


@keras.saving.register_keras_serializable(package="mspfn_tf")
class ESPNet(keras.Model):
    """ESPNet with its decoder: pictures to class scores.

    Input: float32 `[batch, H, W, 3]`, RGB in [0, 1], H and W multiples of 8; the authors' colour
    normalisation is part of the network. Output: float32 `[batch, H, W, classes]`, scores before
    softmax.

    Args:
        classes: int, output channels. Default 12, as in the authors' weights for CamVid, whose last
            one stands for void.
        blocks: two ints, ESP modules at 1/4 and at 1/8 of the size (alpha_2 and alpha_3 in figure
            4 of the paper; p and q in the authors' files). Default (2, 8).
        image_size: (H, W) for a fixed size. Default None: any.
        name: name of the model.

    Raises:
        UsageError: an argument breaks its rule.
    """

    def __init__(
        self,
        classes: int = 12,
        blocks: tuple[int, int] = (2, 8),
        image_size: tuple[int, int] | None = None,
        name: str = "espnet",
    ):
        if isinstance(classes, bool) or not isinstance(classes, int) or classes < 5:
            # An ESP module splits its channels among five branches.
            raise UsageError(f"classes must be an int of at least 5; received {classes!r}")
        if len(blocks) != 2 or any(not isinstance(n, int) or n < 0 for n in blocks):
            raise UsageError(f"blocks must be two ints of at least 0; received {blocks!r}")
        height, width = image_size or (None, None)
        if any(side is not None and side % MULTIPLE_OF for side in (height, width)):
            raise UsageError(f"image_size must be multiples of {MULTIPLE_OF}; got {image_size!r}")
        image = keras.Input((height, width, 3), name="image", dtype="float32")

        x = ops.flip(image, axis=-1)
        x = layers.Rescaling(
            scale=[1 / deviation for deviation in _DEVIATION],
            offset=[-m / (255 * d) for m, d in zip(_MEAN, _DEVIATION, strict=True)],
            name="normalise",
        )(x)

        # === Encoder: 1/2, 1/4 and 1/8 of the size, each with the picture made as small ===
        picture_2 = _halved(x, "picture_half")
        picture_4 = _halved(picture_2, "picture_quarter")
        half = _activated(_conv(x, 16, "stem_conv", stride=2), "stem")
        half = _activated(layers.Concatenate()([half, picture_2]), "gather1")
        first = features = _esp(half, 64, "down2", stride=2)
        for index in range(blocks[0]):
            features = _esp(features, 64, f"esp2_{index}", residual=True)
        quarter = _activated(layers.Concatenate()([features, first, picture_4]), "gather2")
        first = features = _esp(quarter, 128, "down3", stride=2)
        for index in range(blocks[1]):
            features = _esp(features, 128, f"esp3_{index}", residual=True)
        eighth = _activated(layers.Concatenate()([first, features]), "gather3")

        # === Decoder: class scores of each scale, joined from coarse to fine ===
        coarse = _normalised(_conv(eighth, classes, "project3", kernel=1), "project3")
        coarse = _doubled(coarse, "up3")
        middle = _conv(quarter, classes, "project2", kernel=1)
        middle = _activated(layers.Concatenate()([middle, coarse]), "merge2")
        middle = _esp(middle, classes, "merge2_esp")
        middle = _activated(_doubled(middle, "up2"), "up2")
        fine = layers.Concatenate()([middle, half])
        fine = _activated(_conv(fine, classes, "merge1_conv"), "merge1")
        super().__init__(image, _doubled(fine, "classifier"), name=name)
        self.classes = classes
        self.blocks = tuple(blocks)
        self.image_size = image_size

    def get_config(self) -> dict[str, Any]:
        return {
            "classes": self.classes,
            "blocks": list(self.blocks),
            "image_size": self.image_size,
            "name": self.name,
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        return cls(**{**config, "blocks": tuple(config["blocks"])})

    def features(self) -> keras.Model:
        """A `keras.Model` from pictures to what the encoder sees, at 1/4 and 1/8 of the size."""
        return keras.Model(
            self.inputs, [self.get_layer(f"gather{n}_act").output for n in (2, 3)], name="features"
        )


def save_espnet(model: ESPNet, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Writes the weights, and what network they belong to, to a `.weights.h5` file.

    Raises:
        UsageError: wrong suffix, the file cannot be written, or it exists and `overwrite` is false.
    """
    if not str(path).endswith(".weights.h5"):
        raise UsageError(f"a weights file must end in .weights.h5; received {path}")
    with atomic_write(path, overwrite) as temporary, writing(path):
        temporary.write_bytes(encoded_weights(model, CONFIG_ATTRIBUTE).getbuffer())


def load_espnet(path: str | os.PathLike) -> ESPNet:
    """The network in a file that `save_espnet` (or tools/convert_espnet.py) wrote.

    Raises:
        UsageError: no such file, not weights of ESPNet, or fewer than the network has that it
            declares.
    """
    path = Path(path)
    held = inspect_weights(path, finite=True).weights
    try:
        with h5py.File(path, "r") as file:
            config = json.loads(file.attrs[CONFIG_ATTRIBUTE])
        # Fewer than there are: the smallest of the kernels that grow with each number.
        if 7_000 * sum(config["blocks"]) + 256 * config["classes"] > held:
            raise ValueError(f"it declares a larger network than its {held:,} weights make")
        model = ESPNet.from_config(config)
        model.load_weights(path)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UsageError(
            f"{path}: no weights of ESPNet ({error}); tools/convert_espnet.py makes such a file "
            "from the authors' PyTorch weights"
        ) from error
    return model


def _conv(x, channels, name, kernel=3, stride=1, dilation=1):
    if stride > 1:
        # One pixel on every side, as the authors pad; `same` would pad only right and below.
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(
        channels,
        kernel,
        strides=stride,
        dilation_rate=dilation,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        name=name,
    )(x)


def _normalised(x, name):
    return layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(x)


def _activated(x, name):
    x = _normalised(x, name)
    return layers.PReLU(shared_axes=[1, 2], name=f"{name}_act")(x)


def _halved(x, name):
    x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    return layers.AveragePooling2D(3, 2, name=name)(x)


def _doubled(x, name):
    return layers.Conv2DTranspose(x.shape[-1], 2, strides=2, use_bias=False, name=name)(x)


def _esp(x, channels, name, stride=1, residual=False):
    """ESP module (section 3.1): reduce, dilated convs side by side, joined by running sums."""
    share = channels // 5
    reduced = _conv(x, share, f"{name}_reduce", kernel=3 if stride > 1 else 1, stride=stride)
    plain = _conv(reduced, channels - 4 * share, f"{name}_d1")
    branches, total = [plain], None
    for dilation in _DILATIONS:
        branch = _conv(reduced, share, f"{name}_d{dilation}", dilation=dilation)
        # The sums take away the grid pattern of large dilations (hierarchical feature fusion).
        total = branch if total is None else layers.Add()([total, branch])
        branches.append(total)
    joined = layers.Concatenate()(branches)
    if residual:
        joined = layers.Add()([x, joined])
    return _activated(joined, name)
