"""The `mspfn` command: one verb per file of `mspfn_tf/commands/`."""

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from mspfn_tf import __version__
from mspfn_tf.errors import UsageError, naming_flags
from mspfn_tf.quiet import quiet_tensorflow
from mspfn_tf.terminal import open_closed_streams, plain_warnings, say

VERBS = (
    "restore",
    "bulk",
    "score",
    "evaluate",
    "evaluate-task",
    "prepare",
    "stats",
    "train",
    "convert",
    "export",
    "release",
    "benchmark",
    "app",
    "info",
)

EXIT_STATUS = """\
exit status:
  0  all done
  1  some inputs failed: each is named on standard error, the rest is done
  2  wrong usage or configuration: nothing was written
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command and of all its verbs; it loads no TensorFlow."""
    parser = argparse.ArgumentParser(
        prog="mspfn",
        description="Takes rain out of photographs.",
        epilog=EXIT_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mspfn_tf {__version__}")
    verbs = parser.add_subparsers(title="verbs", dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        command = importlib.import_module(f"mspfn_tf.commands.{verb.replace('-', '_')}")
        subparser = verbs.add_parser(
            verb,
            help=command.HELP,
            description=command.HELP,
            epilog=getattr(command, "EXIT_STATUS", EXIT_STATUS),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (default: the process' own) and returns its exit status."""
    name = "mspfn"
    open_closed_streams()
    try:
        arguments = build_parser().parse_args(argv)
        name = f"mspfn {arguments.verb}"
        quiet_tensorflow()
        with naming_flags(), plain_warnings(name):
            status = arguments.run(arguments)
        sys.stdout.flush()  # while what cannot be printed can still be told
        return status
    except UsageError as error:
        for line in f"{name}: error: {error}".split("\n"):
            say(line, sys.stderr)
        return 2
    except (ModuleNotFoundError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND", "")
        module = (getattr(error, "name", None) or "").partition(".")[0]
        if (module and module == backend) or str(error).startswith("Unable to import backend"):
            hint = f"KERAS_BACKEND={backend} cannot be imported: set it to tensorflow, jax or "
            hint += "torch, and install that (jax and torch are extras)"
        elif not module or module == "mspfn_tf" or module in sys.stdlib_module_names:
            raise
        else:  # as in an environment made by `requirements-restore.txt`
            hint = f"{module} is not installed: pip install mspfn_tf (which adds to this "
            hint += "installation what it lacks of all that it requires, TensorFlow among it)"
        say(f"{name}: error: {hint}", sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of what was printed has gone, as with `| head -1`
        with open(os.devnull, "w") as nowhere:  # Python flushes once more at the end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 1
    except OSError as error:
        if (error.strerror or "").startswith("No usable temporary directory"):
            hint = "this needs temporary files: set TMPDIR to a folder that can be written to"
            say(f"{name}: error: {hint} ({error.strerror})", sys.stderr)
            return 2
        try:
            print(flush=True)
        except OSError:  # it was printing that failed: the disk is full
            say("", sys.stdout)  # tells so, and drops what Python would flush at the end
            return 1
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        hint = "make room where temporary files go, or set TMPDIR to a folder that has some"
        say(f"{name}: error: {error.strerror}: {hint}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        say(f"{name}: interrupted", sys.stderr)
        return 130
