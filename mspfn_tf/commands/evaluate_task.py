"""`mspfn evaluate-task`: what deraining does for a detector or a segmenter."""

import argparse
import json
from pathlib import Path

from mspfn_tf.commands.arguments import (
    add_model,
    command_line,
    model_source,
    report_failures,
)
from mspfn_tf.errors import UsageError

HELP = "measure what deraining does for a detector or a segmenter"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", choices=("detection", "segmentation"), required=True)
    parser.add_argument(
        "--pictures", metavar="DIR", required=True, help="rainy pictures; clean ones with --rain"
    )
    parser.add_argument(
        "--clean", metavar="DIR", help="their clean versions, of the same names: scored as well"
    )
    parser.add_argument(
        "--labels",
        metavar="PATH",
        help="the truth: COCO or BDD100K JSON, or a folder of masks. Without it, what the network "
        "finds in the clean pictures counts as the truth",
    )
    parser.add_argument(
        "--model_for_task",
        metavar="FILE",
        required=True,
        help="the network: .tflite, .onnx, .keras, ESPNet's .weights.h5, or a SavedModel directory",
    )
    parser.add_argument(
        "--adapter",
        metavar="NAME",
        required=True,
        help="how pictures get in and results out: yolox, ssd; semantic, espnet; or "
        "FILE.py:FUNCTION for your own",
    )
    parser.add_argument(
        "--adapter_arguments",
        metavar="JSON",
        default="{}",
        help='options of the adapter, such as {"classes": "camvid", "order": "bgr"}',
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        required=True,
        help="folder for task_scores.json, task_scores.csv and task_sheet.png; the same command "
        "continues an interrupted run there",
    )
    add_model(parser)
    parser.add_argument(
        "--rain",
        choices=("light", "mixed", "heavy"),
        help="draw synthetic rain on the pictures, which are clean then",
    )
    parser.add_argument("--seed", type=int, help="of that rain (default: 0)")
    parser.add_argument(
        "--score_threshold",
        type=float,
        help="detection: from which score a box counts as found (default: 0.6)",
    )
    parser.add_argument(
        "--class_map",
        metavar="MAP",
        help="detection: bdd100k_to_coco, or a JSON file of label class: class of the network, or "
        "null where it has no such class",
    )
    parser.add_argument(
        "--classes", type=int, metavar="N", help="segmentation: number of classes (of the masks)"
    )
    parser.add_argument(
        "--void",
        type=int,
        nargs="*",
        metavar="VALUE",
        help="segmentation: values of the masks that mean not labelled (default: 255)",
    )


def run(args: argparse.Namespace) -> int:
    from mspfn_tf.files import check_outside
    from mspfn_tf.tasks.adapters import find_adapter
    from mspfn_tf.tasks.evaluation import describe, evaluate_task
    from mspfn_tf.tasks.networks import open_network
    from mspfn_tf.tasks.task_pictures import TaskPictures

    _check(args)
    for folder in filter(None, (args.pictures, args.clean)):
        check_outside(args.output, folder)
    options = _json_object(args.adapter_arguments)
    adapter = find_adapter(args.task, args.adapter, options)
    labels = _labels(args)
    pictures = TaskPictures(args.pictures, args.clean, args.rain, args.seed, labels)
    network = open_network(args.model_for_task)
    restorer, configuration = _restorer(args, options)
    scores = evaluate_task(
        _task(args, options),
        network,
        adapter,
        restorer,
        pictures,
        args.output,
        configuration,
        command_line(),
    )
    print(f"model {scores['model']}, network {scores['task_network']}")
    print(describe(scores))
    return report_failures(scores, "evaluate-task", "judged")


def _check(args):
    of_task = {"detection": ("class_map", "score_threshold"), "segmentation": ("classes", "void")}
    for task, names in of_task.items():
        for name in names:
            if task != args.task and getattr(args, name) is not None:
                raise UsageError(f"--{name} goes with --task {task}")
    if args.class_map and args.labels is None:
        raise UsageError("--class_map renames the classes of labels: give --labels as well")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed {args.seed}: must not be negative")
    if args.seed is not None and args.rain is None:
        raise UsageError("--seed is that of synthetic rain: give --rain as well")
    # None until here, so that what was given can be told from what was not.
    for name, value in {"score_threshold": 0.6, "void": [255], "seed": 0}.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if not 0 <= args.score_threshold <= 1:
        raise UsageError(f"--score_threshold {args.score_threshold}: expected 0 to 1")


def _json_object(text):
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"--adapter_arguments {text}: no JSON ({error})") from error
    if not isinstance(value, dict):
        raise UsageError(f"--adapter_arguments {text}: expected a JSON object")
    return value


def _labels(args):
    if args.labels is None:
        return None
    from mspfn_tf.sets.labels import BoxLabels, MaskLabels

    if args.task == "segmentation":
        return MaskLabels(args.labels)
    return BoxLabels(args.labels, _class_map(args.class_map))


def _class_map(which):
    from mspfn_tf.sets.class_names import CLASS_MAPS

    if which is None:
        return None
    if which in CLASS_MAPS:
        return CLASS_MAPS[which]
    try:
        renamed = json.loads(Path(which).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--class_map {which}: neither one of {', '.join(CLASS_MAPS)} nor a JSON file ({error})"
        ) from error
    named = isinstance(renamed, dict) and all(
        name is None or isinstance(name, str) for name in renamed.values()
    )
    if not named:
        raise UsageError(
            f"--class_map {which}: expected a JSON object of label class: class, or null"
        )
    return renamed


def _task(args, options):
    from mspfn_tf.sets.class_names import class_names
    from mspfn_tf.tasks.kinds import DetectionTask, SegmentationTask

    if args.task == "detection":
        return DetectionTask(args.score_threshold)
    count = args.classes
    if count is None:
        which = options.get("classes", "camvid" if args.adapter == "espnet" else None)
        if which is None:
            raise UsageError("--task segmentation needs --classes, the number of classes")
        count = which if isinstance(which, int) else len(class_names(which))
    if count < 1:
        raise UsageError(f"--classes {count}: must be positive")
    return SegmentationTask(count, tuple(args.void))


def _restorer(args, options):
    """The restorer, and the configuration of the evaluation."""
    from mspfn_tf.evaluation import describe_restorer
    from mspfn_tf.partial_results import digest
    from mspfn_tf.restorer import Restorer
    from mspfn_tf.sets.class_names import class_names
    from mspfn_tf.tasks.networks import network_digest

    restorer = Restorer(model_source(args))
    if isinstance(options.get("classes"), str):  # the file may change
        options = {**options, "classes": list(class_names(options["classes"]))}
    own_adapter, colon, _ = args.adapter.rpartition(":")
    configuration = {
        "task": args.task,
        **describe_restorer(restorer),
        "task_network": Path(args.model_for_task).name,
        "task_network_sha256": network_digest(args.model_for_task),
        "adapter": args.adapter.rpartition("/")[2],
        "adapter_sha256": digest(own_adapter) if colon else None,
        "adapter_arguments": options,
        "labels": None if args.labels is None else digest(args.labels),
        "rain": args.rain,
        "seed": args.seed,
    }
    if args.task == "detection":
        configuration |= {
            "score_threshold": args.score_threshold,
            "class_map": _class_map(args.class_map),
        }
    else:
        configuration |= {"classes": args.classes, "void": args.void}
    return restorer, configuration
