"""Which picture of one folder belongs to which of another, by their names.

The names of the field's sets differ between inputs, results and truths. Rules, in this order; for a
picture the first rule that finds a target decides:

1. the same path below the folder, but for the suffix: `a/12.png` and `a/12.jpg`;
2. the same after dropping `rain-` or `norain-` before a number, `x2` after it (both from
   Rain100H/L), and leading zeros, in lower case: `rain-001` and `norain-1x2`; accents that one
   system spells apart from their letters and another does not are the same;
3. as 2, but also without the number of the rain pattern that some sets append: `7_12` and `7`.
   Only by this rule may several pictures share a target.

Two candidates, or two pictures for one target except by rule 3, are ambiguous. Nothing is guessed.
"""

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mspfn_tf.errors import UsageError, argument
from mspfn_tf.files import sha256_if_readable
from mspfn_tf.pictures import find_images, read_rgb

_LISTED = 20


def evenly_spread(count: int, most: int) -> list[int]:
    """`most` of `count` indices, or all, evenly spread from the first to the last."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(int).tolist()


@dataclass(frozen=True)
class Pairing:
    """What `pair_folders` found.

    Attributes:
        pairs: (name, path of the picture, path of its target), sorted as the pictures are. The name
            is the picture's path below its folder without suffix, unique.
        left_out: one line for each file without a partner and for each ambiguity.
    """

    pairs: tuple[tuple[str, Path, Path], ...]
    left_out: tuple[str, ...] = ()


def pair_folders(
    pictures: str | os.PathLike, targets: str | os.PathLike, allow_unmatched: bool = False
) -> Pairing:
    """Pairs the pictures of two folders, subfolders included.

    Args:
        pictures: folder of rainy pictures or of predictions.
        targets: folder of the clean pictures.
        allow_unmatched: leave out what has no partner, or more than one, rather than raise.

    Returns:
        A `Pairing` of at least one pair.

    Raises:
        UsageError: not a folder, no pictures, nothing pairs; or something is left out and
            `allow_unmatched` is false: the message lists it.
    """
    pictures, targets = Path(pictures), Path(targets)
    found = {folder: find_images(folder) for folder in (pictures, targets)}
    for folder, paths in found.items():
        if not paths:
            raise UsageError(f"{folder}: no pictures in this folder")
    pairing = _pair(pictures, found[pictures], targets, found[targets])
    if not pairing.pairs or (pairing.left_out and not allow_unmatched):
        lines = list(pairing.left_out[:_LISTED])
        if len(pairing.left_out) > _LISTED:
            lines.append(f"... and {len(pairing.left_out) - _LISTED} more")
        advice = (
            f"rename or remove them, or pass {argument('allow_unmatched')} to leave them out"
            if pairing.pairs
            else "no pair is left: are these the right folders?"
        )
        raise UsageError(
            f"{len(pairing.left_out)} files or groups of files in {pictures} and {targets} do not "
            "pair by name:\n  " + "\n  ".join(lines) + f"\n{advice}"
        )
    return pairing


def _keys(folder, path):
    """The name of `path` under each rule."""
    relative = path.relative_to(folder).with_suffix("")
    composed = Path(unicodedata.normalize("NFC", str(relative)))
    plain = re.sub(r"^(no)?rain[-_]?(?=\d)", "", composed.name.lower())
    plain = re.sub(r"(?<=\d)x2$", "", plain)
    without_pattern = re.sub(r"_\d+$", "", plain)
    parent = composed.parent
    return (
        relative.as_posix(),
        (parent / _without_zeros(plain)).as_posix(),
        (parent / _without_zeros(without_pattern)).as_posix(),
    )


def _without_zeros(stem):
    return re.sub(r"\d+", lambda digits: str(int(digits[0])), stem)


def _pair(pictures, picture_paths, targets, target_paths):
    by_name, by_plain_name = defaultdict(list), defaultdict(list)
    for target in target_paths:
        name, plain, _ = _keys(targets, target)
        by_name[name].append(target)
        by_plain_name[plain].append(target)

    left_out = []
    claims = defaultdict(list)  # target -> [(picture, its keys, number of the rule)]
    mentioned = set()
    for picture in picture_paths:
        name, plain, scene = keys = _keys(pictures, picture)
        rules = (by_name.get(name, []), by_plain_name.get(plain, []), by_plain_name.get(scene, []))
        rule = next((number for number, found in enumerate(rules, 1) if found), None)
        candidates = rules[rule - 1] if rule else []
        mentioned.update(candidates)
        if len(candidates) == 1:
            claims[candidates[0]].append((picture, keys, rule))
        elif candidates:
            names = ", ".join(map(str, candidates))
            left_out.append(f"{picture}: ambiguous, it could belong to {names}")
        else:
            left_out.append(f"{picture}: no target")

    pairs = []
    for target, claim in claims.items():
        patterns = {plain for _, (_, plain, _), _ in claim}
        several_patterns = len(patterns) == len(claim) and all(rule == 3 for *_, rule in claim)
        if len(claim) == 1 or several_patterns:
            pairs += [(keys[0], picture, target) for picture, keys, _ in claim]
        else:
            names = ", ".join(str(picture) for picture, *_ in claim)
            left_out.append(f"{target}: ambiguous, it could be the target of {names}")
    left_out += [
        f"{target}: nothing belongs to this target"
        for target in target_paths
        if target not in mentioned
    ]
    order = {picture: index for index, picture in enumerate(picture_paths)}
    return Pairing(tuple(sorted(pairs, key=lambda pair: order[pair[1]])), tuple(left_out))


class Pairs(Protocol):
    """Rainy and clean pictures by number: what is trained on, scored and looked at."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        """(rainy, clean), two uint8 arrays `[H, W, 3]` of one size."""
        ...

    def name(self, index: int) -> str:
        """What to call the pair in results."""
        ...


class FolderPairs:
    """The pairs of a folder that holds `input/` and `target/`, with the indices of a list.

    `pairs[i]` is (rainy, clean), uint8 arrays `[H, W, 3]`; `pairs.name(i)` names the pair. A
    `mspfn_tf.training.pair_source.PairSource` reads the same way.

    Args:
        folder: the folder; see `mspfn_tf.sets.pairs` for how names pair.
        allow_unmatched: leave out what does not pair.

    Attributes:
        left_out: one line for each file or group of files that was left out.

    Raises:
        UsageError: a folder is missing, or something does not pair.
    """

    def __init__(self, folder: str | os.PathLike, allow_unmatched: bool = False):
        folder = Path(folder)
        for part in ("input", "target"):
            if not (folder / part).is_dir():
                raise UsageError(
                    f"{folder / part}: not a folder; a folder of pairs holds input/ (rainy) and "
                    "target/ (clean)"
                )
        pairing = pair_folders(folder / "input", folder / "target", allow_unmatched)
        self._pairs, self.left_out = pairing.pairs, pairing.left_out

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        _, rainy, clean = self._pairs[index]
        return read_rgb(rainy), read_rgb(clean)

    def name(self, index: int) -> str:
        return self._pairs[index][0]

    def fingerprint(self) -> str:
        """SHA-256 over names and contents, by which a changed folder is noticed."""
        facts = [(name, *map(sha256_if_readable, paths)) for name, *paths in self._pairs]
        return hashlib.sha256(repr(facts).encode()).hexdigest()
