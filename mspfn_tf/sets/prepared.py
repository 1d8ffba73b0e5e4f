"""Opens what `mspfn prepare` has built, or says what is wrong with it.

Nothing here needs TensorFlow when the set was prepared as array_record.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mspfn_tf.errors import UsageError, argument

_MAX_JSON_BYTES = 2**26
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
_FEATURES = "tensorflow_datasets.core.features."


def prepared_folder(name: str, data_dir: str | os.PathLike) -> Path:
    """The newest version folder of a prepared set: `data_dir/name[/config]/version`.

    Raises:
        UsageError: the set is not prepared there, or `name` leaves the configuration open.
    """
    folder = Path(data_dir).expanduser() / name  # `prepare` takes it so

    def infos(pattern):
        # A copy that someone kept, such as `1.0.0.20260131` or `1.0.0.old`, is no version.
        found = folder.glob(f"{pattern}/dataset_info.json")
        return [info for info in found if _VERSION.fullmatch(info.parent.name)]

    found = infos("*.*.*")
    if not found:
        configs = sorted({info.parts[-3] for info in infos("*/*.*.*")})
        if configs:
            choices = ", ".join(f"{name}/{config}" for config in configs)
            raise UsageError(f"dataset '{name}' has several configurations: choose from {choices}")
        raise UsageError(
            f"dataset '{name}' is not prepared in {data_dir}: run mspfn prepare {name}"
        )
    folders = [info.parent for info in found]
    return max(folders, key=lambda path: [int(n) for n in path.name.split(".")])


def splits(name: str, data_dir: str | os.PathLike) -> list[str]:
    """The splits of a prepared set.

    Raises:
        UsageError: as `Examples`.
    """
    return list(_open(prepared_folder(name, data_dir)).info.splits)


def feature_names(name: str, data_dir: str | os.PathLike) -> list[str]:
    """What an example of a prepared set holds, such as `rainy` and `clean`.

    Raises:
        UsageError: as `Examples`.
    """
    return list(_open(prepared_folder(name, data_dir)).info.features or ())


class Examples:
    """The examples of a split by number, their pictures as the bytes of PNG or JPEG files.

    Args:
        name: `name` or `name/config` of a set that `mspfn prepare` built.
        split: the split.
        data_dir: the folder that `mspfn prepare` filled.
        paired: whether the set has to have clean pictures.
        clean_alone: whether a set will do that has clean pictures, `image`, and no rainy ones.
        masks: whether the set has to have masks.

    Attributes:
        features: the names of what an example holds.

    Raises:
        UsageError: the set is not prepared there, is damaged, would make TFDS import what is not
            its own, or has no such split or no clean pictures. Reading an example raises it where
            that is damaged.
    """

    def __init__(
        self,
        name: str,
        split: str,
        data_dir: str | os.PathLike,
        paired: bool = True,
        clean_alone: bool = False,
        masks: bool = False,
    ) -> None:
        import tensorflow_datasets as tfds

        self.folder = prepared_folder(name, data_dir)
        builder = _open(self.folder)
        self.features = tuple(builder.info.features)
        if split not in builder.info.splits:
            there = ", ".join(builder.info.splits)
            raise UsageError(f"dataset '{name}' has no split '{split}', only: {there}")
        wanted = ["rainy", "clean"] if paired else ["rainy"]
        if clean_alone and "image" in self.features and "rainy" not in self.features:
            wanted = ["image"]
        if masks:
            wanted.append("mask")
        missing = [key for key in wanted if key not in self.features]
        if missing == ["clean"]:
            raise UsageError(
                f"dataset '{name}' holds photographs without a clean side: nothing to score or to "
                "train on"
            )
        if missing:
            raise UsageError(
                f"dataset '{name}' has no '{missing[0]}' pictures; it has: "
                f"{', '.join(self.features)}"
            )
        skip = tfds.decode.SkipDecoding()
        pictures = ("rainy", "clean", "image", "mask")
        decoders = {key: skip for key in pictures if key in self.features}
        try:
            if builder.info.file_format.file_suffix == "array_record":
                self._examples = builder.as_data_source(split, decoders=decoders)
            else:
                # Only sequential reading here (and only with TensorFlow): keep the encoded bytes.
                config = tfds.ReadConfig(interleave_cycle_length=1)
                dataset = builder.as_dataset(split=split, decoders=decoders, read_config=config)
                self._examples = list(tfds.as_numpy(dataset))
            self._count = len(self._examples)
        except Exception as error:  # TFDS lets through whatever its readers raise
            raise _damaged(self.folder, error) from error

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = range(self._count)[index]
        try:
            return self._examples[index]
        except Exception as error:  # likewise
            raise _damaged(self.folder, error, f"example {index}: ") from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))


def picture_files(examples: Examples, folder: str | os.PathLike, side: str = "rainy") -> list[Path]:
    """Writes the pictures of a split as the files they came from, called by the pairs' names.

    Args:
        examples: the split.
        folder: where to; made if it is missing.
        side: `rainy` or `clean`.

    Returns:
        The files, in the order of the examples.

    Raises:
        UsageError: there are no such pictures, a name leads out of the folder, or it cannot be
            written.
    """
    if side not in examples.features:
        raise UsageError(f"{examples.folder}: no {side!r} pictures")
    folder, written = Path(folder), []
    for index, example in enumerate(examples):
        data, name = example[side], example.get("name", str(index))
        name = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
        parts = Path(name).parts
        if not parts or Path(name).is_absolute() or ".." in parts or "\0" in name:
            raise UsageError(f"{examples.folder}: example {index}: refused: its name is {name!r}")
        path = folder.joinpath(*parts)
        path = path.with_name(path.name + (".png" if data.startswith(b"\x89PNG") else ".jpg"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error
        written.append(path)
    return written


def _open(folder: Path):
    """The TFDS builder of a prepared set. Raises `UsageError`."""
    import tensorflow_datasets as tfds

    _check_features(folder / "features.json")
    try:
        builder = tfds.builder_from_directory(folder)
        # Both are read when they are asked for.
        _ = builder.info.splits, builder.info.features
    except Exception as error:  # TFDS lets through whatever its parsers raise
        raise _damaged(folder, error) from error
    return builder


def _damaged(folder: Path, error: Exception, which: str = "") -> UsageError:
    told = " ".join(str(error).split())[:300]
    return UsageError(
        f"{folder}: {which}damaged ({type(error).__name__}: {told}); prepare the set again with "
        f"{argument('overwrite')}"
    )


def _check_features(path: Path) -> None:
    """Raises `UsageError` where the file is damaged, or names classes that are not TFDS's own.

    TFDS imports the modules of the classes that the file names.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise UsageError(f"{path}: larger than {_MAX_JSON_BYTES} bytes")
        found = json.loads(path.read_text(encoding="utf-8"))
        foreign = [name for name in _class_names(found) if not str(name).startswith(_FEATURES)]
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{path}: damaged or missing ({error}); prepare the set again with "
            f"{argument('overwrite')}"
        ) from error
    if foreign:
        raise UsageError(
            f"{path}: refused: it would import {foreign[0]!r}; sets that mspfn prepare built hold "
            "features of TFDS alone"
        )


def _class_names(value: Any) -> Iterator[Any]:
    """The classes that a description of features names, also in the JSON that it quotes."""
    if isinstance(value, list):
        for inner in value:
            yield from _class_names(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            # Older files have "type" for the name.
            if isinstance(inner, str) and key in ("pythonClassName", "python_class_name", "type"):
                yield inner
            elif key == "json" and isinstance(inner, str):
                yield from _class_names(json.loads(inner))
            else:
                yield from _class_names(inner)
