"""A folder of a model to give to others, or to upload to the Hugging Face Hub."""

import datetime
import json
import os
from pathlib import Path
from typing import Any

import keras

from mspfn_tf import __version__
from mspfn_tf.export.description import describe_source, open_source
from mspfn_tf.export.litert import export_litert
from mspfn_tf.export.onnx import export_onnx
from mspfn_tf.files import atomic_folder, sha256, writing
from mspfn_tf.presets import PRESETS, WEIGHTS, check_shipped_bytes, tflite_path
from mspfn_tf.released import DIGESTS
from mspfn_tf.source import ModelSource, Source, resolve
from mspfn_tf.weights_file import save_weights

PAPER = "https://arxiv.org/abs/2003.10985"


def write_release(
    source: ModelSource,
    folder: str | os.PathLike,
    card: dict[str, Any] | None = None,
    image_size: tuple[int, int] = (512, 512),
    calibration: str | os.PathLike | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes a model in the layout of keras-hub's presets, with the formats that others load.

    `config.json` (class and arguments), `model.weights.h5`, `metadata.json` (with the SHA-256 of
    the other files, which `MSPFN.from_preset` and `Restorer` compare), `model.tflite` (float16
    weights), `model.onnx`, `README.md` (the model card of the Hub) and `SHA256SUMS`.

    Args:
        source: preset name, directory of a model, `.keras` or `.weights.h5` file, or an `MSPFN`.
        folder: the folder to write.
        card: what the model card says: "training" and "scores", as in the cards of the shipped
            presets (`mspfn_tf/weights/*.json`). Default: the preset's own; empty for other models.
        image_size: (height, width) of the `.tflite` file. A preset's shipped one is taken as it is.
        calibration: folder of pictures to check the formats on. Default: those of the package.
        overwrite: whether an existing release may be replaced.

    Returns:
        dict of file names to SHA-256.

    Raises:
        UsageError: an argument breaks its rule, or the folder exists and `overwrite` is false, or
            holds something else.
        VerificationError: a format falls short. Nothing is written.
    """
    folder = Path(folder)
    found = resolve(source)
    if card is None:
        card = _shipped_card(found)
    with atomic_folder(folder, overwrite, "SHA256SUMS") as new, writing(folder, True):
        model = open_source(source)
        config = keras.saving.serialize_keras_object(model)
        config.pop("build_config", None)
        (new / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        weights = new / "model.weights.h5"
        if found.kind in ("preset", "weights") and found.weights_file is not None:
            _copy(found.weights_file, weights)  # so that its digest stays the same
        else:
            save_weights(model, weights, overwrite=True)
        shipped = tflite_path(found.name) if found.kind == "preset" else None
        if shipped is not None:
            _copy(shipped, new / "model.tflite")
        else:
            export_litert(model, new / "model.tflite", image_size, "float16", calibration)
            for name in ("model_uint8.tflite", "model.json"):
                (new / name).unlink()
        export_onnx(model, new / "model.onnx", calibration=calibration)
        (new / "model.json").unlink()
        names = ("config.json", "model.weights.h5", "model.tflite", "model.onnx")
        digests = {name: sha256(new / name) for name in names}
        metadata = {
            "keras_version": keras.__version__,
            "mspfn_tf_version": __version__,
            "parameter_count": model.count_params(),
            "date_saved": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d@%H:%M:%S"),
            DIGESTS: digests,
        }
        (new / "metadata.json").write_text(json.dumps(metadata, indent=1) + "\n")
        text = model_card(describe_source(source, model, (256, 256)), card)
        (new / "README.md").write_text(text, encoding="utf-8")
        for name in ("metadata.json", "README.md"):
            digests[name] = sha256(new / name)
        sums = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
        (new / "SHA256SUMS").write_text(sums)
    return digests


def _copy(source: Path, target: Path) -> None:
    """Copies a file of a model; what is shipped is compared with its SHA-256."""
    content = source.read_bytes()
    check_shipped_bytes(source, content)
    target.write_bytes(content)


def model_card(facts: dict[str, Any], card: dict[str, Any]) -> str:
    """The `README.md` of the Hub.

    Args:
        facts: what `describe_source` returns.
        card: "training" and "scores", either may be missing.
    """
    training, scores = card.get("training", {}), card.get("scores", {})
    lines = [
        "---",
        "library_name: keras",
        "pipeline_tag: image-to-image",
        "license: apache-2.0",
        "tags: [deraining, image-restoration, mspfn, litert, onnx]",
        "---",
        "",
        f"# {facts['model']}",
        "",
        f"Takes rain out of photographs: MSPFN ([Jiang et al., CVPR 2020]({PAPER})) in Keras 3.",
        f"{facts['parameters']:,} parameters, {facts['multiply_adds'] / 1e9:.2f} G multiply-adds "
        "for a picture of 256x256.",
        "",
        "```python",
        "import mspfn_tf",
        "",
        'restorer = mspfn_tf.Restorer("hf://OWNER/NAME")  # or the path of this folder',
        "clean = restorer(rainy)  # uint8 [H, W, 3], any size",
        'model = mspfn_tf.MSPFN.from_preset("hf://OWNER/NAME")  # to train on',
        "```",
        "",
        "Pictures are RGB in [0, 1], H and W multiples of 8 in the files themselves.",
        "",
        "| file | what |",
        "|---|---|",
        "| `config.json`, `model.weights.h5`, `metadata.json` | the Keras model |",
        "| `model.tflite` | LiteRT: `[1, H, W, 3]`, clipped |",
        "| `model.onnx` | ONNX: `[batch, 3, H, W]`, clipped |",
        "| `SHA256SUMS` | digests of all files: `sha256sum -c SHA256SUMS` |",
        "",
        "## Scores",
        "",
    ]
    if scores:
        lines += [
            "PSNR / SSIM of the Y channel (MATLAB's conversion, rounded pictures):",
            "",
            "| set | pictures | rainy | derained |",
            "|---|---|---|---|",
        ]
        for name, score in scores.items():
            told = " | ".join(_told(part) for part in (score["input"], score))
            lines.append(f"| {name} | {score['count']} | {told} |")
    else:
        lines.append("Not measured.")
    lines += ["", "## Training", ""]
    if training:
        lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in training.items()]
    else:
        lines.append("Not told.")
    terms = f": {training['licence_of_the_data']}" if "licence_of_the_data" in training else ""
    lines += [
        "",
        "## Licence",
        "",
        "Apache-2.0 holds for the code and the weights. What the weights were trained on has terms "
        f"of its own{terms}.",
        "",
    ]
    return "\n".join(lines)


def _told(score):
    psnr = score["psnr"]
    return f"{psnr if isinstance(psnr, str) else format(psnr, '.2f')} / {score['ssim']:.4f}"


def _shipped_card(source: Source) -> dict[str, Any]:
    if source.kind != "preset" or PRESETS[source.name]["weights"] is None:
        return {}
    return json.loads((WEIGHTS / f"{source.name}.json").read_text())
