"""`mspfn app`: the web page, on this machine."""

import argparse
import sys

from mspfn_tf.errors import UsageError

HELP = "open a page that derains pictures in the browser; nothing leaves this machine"

PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, help=f"port on 127.0.0.1 (default: {PORT})")
    parser.add_argument("--no_browser", action="store_true", help="only serve, open no browser")
    parser.add_argument(
        "--output", metavar="DIR", help="write the page as a folder for a static host instead"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what stands at --output already"
    )


def run(arguments: argparse.Namespace) -> int:
    from mspfn_tf.web.server import PageServer, site, write_site

    if arguments.output is not None:
        if arguments.port is not None or arguments.no_browser:
            raise UsageError(
                "--output writes a folder and serves nothing: leave --port and --no_browser out"
            )
        print(f"the page: {write_site(arguments.output, arguments.overwrite)}")
        return 0
    if arguments.overwrite:
        raise UsageError("--overwrite goes with --output only")
    with PageServer(site(), PORT if arguments.port is None else arguments.port) as server:
        print(f"the page: {server.url}  (Ctrl-C ends it)")
        sys.stdout.flush()
        if not arguments.no_browser:
            import threading
            import webbrowser

            # Beside the server: a text browser in this terminal is waited for until it ends.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
