"""Writes the result tables of the documentation from `scores.json` files and published figures.

    python -m tools.result_tables [--results DIR] FILE.md...

`--results` (default: `docs/results`) holds one folder per test set, in which each file is a
`scores.json` of `mspfn evaluate`, renamed: `Rain100H/mspfn_mobile.json`. In the Markdown files what
stands between `<!-- begin generated: results -->` and `<!-- end generated: results -->` is
replaced.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mspfn_tf import presets
from mspfn_tf.errors import UsageError
from mspfn_tf.source import resolve
from tools.markdown import header, row_of, update_command

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
SETS = ("Test100", "Rain100H", "Rain100L", "Test2800", "Test1200")
_RAIN13K = "13,700 pairs of three synthetic sets"
_COMPARISON = "as compared in Zamir et al., CVPR 2021"


@dataclass(frozen=True)
class Published:
    """Figures of others, measured in the luma of MATLAB's rgb2ycbcr; `{set: (PSNR, SSIM)}`."""

    method: str
    training: str
    source: str
    scores: dict[str, tuple[float, float | None]]


def _on_all_sets(*scores):
    return dict(zip(SETS, scores, strict=True))


PUBLISHED = (
    Published(
        "DerainNet",
        _RAIN13K,
        _COMPARISON,
        _on_all_sets(
            (22.77, 0.810), (14.92, 0.592), (27.03, 0.884), (24.31, 0.861), (23.38, 0.835)
        ),
    ),
    Published(
        "UMRL",
        _RAIN13K,
        _COMPARISON,
        _on_all_sets(
            (24.41, 0.829), (26.01, 0.832), (29.18, 0.923), (29.97, 0.905), (30.55, 0.910)
        ),
    ),
    Published(
        "RESCAN",
        _RAIN13K,
        _COMPARISON,
        _on_all_sets(
            (25.00, 0.835), (26.36, 0.786), (29.80, 0.881), (31.29, 0.904), (30.51, 0.882)
        ),
    ),
    Published(
        "PReNet",
        _RAIN13K,
        _COMPARISON,
        _on_all_sets(
            (24.81, 0.851), (26.77, 0.858), (32.44, 0.950), (31.75, 0.916), (31.36, 0.911)
        ),
    ),
    Published(
        "PReNet, its own weights",
        "RainTrainH, the training pairs of Rain100H",
        "Ren et al., CVPR 2019; their released weights, measured again",
        {"Rain100H": (29.448, 0.8979)},
    ),
    Published(
        "MSPFN",
        _RAIN13K,
        "Jiang et al., CVPR 2020",
        _on_all_sets(
            (27.50, 0.876), (28.66, 0.860), (32.40, 0.933), (32.82, 0.930), (32.39, 0.916)
        ),
    ),
    Published(
        "MSPFN, the authors' released weights",
        _RAIN13K,
        "measured by users: github.com/kuijiang94/MSPFN, issues 7 and 21",
        {"Rain100H": (28.24, 0.851), "Rain100L": (32.13, None), "Test1200": (32.03, None)},
    ),
    Published(
        "MPRNet",
        _RAIN13K,
        "Zamir et al., CVPR 2021",
        _on_all_sets(
            (30.27, 0.897), (30.41, 0.890), (36.40, 0.965), (33.64, 0.938), (32.91, 0.916)
        ),
    ),
    Published(
        "Restormer",
        _RAIN13K,
        "Zamir et al., CVPR 2022",
        _on_all_sets(
            (32.03, 0.924), (31.48, 0.906), (39.10, 0.979), (34.22, 0.945), (33.23, 0.927)
        ),
    ),
)


def read_results(folder):
    """Returns `{row label: {set: scores}}` of the evaluations in `folder`.

    Raises:
        UsageError: a file has another protocol than the papers', failed or left out pictures, is no
            evaluation of a preset's shipped weights, or says the same as another one.
    """
    rows = {}
    for path in sorted(Path(folder).glob("*/*.json")):
        scores = json.loads(path.read_text(encoding="utf-8"))
        preset, configuration = scores["model"], scores["configuration"]
        if path.parent.name not in SETS:
            raise UsageError(f"{path}: expected a folder named as a set: {', '.join(SETS)}")
        if scores["protocol"] != "matlab_y":
            raise UsageError(
                f"{path}: measured with protocol {scores['protocol']}; the tables hold matlab_y"
            )
        if scores["failed"] or scores["left_out"]:
            raise UsageError(f"{path}: some pictures failed or were left out; evaluate all of them")
        if preset not in presets.PRESETS:
            raise UsageError(f"{path}: {preset} is no preset; evaluate with --preset")
        if scores["weights_sha256"] != resolve(preset).digest:
            raise UsageError(f"{path}: not the weights that {preset} ships now; evaluate again")
        label = _label(preset, configuration)
        row = rows.setdefault(label, {})
        if path.parent.name in row:
            raise UsageError(f"{path}: a second file for {label} on {path.parent.name}")
        row[path.parent.name] = scores
    return dict(sorted(rows.items(), key=_order))


def tables(rows):
    """The Markdown text for `rows` of `read_results`."""
    measured = [name for name in SETS if any(name in row for row in rows.values())]
    inputs = {name: _input(rows, name) for name in measured}
    lines = []
    if rows:
        lines += [
            "PSNR (dB) / SSIM in the luma of MATLAB's `rgb2ycbcr` (protocol `matlab_y`), mean over",
            "the pictures of the set.",
            "",
            *header("model", "trained on", *SETS),
            row_of("rainy input", "", *(inputs.get(n, "") for n in SETS)),
        ]
    for label, row in rows.items():
        figures = [_figures(*row[n]["output"].values()) if n in row else "" for n in SETS]
        lines.append(row_of(f"`{label}`", _training(row), *figures))
    lines += [
        "",
        "Published figures, by the same protocol. The training data differ: see the second column.",
        "",
        *header("method", "trained on", *SETS, "source"),
    ]
    for other in PUBLISHED:
        figures = [_figures(*other.scores[n]) if n in other.scores else "" for n in SETS]
        lines.append(row_of(other.method, other.training, *figures, other.source))
    if rows:
        lines += ["", "The same evaluations of this package in RGB (protocol `rgb`).", ""]
        lines += header("model", *measured)
        for label, row in rows.items():
            figures = [
                _figures(*row[name]["output_rgb"].values()) if name in row else ""
                for name in measured
            ]
            lines.append(row_of(f"`{label}`", *figures))
    return "\n".join(lines) + "\n"


def _label(preset, configuration):
    parts = [preset]
    if configuration["ensemble"] != 1:
        parts.append(f"ensemble of {configuration['ensemble']}")
    if configuration["tile"] != "whole":
        parts.append(f"tiles of {configuration['tile']}, overlap {configuration['overlap']}")
    if configuration["crop_multiple"] != 1:
        parts.append(f"cropped to multiples of {configuration['crop_multiple']}")
    return ", ".join(parts)


def _order(item):
    label = item[0]
    return list(presets.PRESETS).index(label.partition(",")[0]), label


def _training(row):
    """What the shipped weights were trained on, as their card says."""
    preset = next(iter(row.values()))["model"]
    return (presets.PRESETS[preset]["weights"] or {}).get("training_data", "")


def _input(rows, name):
    """Figures of the rainy pictures of a set, which all evaluations of whole pictures share."""
    found = {
        _figures(*row[name]["input"].values())
        for row in rows.values()
        if name in row and row[name]["configuration"]["crop_multiple"] == 1
    }
    if len(found) > 1:
        raise UsageError(f"inputs of {name} differ between evaluations: {', '.join(sorted(found))}")
    return next(iter(found), "")


def _figures(psnr, ssim):
    ssim = "-" if ssim is None else f"{ssim:.3f}"
    return f"{float(psnr):.2f} / {ssim}"


def main(argv: Sequence[str] | None = None) -> int:
    def text(folder):
        return tables(read_results(folder))

    return update_command("python -m tools.result_tables", "results", RESULTS, text, argv)


if __name__ == "__main__":
    sys.exit(main())
