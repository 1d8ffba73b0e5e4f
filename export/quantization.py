"""From a float32 .tflite file to one with 8-bit weights, or with 8-bit arithmetic throughout.

By ai-edge-quantizer: on CPUs its files ran two to three times faster than those that TensorFlow's
own converter quantises.
"""

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from mspfn_tf.errors import UsageError
from mspfn_tf.export import litert_file
from mspfn_tf.quiet import native_quiet

STAYS_FLOAT = ("SUB", "INPUT", "OUTPUT", "MEAN")
"""The last subtraction, image minus rain layer, and with it input and output: an error there would
show in the picture. Global means: XNNPACK's 8-bit ones are wrong, by up to all of the range, after
an interpreter was resized."""

RAIN_LAYER = r".*/rain(_\d+)?/.*"
"""The last convolution, whose output is subtracted from the image. With float weights in it alone
`mspfn_mobile` agrees by 3.6 dB more at 64x64 with 8-bit weights elsewhere, for 5 kB."""

RANGE_MARGIN = 1.4
"""How much wider than on the calibration pictures values may become. Pictures of heavier rain than
any of those overflow otherwise: on such, a margin of 1.25 raised the agreement from 24..33 to 50 dB
and more, and cost 2 dB on the pictures themselves; 1.4 agrees as well, to 0.3 dB."""


@contextlib.contextmanager
def _quietly():
    """Without the quantizer's bars, which ask for no terminal, and LiteRT's notes."""
    with native_quiet(), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        # The interpreter warns of the memory that watching every tensor takes.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        yield


@_quietly()
def dynamic_range(content: bytes) -> bytes:
    """8-bit weights but in `RAIN_LAYER`; activations are quantised as the file runs."""
    package = _package()
    worker = package.quantizer.Quantizer(content, package.recipe.dynamic_wi8_afp32())
    _keep_float(worker, RAIN_LAYER, "CONV_2D")
    return _quantize(worker)


@_quietly()
def full_integer(
    content: bytes, signature: str, samples: Sequence[Mapping[str, np.ndarray]]
) -> bytes:
    """8-bit weights and activations, with ranges calibrated on `samples`.

    Args:
        content: bytes of the float32 file.
        signature: the only one of the file.
        samples: dicts of what its inputs are given, by name.
    """
    worker = _static(content)
    ranges = {}
    for sample in samples:
        found = worker.calibrate(
            {signature: [sample]},
            num_threads=2,
            mode=_package().calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
        )
        for name, limits in found.items():
            known = ranges.setdefault(name, limits)
            if limits:
                ranges[name] = _widened(known, limits)
    ranges = {
        name: {end: value * RANGE_MARGIN for end, value in limits.items()}
        for name, limits in ranges.items()
    }
    return litert_file.with_integer_depth_to_space(_quantize(worker, ranges))


def _widened(known, limits):
    low = np.minimum(known["min"], limits["min"])
    high = np.maximum(known["max"], limits["max"])
    # A ReLU that never fires has no range, but needs a scale that the kernels accept.
    return {"min": low, "max": np.where(high - low < 1e-6, low + 1, high)}


def _static(content):
    package = _package()
    worker = package.quantizer.Quantizer(content, package.recipe.static_wi8_ai8())
    for operation in STAYS_FLOAT:
        _keep_float(worker, ".*", operation)
    return worker


def _keep_float(worker, names, operation):
    package = _package()
    worker.update_quantization_recipe(
        names,
        package.qtyping.TFLOperationName[operation],
        algorithm_key=package.algorithm_manager.AlgorithmName.NO_QUANTIZE,
    )


def _quantize(worker, ranges=None):
    result = worker.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _package():
    try:
        import ai_edge_quantizer
    except ImportError as error:
        raise UsageError(
            'quantisation to 8 bits needs ai-edge-quantizer: pip install "mspfn_tf[int8]" '
            f"({error})"
        ) from error
    return ai_edge_quantizer
