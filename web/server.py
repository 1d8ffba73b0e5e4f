"""The page that derains in the browser: its files, as a site, and a server for this machine alone.

The page itself stands in `web/` (installed as `mspfn_tf.web`) and needs no build step. What is
added here: the models that are shipped, their list, a sample picture, and in front of the service
worker the list of all files with a version made of their contents.
"""

import hashlib
import json
import mimetypes
import os
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mspfn_tf.errors import UsageError, argument
from mspfn_tf.files import atomic_folder, writing
from mspfn_tf.presets import (
    DEFAULT_PRESET,
    PRESETS,
    WEIGHTS,
    check_shipped_bytes,
    tflite_path,
)

_SAMPLE = WEIGHTS.parent / "sample" / "rainy.jpg"
_SUFFIXES = (".css", ".html", ".js", ".svg", ".webmanifest")
_TYPES = {
    ".gz": "application/octet-stream",  # unpacked by the page, not on the way
    ".js": "text/javascript",
    ".tflite": "application/octet-stream",
    ".webmanifest": "application/manifest+json",
}
HEADERS = {
    # Isolation, without which browsers give no shared memory and WebAssembly no threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Nothing leaves this origin, whatever a script might try.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob:; "
        "connect-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def site(models: Mapping[str, Path] | None = None) -> dict[str, bytes]:
    """All files of the site: path below its root -> content.

    Args:
        models: name -> `.tflite` file with float32 pictures of a fixed size, to choose among; the
            first is chosen at the start. Default: those that are shipped, the default preset first.

    Raises:
        UsageError: there is no model, a shipped one or a file of LiteRT is damaged, or the page is
            not installed.
    """
    root = Path(__file__).resolve().parent
    pages = [path for path in sorted(root.iterdir()) if path.suffix in _SUFFIXES]
    files = {path.name: path.read_bytes() for path in pages}
    vendor = (path for path in sorted(root.glob("vendor/*")) if not path.name.endswith(".d.ts"))
    files |= {f"vendor/{path.name}": path.read_bytes() for path in vendor}
    if "index.html" not in files:
        raise UsageError(f"{root} does not hold the whole page: install the package again")
    _check_vendor(files, root)
    files["sample.jpg"] = _SAMPLE.read_bytes()
    files |= _model_files(_shipped() if models is None else models)
    files["service_worker.js"] = _with_list(files)
    return files


def write_site(
    folder: str | os.PathLike, overwrite: bool = False, models: Mapping[str, Path] | None = None
) -> Path:
    """Writes the site as a folder for any static host, at the root of a domain or below.

    Args:
        folder: the folder to make.
        overwrite: whether such a folder that exists may be replaced.
        models: as `site` takes them.

    Raises:
        UsageError: `folder` exists and `overwrite` is false, or holds something else, or it cannot
            be written; or as `site`.
    """
    files = site(models)
    with atomic_folder(folder, overwrite, "service_worker.js") as temporary, writing(folder):
        for name, content in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return Path(folder)


class PageServer(ThreadingHTTPServer):
    """Serves a site to this machine alone: what is not among its files does not exist.

    Args:
        files: path -> content, as `site` returns them.
        port: TCP port on 127.0.0.1; 0 for any that is free.

    Attributes:
        url: where the page stands.

    Raises:
        UsageError: the port is taken or may not be used.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], port: int = 8765):
        self.files = files
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"port {port} of 127.0.0.1 cannot be used ({reason}): choose another, or "
                f"{argument('port', 0)} for any that is free"
            ) from error

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Browsers close connections whenever they please, as when a page is left while it loads.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PageServer

    def do_GET(self):
        self._answer(with_body=True)

    def do_HEAD(self):
        self._answer(with_body=False)

    def _answer(self, with_body):
        try:
            name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        except ValueError:  # no address at all
            name = ""
        content = self.server.files.get(name)
        status = HTTPStatus.OK
        if content is None:
            name, content, status = "missing.txt", b"There is no such file.\n", HTTPStatus.NOT_FOUND
        self.send_response(status)
        self.send_header("Content-Type", _content_type(name))
        self.send_header("Content-Length", str(len(content)))
        for header, value in HEADERS.items():
            self.send_header(header, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, format, *args):
        pass  # which pictures somebody restores when is nobody's business, not even a log's


def _content_type(name):
    suffix = Path(name).suffix
    kind = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "text/plain"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _check_vendor(files, root):
    # Or the page would not start, and could not say why.
    try:
        listed = json.loads(files["vendor/files.json"])
        digests = {f"vendor/{entry['file']}": entry["sha256"] for entry in listed}
    except (KeyError, TypeError, ValueError):
        digests = {"vendor/files.json": ""}
    for name, digest in digests.items():
        if name.endswith(".d.ts"):  # of no use to the page
            continue
        if hashlib.sha256(files.get(name, b"")).hexdigest() != digest:
            raise UsageError(
                f"{root / name} is missing, damaged or was changed: its SHA-256 is not that of "
                "the file that was shipped. Install the package again"
            )


def _shipped():
    paths = {name: tflite_path(name) for name in PRESETS}
    paths = {name: path for name, path in paths.items() if path is not None}
    return dict(sorted(paths.items(), key=lambda item: item[0] != DEFAULT_PRESET))


def _model_files(models):
    if not models:
        raise UsageError("no model is shipped as .tflite, so that the page would have none")
    entries, files = [], {}
    for name, path in models.items():
        content = Path(path).read_bytes()
        check_shipped_bytes(path, content)
        files[f"models/{name}.tflite"] = content
        title = f"{name} ({len(content) / 1e6:.1f} MB)"
        entries.append(
            {"name": name, "file": f"{name}.tflite", "title": title, "bytes": len(content)}
        )
    return {"models/models.json": json.dumps(entries, indent=1).encode() + b"\n", **files}


def _with_list(files):
    """The service worker, with what it keeps written in front."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    others = sorted({"./", *files} - {"service_worker.js", "vendor/files.json", "vendor/LICENSE"})
    listed = {"version": digest.hexdigest()[:16], "files": others}
    return f"self.SITE = {json.dumps(listed)};\n".encode() + files["service_worker.js"]
