"""Puts trained weights into the package: what `mspfn_tf/weights/` holds is made by this program.

    python -m tools.release PRESET --weights TRAINED.weights.h5 --training TRAINING.json
    python -m tools.release PRESET --scores Rain100H=scores.json --scores Rain800=scores.json

The first form writes `<preset>.weights.h5` (float16), what is made from it and compared with it
(`<preset>.tflite`; for browsers `<preset>.float32.tflite`; for large pictures on processors
`<preset>.tiles.tflite`; both with 8-bit arithmetic, `<preset>.int8.tflite` and
`<preset>.int8.tiles.tflite`; for OpenVINO `<preset>.xml` and `<preset>.bin`), and the model card
`<preset>.json`, without scores. The second adds scores to the card: `scores.json` files that
`mspfn evaluate --preset PRESET` wrote with these very weights.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

from mspfn_tf import presets
from mspfn_tf.commands.arguments import parse_size
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write, sha256

IMAGE_SIZE = (512, 512)
"""Of the LiteRT file, which is what a phone or the page takes at once; `Restorer` resizes it."""
INT8_SIZE = (256, 256)
"""Of the files with 8-bit arithmetic: most calibration pictures are smaller than the other size."""


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset", metavar="PRESET")
    parser.add_argument("--weights", help="trained weights; the ones shipped so far are replaced")
    parser.add_argument("--training", help="JSON of what the card says of the training")
    parser.add_argument("--scores", action="append", default=[], metavar="SET=FILE")
    parser.add_argument("--image_size", type=parse_size, default=IMAGE_SIZE, metavar="HxW")
    parser.add_argument("--quantize", default="float16", help="of the .tflite (default: float16)")
    parser.add_argument(
        "--calibration",
        help="pictures or pairs to calibrate 8-bit arithmetic on, and to compare all files on",
    )
    arguments = parser.parse_args(argv)
    if wrong := [text for text in arguments.scores if "=" not in text]:
        parser.error(f"--scores {wrong[0]}: expected SET=FILE, such as Rain800=scores.json")
    try:
        preset = presets.known_preset(arguments.preset)
        if arguments.weights is not None:
            ship_weights(
                preset,
                arguments.weights,
                arguments.image_size,
                arguments.quantize,
                arguments.calibration,
            )
        if arguments.training is not None:
            add_to_card(preset, {"training": json.loads(Path(arguments.training).read_text())})
        if arguments.scores:
            scores = dict(text.split("=", 1) for text in arguments.scores)
            add_scores(preset, scores)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(card_path(preset).read_text())
    return 0


def ship_weights(preset, trained, image_size=IMAGE_SIZE, quantize="float16", calibration=None):
    """Writes weights, LiteRT file and card of `preset` from the file `trained`.

    Raises:
        UsageError: `trained` does not belong to the network of the preset.
        VerificationError: the LiteRT file falls short; nothing is replaced then.
    """
    from mspfn_tf.export.litert import export_litert
    from mspfn_tf.model_files import load_model
    from mspfn_tf.weights_file import save_weights
    from mspfn_tf.whole_picture import goes_coarse_first

    model = load_model(trained)
    _check_arguments(preset, model)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, f"{preset}.weights.h5")
        save_weights(model, weights, dtype="float16")
        files, entry = [weights], {"file": weights.name, "sha256": sha256(weights)}
        for key, name, size, kind in (
            (presets.LITERT["float16"], f"{preset}.tflite", image_size, quantize),
            (presets.LITERT["float32"], f"{preset}.float32.tflite", image_size, "none"),
            (presets.INT8, f"{preset}.int8.tflite", INT8_SIZE, "int8"),
        ):
            lite = Path(folder, name)
            description = export_litert(weights, lite, size, kind, calibration)
            files.append(lite)
            entry[key] = {
                "file": name,
                "sha256": sha256(lite),
                "image_size": list(size),
                "quantization": kind,
                "parity": description["parity"],
            }
        if goes_coarse_first(model):
            for key, whole, size, kind in (
                (presets.TILES, f"{preset}.tflite", image_size, "float16"),
                (presets.INT8_TILES, f"{preset}.int8.tflite", INT8_SIZE, "int8"),
            ):
                tiles = Path(folder, whole.replace(".tflite", ".tiles.tflite"))
                arguments = weights, Path(folder, whole), tiles, size, kind, calibration
                entry[key] = _tiles(*arguments)
                files.append(tiles)
        graphs, entries = _openvino(preset, weights, calibration)
        presets.WEIGHTS.mkdir(exist_ok=True)
        for file in (*files, *graphs):
            with atomic_write(presets.WEIGHTS / file.name, overwrite=True) as temporary:
                shutil.copyfile(file, temporary)
    _write_card(preset, {"weights": {**entry, **entries}})


def _tiles(weights, lite, path, image_size, kind, calibration):
    """Writes the LiteRT file for tiles and returns its entry in the card.

    Raises:
        VerificationError: it falls short.
    """
    from mspfn_tf.export.calibration import SAMPLE, read_patches
    from mspfn_tf.export.litert import calibration_patches, convert_tiles
    from mspfn_tf.export.verification import check_tiles, verdict
    from mspfn_tf.model_files import load_model

    model = load_model(weights)  # in float16
    folder, calibrate_on = SAMPLE if calibration is None else calibration, []
    if kind == "int8":
        calibrate_on, _ = calibration_patches(folder, image_size)
    path.write_bytes(convert_tiles(model, image_size, kind, calibrate_on))
    patches = read_patches(folder, (256, 256), count=4)
    verified = verdict(check_tiles(model, (lite, path), kind, patches), path, force=False)
    return {
        "file": path.name,
        "sha256": sha256(path),
        "quantization": kind,
        "parity": verified["parity"],
    }


def _openvino(preset, weights, calibration):
    """The OpenVINO files, made in a folder beside `weights`, and their entries in the card."""
    from mspfn_tf.export.openvino import export_openvino

    graph = weights.parent / "openvino" / f"{preset}.xml"
    graph.parent.mkdir()
    parity = export_openvino(weights, graph, quantize="float16", calibration=calibration)["parity"]
    files = (graph, graph.with_suffix(".bin"))
    entries = [{"file": file.name, "sha256": sha256(file)} for file in files]
    entries[0] |= {"quantization": "float16", "parity": parity}
    return files, dict(zip(presets.OPENVINO, entries, strict=True))


def add_scores(preset, files):
    """Adds scores to the card of `preset`.

    Args:
        preset: its name.
        files: dict, test set -> path of a `scores.json`.

    Raises:
        UsageError: the scores are those of other weights, or infinite.
    """
    card = json.loads(card_path(preset).read_text())
    scores = {}
    for name, path in files.items():
        found = json.loads(Path(path).read_text())
        if found["weights_sha256"] != card["weights"]["sha256"]:
            raise UsageError(f"{path} was measured with other weights than {preset} ships")
        if found["output"]["psnr"] == "inf":
            raise UsageError(
                f"{path}: pictures that equal their target make the mean infinite; leave them out"
            )
        scores[name] = {
            **found["output"],
            "input": found["input"],
            "output_rgb": found["output_rgb"],
            "protocol": found["protocol"],
            "count": found["count"],
        }
    add_to_card(preset, {"scores": {**card.get("scores", {}), **scores}})


def add_to_card(preset, entries):
    """Replaces `entries` of the card. What training says of its data stands with the weights."""
    card = json.loads(card_path(preset).read_text())
    card.update(entries)
    if "training_data" in entries.get("training", {}):
        card["weights"]["training_data"] = entries["training"]["training_data"]
    _write_card(preset, card)


def card_path(preset):
    return presets.WEIGHTS / f"{preset}.json"


def _write_card(preset, card):
    with atomic_write(card_path(preset), overwrite=True) as temporary:
        temporary.write_text(json.dumps(card, indent=1) + "\n")


def _check_arguments(preset, model):
    from mspfn_tf.model import MSPFN

    expected = MSPFN.from_preset(preset, load_weights=False).get_config()
    received = model.get_config()
    wrong = [
        f"{key}={received[key]!r} (expected {value!r})"
        for key, value in expected.items()
        if key not in ("name", "image_size") and received[key] != value
    ]
    if wrong:
        raise UsageError(f"these are not weights of {preset}: {', '.join(wrong)}")


if __name__ == "__main__":
    sys.exit(main())
