"""What deraining does for a task's network: what `mspfn evaluate-task` computes and writes."""

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from mspfn_tf import __version__, metrics
from mspfn_tf.errors import UsageError
from mspfn_tf.evaluation import unwritten, write_document, write_table
from mspfn_tf.files import atomic_write, clear_leftovers, locked
from mspfn_tf.partial_results import complete, provenance, resume
from mspfn_tf.pictures import ImageError, write_picture
from mspfn_tf.pictures.sheets import side_by_side, stacked
from mspfn_tf.tasks import drawing
from mspfn_tf.tasks.adapters import Adapter
from mspfn_tf.tasks.detection import Detections
from mspfn_tf.tasks.kinds import DetectionTask, SegmentationTask
from mspfn_tf.tasks.networks import Network
from mspfn_tf.tasks.segmentation import segmentation_scores
from mspfn_tf.tasks.task_pictures import TaskPictures

_PARTIAL = "partial.jsonl"
_SHEET_ROWS = 2  # pictures of each kind (worst, typical, best) on the sheet
_SHEET_SIDE = 480


class _Run:
    """One evaluation: opened things, and how a picture is judged."""

    def __init__(self, task, network, adapter, restorer, pictures):
        self.task, self.network, self.adapter = task, network, adapter
        self.restorer, self.pictures = restorer, pictures
        self.detects = isinstance(task, DetectionTask)
        self.versions = ["rainy", "derained"] + ["clean"] * pictures.has_clean

    def answer(self, picture):
        answer = self.adapter(picture, self.network)
        if self.detects:
            if not isinstance(answer, Detections):
                raise UsageError(
                    f"the adapter returned {type(answer).__name__}; expected Detections"
                )
            self.task.check(self.pictures.labels, answer)
            return answer
        labels = np.asarray(answer)
        if labels.shape != picture.shape[:2] or not np.issubdtype(labels.dtype, np.integer):
            raise UsageError(
                f"the adapter returned {labels.dtype} {list(labels.shape)}; expected whole class "
                f"numbers {list(picture.shape[:2])}"
            )
        return labels

    def views(self, index):
        """(`{version: picture}` of one picture, its truth or None)."""
        rainy, clean = self.pictures[index]
        truth = self.truth(index, rainy.shape)  # first: deraining takes long
        pictures = {"rainy": rainy, "derained": self.restorer(rainy)}
        return (pictures if clean is None else {**pictures, "clean": clean}), truth

    def truth(self, index, shape):
        labels = self.pictures.labels
        if labels is None:
            return None
        if self.detects:
            labels.check_size(self.pictures.names[index], shape[:2])
        truth = labels[self.pictures.names[index]]
        if not self.detects and truth.shape != shape[:2]:
            raise ImageError(
                f"{self.pictures.names[index]}: the mask is {truth.shape[1]}x{truth.shape[0]} "
                f"pixels, the picture {shape[1]}x{shape[0]}; expected equal sizes"
            )
        return truth

    def check_masks(self):
        """Finds a value that no class has before the work, not after hours of it."""
        labels = self.pictures.labels
        if self.detects or labels is None:
            return
        for name in self.pictures.names:
            with contextlib.suppress(ImageError):  # told with its picture
                mask = labels[name]
                try:
                    self.task.counts(np.zeros_like(mask), mask)
                except UsageError as error:
                    raise UsageError(f"picture {name}: {error}") from error

    def record(self, index):
        """What is kept of one picture."""
        pictures, truth = self.views(index)
        record = {"name": self.pictures.names[index]}
        if "clean" in pictures:
            for version in ("rainy", "derained"):
                figures = _psnr_ssim(pictures["clean"], pictures[version])
                record |= {f"{version}_{key}": value for key, value in figures.items()}
        answers = {version: self.answer(picture) for version, picture in pictures.items()}
        if self.detects:
            return record | {v: self.task.record(a, truth) for v, a in answers.items()}
        if truth is None:
            truth = answers["clean"]
        for version, labels in answers.items():
            counts = self.task.counts(labels, truth)
            used = np.flatnonzero(counts)
            record[version] = [[int(i), int(counts.flat[i])] for i in used]
        return record

    def measured(self, done):
        """(`{version: scores of all}`, `[scores of each picture]`)."""
        if self.detects:
            return self._measured_boxes(done)
        size = self.task.classes
        totals, images = {v: np.zeros((size, size), np.int64) for v in self.versions}, []
        for record in done:
            image = _figures(record)
            for version in self.versions:
                counts = np.zeros((size, size), np.int64)
                for place, count in record[version]:
                    counts.flat[place] = count
                totals[version] += counts
                scores = segmentation_scores(counts)
                del scores["class_iou"]
                image |= {f"{version}_{key}": value for key, value in scores.items()}
            images.append(image)
        return {v: segmentation_scores(counts) for v, counts in totals.items()}, images

    def _measured_boxes(self, done):
        labels = self.pictures.labels
        classes = labels.classes if labels else None
        found = {
            v: [self.task.only(self.task.read(record[v]), classes) for record in done]
            for v in self.versions
        }
        if labels:
            truths = [labels[record["name"]] for record in done]
        else:
            truths = [self.task.reference(record["clean"]) for record in done]
        images = []
        for index, record in enumerate(done):
            image = _figures(record)
            for version in self.versions:
                scores = self.task.of_picture(truths[index], found[version][index])
                image |= {f"{version}_{key}": value for key, value in scores.items()}
            images.append(image)
        return {v: self.task.scores(truths, found[v]) for v in self.versions}, images

    def row(self, index, kind, image):
        """A row of the sheet: what the network made of one picture."""
        pictures, truth = self.views(index)
        answers = {version: self.answer(picture) for version, picture in pictures.items()}
        if truth is None:
            truth = answers["clean"]
            truth = truth.as_truth(self.task.score_threshold) if self.detects else truth
        drawn, texts = [], []
        for version, picture in pictures.items():
            score = image[f"{version}_{self.task.sort_by}"]
            score = "-" if score is None else f"{score:.2f}"
            texts.append(f"{version}: {score}")
            drawn.append(_reduced(self._drawn(picture, answers[version], truth)))
        if not self.detects:
            ground = pictures.get("clean", pictures["rainy"])
            drawn.append(_reduced(self._drawn(ground, truth, truth)))
            texts.append("labels" if self.pictures.labels else "reference")
        texts[0] = f"{kind}, {image['name']}, {texts[0]}"
        return side_by_side(drawn, texts)

    def _drawn(self, picture, answer, truth):
        if self.detects:
            classes = self.pictures.labels.classes if self.pictures.labels else None
            answer = self.task.only(answer, classes)
            return drawing.draw_boxes(picture, answer, truth, self.task.score_threshold)
        unknown = np.isin(truth, self.task.void) if self.pictures.labels else None
        return drawing.draw_labels(picture, answer, self.task.classes, unknown)


def evaluate_task(
    task: DetectionTask | SegmentationTask,
    network: Network,
    adapter: Adapter,
    restorer: Callable[[np.ndarray], np.ndarray],
    pictures: TaskPictures,
    output: str | Path,
    configuration: Mapping[str, object],
    command: str | None = None,
) -> dict:
    """Runs a task's network on rainy, derained and clean pictures, and measures what it finds.

    Writes `task_scores.json`, `task_scores.csv` (one line per picture) and `task_sheet.png` (worst,
    typical and best pictures, by the network's success on the derained ones). Each picture's
    outcome is kept as soon as it is known: a run that was interrupted continues there when it is
    started again with the same configuration; pictures that failed are tried again. A complete
    evaluation is returned as it stands.

    Args:
        task: what is measured.
        network: the task's network.
        adapter: see `mspfn_tf.tasks.adapters`.
        restorer: function of a rainy picture that returns the derained one, both `uint8
            [H, W, 3]`; such as a `mspfn_tf.Restorer`.
        pictures: what is looked at. Without labels, what the network finds in the clean pictures
            counts as the truth.
        output: folder for the results.
        configuration: dict of JSON values that says what is evaluated on what. Results of
            different configurations never share a folder.
        command: what to record as the command that made them.

    Returns:
        The content of `task_scores.json`. A picture that cannot be read stands, with the reason,
        under `failed`.

    Raises:
        UsageError: `output` holds results of another configuration or is in use, no picture could
            be judged, or network, adapter and labels do not fit together (the message says how).
    """
    output = Path(output)
    configuration = {
        **configuration,
        "pictures": len(pictures),
        "files": pictures.fingerprint(),
        "mspfn_tf": __version__,
    }
    run = _Run(task, network, adapter, restorer, pictures)
    with locked(output, "evaluate-task"):
        clear_leftovers(output)
        partial = output / _PARTIAL
        finished = complete(output / "task_scores.json", partial, configuration)
        if finished is not None:
            return finished
        try:
            done, failed = resume(partial, configuration), []
            try:
                if not done:
                    run.check_masks()
                _add_records(run, partial, done, failed)
            except UsageError:
                if not done:
                    partial.unlink()  # the command, put right, may begin anew
                raise
            return _written(run, done, failed, output, configuration, command)
        except OSError as error:  # pictures that cannot be read are told otherwise
            raise unwritten(output, error) from error


def _add_records(run, partial, done, failed):
    """Adds what `done`, index -> record, lacks, and to `failed` what cannot be judged."""
    pictures = run.pictures
    with (
        open(partial, "a", encoding="utf-8") as file,
        tqdm(total=len(pictures), initial=len(done), unit="picture", disable=None) as bar,
    ):
        for index in range(len(pictures)):
            if index in done:
                continue
            try:
                record = run.record(index)
            except ImageError as error:  # one bad file; anything else would fail for all
                failed.append({"name": pictures.names[index], "error": str(error)})
            except UsageError as error:
                raise UsageError(f"picture {pictures.names[index]}: {error}") from error
            except MemoryError as error:
                message = f"not enough memory ({error}): give a smaller tile"
                failed.append({"name": pictures.names[index], "error": message})
            else:
                file.write(json.dumps({"index": index, **record}, allow_nan=False) + "\n")
                file.flush()
                done[index] = record
            bar.update()
    if not done:
        raise UsageError(
            f"none of the {len(pictures)} pictures could be judged; the first: "
            f"{failed[0]['name']}: {failed[0]['error']}"
        )


def _written(run, done, failed, output, configuration, command):
    indices = sorted(done)
    versions, images = run.measured([done[index] for index in indices])
    scores = {
        "task": "detection" if run.detects else "segmentation",
        "count": len(images),
        "truth": "labels" if run.pictures.labels else "the network's output on clean pictures",
        **{key: configuration.get(key) for key in ("model", "weights_sha256", "task_network")},
        "scores": versions,
    }
    if run.pictures.has_clean:
        scores["protocol"] = "matlab_y"
        for version, key in (("rainy", "input"), ("derained", "output")):
            scores[key] = {
                figure: _mean(image[f"{version}_{figure}"] for image in images)
                for figure in ("psnr", "ssim")
            }
    scores |= {
        "configuration": configuration,
        "failed": failed,
        **provenance(command),
        "images": images,
    }
    sheet = _sheet(run, indices, images)
    write_picture(output / "task_sheet.png", sheet, overwrite=True)
    with atomic_write(output / "task_scores.csv", overwrite=True) as path:
        write_table(path, images)
    with atomic_write(output / "task_scores.json", overwrite=True) as path:
        write_document(path, scores)
    if not failed:
        (output / _PARTIAL).unlink()
    return scores


def describe(scores: Mapping) -> str:
    """The summary of `scores` as a table of text."""
    columns = {
        "detection": ("map", "map_50", "precision", "recall", "iou"),
        "segmentation": ("miou", "mpa", "pixel_accuracy"),
    }[scores["task"]]
    lines = [f"{scores['count']} pictures, {scores['task']}, truth: {scores['truth']}"]
    lines.append(f"{'':<12}" + "".join(f"{name:>16}" for name in (*columns, "psnr", "ssim")))
    for version, figures in scores["scores"].items():
        pair = scores.get({"rainy": "input", "derained": "output"}.get(version), {})
        values = [figures[name] for name in columns] + [pair.get("psnr"), pair.get("ssim")]
        cells = ["-" if value is None else f"{float(value):.3f}" for value in values]
        lines.append(f"{version:<12}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def _sheet(run, indices, images):
    key = f"derained_{run.task.sort_by}"
    usable = [n for n, image in enumerate(images) if image[key] is not None] or [0]
    order = sorted(usable, key=lambda n: images[n][key] or 0)
    middle = max(0, len(order) // 2 - _SHEET_ROWS // 2)
    kinds = {
        "worst": order[:_SHEET_ROWS],
        "typical": order[middle : middle + _SHEET_ROWS],
        "best": order[: -_SHEET_ROWS - 1 : -1],
    }
    rows, shown = [], set()
    for kind, chosen in kinds.items():
        for n in chosen:
            if n not in shown:
                shown.add(n)
                rows.append(run.row(indices[n], kind, images[n]))
    return stacked(rows)


def _psnr_ssim(clean, picture):
    psnr = metrics.psnr(clean, picture)
    small = min(clean.shape[:2]) < metrics.WINDOW
    return {
        # JSON has no infinity; float() reads this one.
        "psnr": "inf" if np.isinf(psnr) else round(psnr, 6),
        "ssim": None if small else round(metrics.ssim(clean, picture), 6),
    }


def _figures(record):
    """The name of a picture, and PSNR and SSIM where they are known."""
    return {key: value for key, value in record.items() if not isinstance(value, dict | list)}


def _mean(values):
    values = [float(value) for value in values if value is not None]
    mean = float(np.mean(values)) if values else None
    return "inf" if mean == float("inf") else mean


def _reduced(picture):
    image = Image.fromarray(picture)
    image.thumbnail((_SHEET_SIDE, _SHEET_SIDE))
    return np.asarray(image)
