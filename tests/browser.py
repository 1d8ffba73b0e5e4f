"""What the tests of the web page need from outside: node, chromium, and the packages of web/."""

import functools
import http.server
import os
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parent.parent / "web"


def chromium():
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def needs_browser():
    """Skips the test that calls it, with what is missing, where no browser can be driven."""
    missing = [
        text
        for found, text in (
            (shutil.which("node"), "node is not installed"),
            (chromium(), "chromium is not installed (Debian: apt-get install chromium)"),
            ((WEB / "node_modules/playwright-core").is_dir(), "run `npm ci` in web/"),
        )
        if not found
    ]
    if missing:
        pytest.skip("no browser to test the page in: " + "; ".join(missing))


@contextmanager
def serving(server):
    """Runs a server in a thread."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Plain(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Vary", "Accept, Accept-Encoding, Origin")  # as many hosts do
        super().end_headers()

    def log_message(self, format, *args):
        pass


def plain_server(folder):
    """A server of a folder that knows nothing of isolation, as static hosts are."""
    handler = functools.partial(_Plain, directory=os.fspath(folder))
    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
