"""People who only restore need no TensorFlow: the documented lines in a bare environment."""

import configparser
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from mspfn_tf.cli import VERBS

ROOT = Path(__file__).resolve().parent.parent


def requirements():
    lines = (ROOT / "requirements-restore.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_versions_are_those_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options"]["install_requires"].split("\n")
    assert set(requirements()) <= set(required)
    assert len(requirements()) == 5


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The folder of programs of an environment with what `requirements-restore.txt` says."""
    folder = tmp_path_factory.mktemp("bare")
    # A copy, since building leaves folders behind.
    ignored = shutil.ignore_patterns(
        ".*", "build", "*.egg-info", "tests", "docs", "android", "node*"
    )
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr[-3000:]

    run(sys.executable, "-m", "venv", folder / "venv")
    pip = [programs / "python", "-m", "pip", "install", "--quiet"]
    run(*pip, "-r", ROOT / "requirements-restore.txt")
    run(*pip, "--no-deps", folder / "source")
    return programs


def environment():
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


def call(bare, tmp_path, *arguments):
    done = subprocess.run(
        [bare / "mspfn", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_restores_and_scores(bare, tmp_path):
    sample = ROOT / "mspfn_tf" / "sample" / "pairs"
    call(bare, tmp_path, "restore", sample / "input", "--output", "restored")
    assert len(list((tmp_path / "restored").iterdir())) == 6
    printed = call(bare, tmp_path, "score", "restored", sample / "target")
    assert "PSNR" in printed
    call(bare, tmp_path, "info")
    program = (
        "import importlib.util as u; print([n for n in ('tensorflow', 'keras') if u.find_spec(n)])"
    )
    found = subprocess.run(
        [bare / "python", "-c", program], capture_output=True, text=True, env=environment()
    )
    assert found.stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.skipif("app" not in VERBS, reason="the page is not part of this version")
def test_serves_the_page(bare, tmp_path):
    import socket
    import time

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [bare / "mspfn", "app", "--port", str(port), "--no_browser"]
    served = subprocess.Popen(command, cwd=tmp_path, env=environment())
    try:
        for _ in range(120):
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
                break
            except OSError:
                assert served.poll() is None
                time.sleep(0.5)
        assert b"<html" in page.lower()
    finally:
        served.terminate()
        served.wait(30)
