"""A stand-in of the Hugging Face Hub on 127.0.0.1: the parts of its HTTP layout that a download
asks for."""

import contextlib
import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator


class Hub:
    """Repositories in memory.

    Attributes:
        repositories: name -> revision -> file name -> content. A revision is a branch or tag.
        requests: the paths that were asked for, in order.
    """

    def __init__(self):
        self.repositories = {}
        self.requests = []

    def commit(self, name, revision):
        """The commit of a revision: 40 hexadecimal digits, by its content."""
        files = self.repositories[name][revision]
        digest = hashlib.sha1(name.encode())
        for file, content in sorted(files.items()):
            digest.update(file.encode() + hashlib.sha1(content).digest())
        return digest.hexdigest()

    def files(self, name, revision):
        """(commit, files) of a branch, tag or commit; None where there is none."""
        for known, files in self.repositories[name].items():
            if revision in (known, self.commit(name, known)):
                return self.commit(name, known), files
        return None


@contextlib.contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """Serves `hub`; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            parts = urllib.parse.urlsplit(self.path).path.strip("/").split("/")
            parts = [urllib.parse.unquote(part) for part in parts]
            hub.requests.append("/".join(parts))
            if parts[:2] == ["api", "models"]:
                name, rest = "/".join(parts[2:4]), parts[4:]
            else:
                name, rest = "/".join(parts[:2]), parts[2:]
            if name not in hub.repositories:
                return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            found = hub.files(name, rest[1] if len(rest) > 1 else "main")
            if found is None:
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            commit, files = found
            if rest[:1] == ["resolve"]:
                content = files[rest[2]]
                etag = f'"{hashlib.sha1(content).hexdigest()}"'
                return self.answer(200, content, {"X-Repo-Commit": commit, "ETag": etag})
            if rest[:1] == ["tree"]:
                listing = [
                    {
                        "type": "file",
                        "path": file,
                        "oid": hashlib.sha1(content).hexdigest(),
                        "size": len(content),
                    }
                    for file, content in files.items()
                ]
            else:
                siblings = [{"rfilename": file} for file in files]
                listing = {"id": name, "modelId": name, "sha": commit, "siblings": siblings}
            self.answer(200, json.dumps(listing).encode(), {"Content-Type": "application/json"})

        do_HEAD = do_GET

        def answer(self, status, content, headers):
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
