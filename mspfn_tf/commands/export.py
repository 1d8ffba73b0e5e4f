"""`mspfn export`: a SavedModel for servers, LiteRT files for phones, ONNX or OpenVINO files for
other programs, checked after writing."""

import argparse
import sys

from mspfn_tf.commands.arguments import EXPORT_STATUS, add_keras_model, keras_source, parse_size
from mspfn_tf.errors import UsageError

HELP = "export a SavedModel, LiteRT, ONNX or OpenVINO files, and check them against the model"

EXIT_STATUS = EXPORT_STATUS

FORMATS = ("saved_model", "litert", "onnx", "openvino")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    add_keras_model(parser)
    parser.add_argument(
        "--output",
        required=True,
        help="the SavedModel directory, or the .tflite, .onnx or .xml (openvino) file",
    )
    parser.add_argument(
        "--image_size",
        type=parse_size,
        metavar="HxW",
        help="litert: the fixed size, multiples of 8 (default: 256x256)",
    )
    parser.add_argument(
        "--quantize",
        choices=("none", "float16", "dynamic", "int8"),
        help="litert, onnx, openvino: none (float32, the default) or float16 weights; litert also: "
        "dynamic (8-bit weights) or int8 (8-bit arithmetic)",
    )
    parser.add_argument(
        "--layout",
        choices=("nchw", "nhwc"),
        help="onnx, openvino: order of the axes of pictures (default: nchw)",
    )
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        help="rainy pictures, or pairs in DIR/input and DIR/target, to calibrate and compare on "
        "(default: the sample pictures of the package)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    parser.add_argument(
        "--force",
        action="store_true",
        help="keep an export that falls short of the bounds; its .json says so",
    )


def run(arguments: argparse.Namespace) -> int:
    options = {
        "source": keras_source(arguments),
        "output": arguments.output,
        "calibration": arguments.calibration,
        "overwrite": arguments.overwrite,
        "force": arguments.force,
    }
    for name, formats, why in (
        ("image_size", ("litert",), "the others take any size"),
        ("quantize", ("litert", "onnx", "openvino"), "a SavedModel is float32"),
        ("layout", ("onnx", "openvino"), "the others are NHWC"),
    ):
        value = getattr(arguments, name)
        if value is None:
            continue
        if arguments.format not in formats:
            raise UsageError(f"--{name} is for --format {' or '.join(formats)}: {why}")
        options[name] = value
    if arguments.format == "litert":
        options["ask_accelerators"] = True
    from mspfn_tf import export as exports

    export = getattr(exports, f"export_{arguments.format}")
    try:
        description = export(**options)
    except exports.VerificationError as error:
        print(f"mspfn export: {error}", file=sys.stderr)
        return 1
    for problem in description["problems"]:
        print(f"mspfn export: kept although: {problem}", file=sys.stderr)
    print("\n".join(_summary(arguments.output, description)))
    return 0


def _summary(output, description):
    parity = description["parity"]
    if description["format"] != "litert":
        yield f"{output}: {description['bytes'] / 1e6:.1f} MB"
    else:
        for file in description["files"].values():
            yield f"{file['file']}: {file['dtype']} pictures, {file['bytes'] / 1e6:.1f} MB"
        for name, found in description.get("accelerators", {}).items():
            yield f"on the {name.upper()}: {_extent(found)}"
    yield (
        f"compared with {description['model']} on {parity['pictures']} pictures: largest "
        f"difference {parity['max_error']:.2g}, agreement {parity['agreement_db']:.1f} dB"
    )
    if parity["psnr_loss_db"] is not None:
        yield f"PSNR against the truth falls by {parity['psnr_loss_db']:.3f} dB"


def _extent(accelerator):
    if not accelerator["available"]:
        return f"not tried ({accelerator['reason']})"
    device = f" ({accelerator['device']})" if "device" in accelerator else ""
    if accelerator["all_operators"]:
        return f"LiteRT's accelerator takes all operators{device}"
    names = ", ".join(accelerator["left_over"]) or "it does not say which"
    return f"LiteRT's accelerator leaves some operators over: {names}{device}"
