"""Generated parts of the Markdown documentation."""

import argparse
import json
import re
import sys
from pathlib import Path

from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_write


def update(path, name, text):
    """Replaces what stands between `<!-- begin generated: NAME -->` and its end in a Markdown file.

    Raises:
        UsageError: the file does not hold the pair of markers exactly once.
    """
    begin, end = f"<!-- begin generated: {name} -->", f"<!-- end generated: {name} -->"
    before = Path(path).read_text(encoding="utf-8")
    marked = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    after, count = marked.subn(lambda _: f"{begin}\n\n{text.strip()}\n\n{end}", before)
    if count != 1:
        raise UsageError(f"{path}: expected `{begin}` and `{end}` once, found {count}")
    if after != before:
        with atomic_write(path, overwrite=True) as temporary:
            temporary.write_text(after, encoding="utf-8")


def header(*cells):
    """The first two lines of a Markdown table."""
    return [row_of(*cells), "|" + "---|" * len(cells)]


def row_of(*cells):
    """A line of a Markdown table."""
    return "| " + " | ".join(cell or "-" for cell in cells) + " |"


def weights_line(results):
    """Says which weights were measured: records with `preset` and `weights_sha256`."""
    digests = sorted({(result["preset"], result["weights_sha256"]) for result in results})
    return f"Weights: {', '.join(f'{name} `{digest[:12]}...`' for name, digest in digests)}."


def write_results(measure, make_table, name, output, markdown=None):
    """What a measurement ends with: its results in a JSON file, and as a table, printed and kept.

    Args:
        measure: makes the results; the file is opened first, so that no work is done in vain.
        make_table: makes the Markdown text from them.
        name: of the generated part.
        output: the JSON file.
        markdown: the file whose generated part is replaced, or None.
    """
    with atomic_write(output, overwrite=True) as temporary:
        results = measure()
        temporary.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
    text = make_table(results)
    print(text)
    if markdown:
        update(markdown, name, text)


def update_command(prog, name, results, make_text, argv=None):
    """A program that updates a generated part of Markdown files from a folder of results.

    Args:
        prog: what the program is called.
        name: of the generated part.
        results: the folder, where none is given.
        make_text: makes the text from the folder; a `UsageError` is told.
        argv: the command line; default: that of this process.

    Returns:
        The exit status: 0, or 2 where the folder or a file is wrong.
    """
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("files", metavar="FILE.md", nargs="+")
    parser.add_argument("--results", type=Path, default=results, metavar="DIR")
    args = parser.parse_args(argv)
    try:
        text = make_text(args.results)
        for path in args.files:
            update(path, name, text)
    except UsageError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)
        return 2
    return 0
