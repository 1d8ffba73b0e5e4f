"""Writes what the documentation says of the datasets from what their builders say of themselves.

    python -m tools.dataset_tables

What stands between `<!-- begin generated: NAME -->` and its end is replaced in docs/datasets.md
(`sets`, `terms`, `blends`) and in the README.md of every dataset (`facts`).
"""

import re
import sys
from pathlib import Path

from tools.markdown import header, row_of, update

ROOT = Path(__file__).resolve().parent.parent
_FIELD = r"(\w+)\s*=\s*\{(.*?)\}[,\s]*(?=\n\s*\w+\s*=|\n\})"  # of a BibTeX entry


def builders() -> dict[str, type]:
    """The builders by name, with those that make pairs from anyone's pictures at the end."""
    import tensorflow_datasets as tfds

    from mspfn_tf.datasets import NAMES

    last = ("paired_folder", "real_rain", "synthetic_rain")
    return {
        name: tfds.builder_cls(name)
        for name in (*(name for name in NAMES if name not in last), *last)
    }


def sets_table() -> str:
    """Markdown of all configurations: rain, pairs, where to get them, what to lay out."""
    lines = header(
        "`mspfn prepare`", "rain", "pairs", "where to get it", "the first place looked at"
    )
    for name, builder in builders().items():
        place = ""
        for config, pair_set in _pair_sets(builder).items():
            first = config == _first(builder)
            before, place = place, _place(pair_set, builder)
            lines.append(
                row_of(
                    f"`{name}/{config}`" if config else f"`{name}`",
                    builder.FACTS.rain if first else "the same",
                    _pairs(pair_set, builder),
                    _page(builder) if first else "the same",
                    "the same" if place == before else place,
                )
            )
    return "\n".join(lines)


def terms_table() -> str:
    """Markdown of licences, sizes, papers, and what the layouts were checked against."""
    lines = header("dataset", "licence", "download", "paper", "layout checked against")
    for name, builder in builders().items():
        facts = builder.FACTS
        lines.append(
            row_of(
                f"[`{name}`](../datasets/{name}/README.md)",
                facts.licence,
                facts.size,
                citation(builder),
                facts.verified,
            )
        )
    return "\n".join(lines)


def blends_table() -> str:
    """Markdown of the mixtures that have a name."""
    from mspfn_tf.datasets.blends import BLENDS

    lines = header("blend", "`--dataset`", "what it is")
    for name, blend in BLENDS.items():
        spec = ",".join(f"{part}:{weight}" for part, weight in blend.sets.items())
        lines.append(row_of(name, f"`{spec}`", blend.about))
    return "\n".join(lines)


def facts_list(builder: type) -> str:
    """Markdown of what people want to know of a set before they fetch it."""
    facts = builder.FACTS
    configs = _pair_sets(builder)
    pairs = {config: _pairs(pair_set, builder) for config, pair_set in configs.items()}
    told = [f"{counts} (`{config}`)" if config else counts for config, counts in pairs.items()]
    return "\n".join(
        [
            f"- **Rain**: {facts.rain}",
            f"- **Pairs**: {'; '.join(told)}",
            f"- **Where to get it**: {_page(builder) or '-'}",
            f"- **Licence**: {facts.licence}",
            f"- **Download**: {facts.size}",
            f"- **Cite**: {citation(builder)}",
            f"- **Layout checked against**: {facts.verified}",
        ]
    )


def citation(builder: type) -> str:
    """Authors, title, year of the first entry of `CITATIONS.bib`; else whom its comment names."""
    text = (Path(builder.pkg_dir_path) / "CITATIONS.bib").read_text(encoding="utf-8")
    if "@" not in text:
        return text.strip().removeprefix("% Cite ").rstrip(".")
    entry = text[text.index("@") :].split("\n@")[0]
    found = {
        key: re.sub(r"[{}]|\s+(?=\s)", "", value.replace("\n", " "))
        for key, value in re.findall(_FIELD, entry, re.DOTALL)
    }
    authors = found["author"].split(" and ")
    first = authors[0].split(",")[0].strip()
    second = f" and {authors[1].split(',')[0]}" if len(authors) == 2 else ""
    others = " et al." if len(authors) > 2 else second
    return f"{first}{others}, *{found['title']}*, {found['year']}"


def _pair_sets(builder):
    """`{configuration or None: PairSet or None}`."""
    sets = getattr(builder, "SETS", None)
    if isinstance(sets, dict):
        return sets
    if sets is not None:
        return {None: sets}
    return dict.fromkeys(builder.builder_configs) or {None: None}


def _first(builder):
    return next(iter(_pair_sets(builder)))


def _pairs(pair_set, builder):
    if pair_set is None:
        return getattr(builder, "COUNTS", "as many as you like")
    told = [
        f"{split} {'-' if published.count is None else format(published.count, ',')}"
        for split, published in pair_set.splits.items()
    ]
    if pair_set.validation:
        told.append("one training scene in eleven validates")
    if pair_set.disjoint:
        told.append("training pairs with scenes of a test left out")
    return ", ".join(told)


def _page(builder):
    return f"[{builder.FACTS.page}]({builder.HOMEPAGE})" if builder.HOMEPAGE else ""


def _place(pair_set, builder):
    """The first layout of the first split, as people write paths."""
    if pair_set is None:
        return getattr(builder, "PLACE", "`backgrounds/`, optional `streaks/`")
    first = next(iter(pair_set.splits.values())).layouts[0]
    text = str(first[0] if isinstance(first, tuple) else first).split(" (or ")[0].split(" or ")[0]
    return f"`{re.sub(r'(^|(?<=with ))/', '', text)}`"


def main(root: Path = ROOT) -> int:
    page = root / "docs" / "datasets.md"
    update(page, "sets", sets_table())
    update(page, "terms", terms_table())
    update(page, "blends", blends_table())
    for name, builder in builders().items():
        update(root / "datasets" / name / "README.md", "facts", facts_list(builder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
