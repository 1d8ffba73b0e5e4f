"""`mspfn app`: the web page, on this machine."""

import argparse
import sys

HELP = "open a page that derains pictures in the browser; nothing leaves this machine"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8765, help="port on 127.0.0.1 (default: 8765)")
    parser.add_argument("--no_browser", action="store_true", help="only serve, open no browser")
    parser.add_argument(
        "--output", metavar="DIR", help="write the page as a folder for a static host instead"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace what stands at --output already"
    )


def run(arguments: argparse.Namespace) -> int:
    from mspfn_tf.errors import UsageError
    from mspfn_tf.web.server import PageServer, site, write_site

    if arguments.output is not None:
        print(f"the page: {write_site(arguments.output, arguments.overwrite)}")
        return 0
    if arguments.overwrite:
        raise UsageError("--overwrite goes with --output only")
    with PageServer(site(), arguments.port) as server:
        print(f"the page: {server.url}  (Ctrl-C ends it)")
        sys.stdout.flush()
        if not arguments.no_browser:
            import webbrowser

            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
