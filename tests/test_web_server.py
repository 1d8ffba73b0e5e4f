"""What `mspfn app` serves."""

import contextlib
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from mspfn_tf.cli import main
from mspfn_tf.errors import UsageError
from mspfn_tf.presets import DEFAULT_PRESET
from mspfn_tf.web.server import HEADERS, PageServer, site, write_site
from tests.browser import WEB, serving

pytestmark = pytest.mark.slow


def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read(), response.headers


def test_every_file_is_served_with_the_headers_of_isolation():
    files = site()
    with serving(PageServer(files, port=0)) as server:
        for name in ("", "worker.js", "vendor/litert.js", f"models/{DEFAULT_PRESET}.tflite"):
            content, headers = get(server.url + name)
            assert content == files[name or "index.html"]
            assert {key: headers[key] for key in HEADERS} == HEADERS
        assert get(server.url + "page.js")[1]["Content-Type"].startswith("text/javascript")
        assert get(server.url + "index.html?from=somewhere")[0] == files["index.html"]


class _Watched(PageServer):
    def __init__(self, files):
        super().__init__(files, port=0)
        self.ended = threading.Event()

    def shutdown_request(self, request):
        super().shutdown_request(request)
        self.ended.set()


def test_a_connection_that_the_browser_closes_is_no_error(capfd):
    with serving(_Watched({"large": bytes(100_000_000)})) as server:
        client = socket.create_connection(server.server_address)
        client.sendall(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert server.ended.wait(10)
    assert capfd.readouterr().err == ""


def test_other_errors_of_the_server_are_printed(capfd):
    with serving(_Watched({})) as server:
        server.files = None
        with pytest.raises(http.client.RemoteDisconnected):
            get(server.url)
        assert server.ended.wait(10)
    assert "AttributeError" in capfd.readouterr().err


@pytest.mark.parametrize(
    "path", ["../setup.cfg", "%2e%2e/setup.cfg", "vendor/../../setup.cfg", "__init__.py", "vendor"]
)
def test_nothing_else_is_served(path):
    with serving(PageServer(site(), port=0)) as server:
        with pytest.raises(urllib.error.HTTPError) as error:
            get(server.url + path)
        with error.value as answer:  # it holds the connection
            assert answer.code == 404


def test_the_service_worker_knows_all_files_and_changes_with_them():
    files = site()
    found = re.match(rb"self\.SITE = (\{.*\});\n", files["service_worker.js"])
    listed = json.loads(found[1])
    missing = {name for name in files if name not in listed["files"]}
    assert missing == {"service_worker.js", "vendor/files.json", "vendor/LICENSE"}
    assert "./" in listed["files"]
    assert len(listed["version"]) == 16


def test_a_port_in_use_is_told(capsys):
    with PageServer({}, port=0) as server:
        assert main(["app", "--no_browser", "--port", str(server.server_port)]) == 2
    assert "choose another, or --port 0 for any that is free" in capsys.readouterr().err
    with pytest.raises(UsageError, match="port 70000 .*choose another, or port=0 for any"):
        PageServer({}, port=70000)


@contextlib.contextmanager
def the_command(*options, **environment):
    """`mspfn app`, ended by Ctrl-C."""
    command = [sys.executable, "-m", "mspfn_tf", "app", "--port", "0", *options]
    environment = {**os.environ, **environment}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=WEB.parent, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=10)
            finally:
                process.kill()  # if it is still there
    assert process.returncode == 0


def test_the_command_serves_until_it_is_ended():
    with the_command("--no_browser") as process:
        url = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())[0]
        assert b"Take the rain out" in get(url)[0]


def test_a_text_browser_that_is_waited_for_gets_the_page(tmp_path):
    got = tmp_path / "got.html"
    browser = tmp_path / "browser.py"
    browser.write_text(
        "import sys, urllib.request\n"
        f"open({str(got)!r}, 'wb').write(urllib.request.urlopen(sys.argv[1], timeout=20).read())\n"
    )
    with the_command(BROWSER=f"{sys.executable} {browser} %s"):
        deadline = time.monotonic() + 10
        while not (got.exists() and got.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert b"Take the rain out" in got.read_bytes()


def test_a_folder_for_static_hosts(tmp_path):
    folder = tmp_path / "web"
    assert main(["app", "--output", str(folder)]) == 0
    written = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert written == site()
    assert main(["app", "--output", str(folder)]) == 2
    assert write_site(folder, overwrite=True) == folder
    assert main(["app", "--overwrite"]) == 2
    assert main(["app", "--output", str(tmp_path / "other"), "--port", "1"]) == 2


@pytest.mark.parametrize("what", ["photographs", "a file"])
def test_what_is_no_page_is_never_replaced(tmp_path, capsys, what):
    place = tmp_path / "mine"
    if what == "a file":
        place.write_bytes(b"mine")
    else:
        place.mkdir()
        (place / "a.png").write_bytes(b"mine")
    before = sorted(tmp_path.rglob("*"))
    assert main(["app", "--output", str(place), "--overwrite"]) == 2
    assert str(place) in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_vendor_files_are_those_of_the_lockfile():
    lock = json.loads((WEB / "package-lock.json").read_text())["packages"]
    listed = json.loads((WEB / "vendor/files.json").read_text())
    others = {"files.json", "LICENSE"}
    assert {entry["file"] for entry in listed} == set(os.listdir(WEB / "vendor")) - others
    for entry in listed:
        content = (WEB / "vendor" / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], entry["file"]
        locked = lock[f"node_modules/{entry['package']}"]
        assert (entry["version"], entry["integrity"]) == (locked["version"], locked["integrity"])
        # npm has checked what it installed against the lockfile.
        installed = WEB / "node_modules" / entry["package"] / entry["source"]
        if installed.is_file():
            original = hashlib.sha256(installed.read_bytes()).hexdigest()
            assert original == entry["source_sha256"], entry["file"]
    assert "Apache License" in (WEB / "vendor/LICENSE").read_text()


@pytest.mark.parametrize("name", ["litert.js", "litert_wasm_compat_internal.wasm.gz", "files.json"])
@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_a_damaged_file_of_litert_is_not_served(tmp_path, monkeypatch, name, damage):
    page = tmp_path / "web"
    page.mkdir()
    for path in WEB.glob("*.*"):
        shutil.copy(path, page)
    shutil.copytree(WEB / "vendor", page / "vendor")
    monkeypatch.setattr("mspfn_tf.web.server.__file__", str(page / "server.py"))
    assert site().keys() > {"vendor/files.json"}
    path = page / "vendor" / name
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match=f"{re.escape(str(path))} is missing, damaged or was"):
        site()
