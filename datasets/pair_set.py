"""What a set of pairs consists of, and where its pictures are looked for."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from mspfn_tf.datasets.layouts import Layout, Pair, listing
from mspfn_tf.datasets.picture_tree import PictureTree
from mspfn_tf.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Split:
    """A published split.

    Attributes:
        count: how many pairs it has, None if nobody knows beforehand.
        layouts: the first that is found is used. A tuple among them stands for its members joined.
        optional: whether the split may be missing.
    """

    count: int | None
    layouts: tuple[Layout | tuple[Layout, ...], ...]
    optional: bool = False

    def find(self, tree: PictureTree) -> list[Pair]:
        """The pairs, or an empty list."""
        for layout in self.layouts:
            parts = layout if isinstance(layout, tuple) else (layout,)
            found = [_at_one_root(part, tree) for part in parts]
            if all(found):
                return [pair for part in found for pair in part]
        return []


@dataclasses.dataclass(frozen=True)
class PairSet:
    """What a builder, or one configuration of it, reads.

    Attributes:
        splits: name -> `Split`.
        description: what sets the configuration apart.
        scenes_by_content: pictures show the same scene if their clean sides look alike (else: if
            the layout gives them the same scene).
        validation: moves one training scene in eleven to a validation split.
        disjoint: leaves out training pairs whose scene is in another split.
    """

    splits: dict[str, Split]
    description: str = ""
    scenes_by_content: bool = False
    validation: bool = False
    disjoint: bool = False

    def counts(self) -> dict[str, int | None]:
        """The published number of pairs of every split."""
        return {name: split.count for name, split in self.splits.items()}

    def places(self, folder: str, without: Sequence[str] = ()) -> list[str]:
        """Lines about where the splits are looked for, but for those in `without`."""
        return [
            f"{name}: {folder}{str(layout).removeprefix('/')}"
            for name, split in self.splits.items()
            if name not in without
            for layout in _flatten(split.layouts)
        ]


def _flatten(layouts: Iterable[Layout | tuple[Layout, ...]]) -> Iterator[Layout]:
    for layout in layouts:
        yield from layout if isinstance(layout, tuple) else (layout,)


def _at_one_root(layout: Layout, tree: PictureTree) -> list[Pair]:
    """The pairs of a layout, or an empty list. Folders count before archives."""
    roots = {root: pairs for root, pairs in layout.find(tree).items() if pairs}
    extracted = {
        root: pairs for root, pairs in roots.items() if not tree.in_archive(pairs[0].rainy.path)
    }
    roots = extracted or roots
    if len(roots) > 1:
        places = [str(tree.root / root) for root in sorted(roots)]
        raise UsageError(listing(f"{layout} is there more than once, keep or name one:", places))
    return next(iter(roots.values()), [])
