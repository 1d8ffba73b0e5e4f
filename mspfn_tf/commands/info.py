"""`mspfn info`: presets, parameters, multiply-adds, scores, versions."""

import argparse
import importlib.metadata
import sys

HELP = "list presets with parameters, multiply-adds and scores, and the versions in use"

_PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "ai-edge-litert", "numpy", "pillow")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", help="only this one, with its arguments and weights")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="compare every shipped model file with its SHA-256; exit status 1 if one differs",
    )


def run(arguments: argparse.Namespace) -> int:
    from mspfn_tf import __version__
    from mspfn_tf.presets import DEFAULT_PRESET, PRESETS, damaged_cards, known_preset

    if arguments.verify:
        return _verify()
    for problem in damaged_cards.values():
        print(f"mspfn info: {problem}", file=sys.stderr)
    names = list(PRESETS) if arguments.preset is None else [known_preset(arguments.preset)]
    print(f"mspfn_tf {__version__}; default preset: {DEFAULT_PRESET}")
    for name in names:
        preset = PRESETS[name]
        gmacs = preset["multiply_adds_256"] / 1e9
        print(f"\n{name}: {preset['description']}")
        print(f"  {preset['parameters']:,} parameters, {gmacs:.2f} GMAC at 256x256")
        weights = preset["weights"]
        print(f"  weights: {weights['file'] if weights else 'none shipped'}")
        for dataset, scores in (preset["scores"] or {}).items():
            print(f"  {dataset}: {scores['psnr']:.2f} dB / {scores['ssim']:.3f} (Y)")
        if arguments.preset is not None:
            for key, value in preset["arguments"].items():
                print(f"  {key} = {value!r}")
    print("\nversions:")
    for package in _PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        print(f"  {package} {version}")
    return 0


def _verify():
    from mspfn_tf.presets import verify_shipped

    good, bad = verify_shipped()
    for line in good:
        print(line)
    for line in bad:
        print(f"mspfn info: {line}", file=sys.stderr)
    print(f"{len(good)} files are as they were shipped, {len(bad)} are not")
    return 1 if bad else 0
