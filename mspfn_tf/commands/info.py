"""`mspfn info`: presets, parameters, multiply-adds, scores, versions."""

import importlib.metadata

HELP = "list presets with parameters, multiply-adds and scores, and the versions in use"

_PACKAGES = ("tensorflow", "keras", "tensorflow-datasets", "ai-edge-litert", "numpy", "pillow")


def add_arguments(parser):
    parser.add_argument("--preset", help="only this one, with its arguments and weights")


def run(arguments):
    from mspfn_tf import __version__
    from mspfn_tf.presets import DEFAULT_PRESET, PRESETS, known_preset

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
