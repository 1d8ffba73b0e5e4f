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


def make_environment(tmp_path, venv, version="3, 12"):
    """Has `make` set up an environment with a Python of that version that runs `venv` for -m venv;
    returns what it did and the program that stands for Python there."""
    python, folder = tmp_path / "python", tmp_path / "venv"
    python.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = -m ] && {{ mkdir -p {folder}/bin; touch {folder}/bin/python; {venv}; exit; }}\n'
        f'[ "$1" = --version ] && {{ echo Python {version}; exit; }}\n'
        f'exec {sys.executable} -c "import sys; sys.version_info = ({version}); $2"\n'
    )
    python.chmod(0o755)
    made = folder / "bin" / "python"
    variables = [f"PYTHON={python}", f"VENV={folder}"]
    done = subprocess.run(
        ["make", *variables, str(made)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    return done, made


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_begins_again_with_an_environment_that_could_not_be_finished(tmp_path):
    done, made = make_environment(tmp_path, "false")  # Debian without python3-venv
    assert done.returncode and not made.exists()
    pip = tmp_path / "venv" / "bin" / "pip"
    done, made = make_environment(tmp_path, f"cp /bin/true {pip}")
    assert done.returncode == 0 and made.exists() and pip.exists(), done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("version", ["3, 10", "3, 14"])
def test_make_refuses_a_python_that_the_package_does_not_take(tmp_path, version):
    done, made = make_environment(tmp_path, "true", version)
    assert done.returncode and not made.exists()
    assert f"Python 3.11 to 3.13 is needed, not Python {version}: name one" in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_installs_again_in_a_folder_that_was_moved_or_copied(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()

    def would_install(place):
        (tmp_path / ".installed").write_text(f"{place}\n")
        command = ["make", "--dry-run", f"VENV={tmp_path}", "web"]
        return "pip install" in subprocess.check_output(command, cwd=ROOT, text=True)

    assert would_install("/where/it/was before") and would_install("")
    assert not would_install(ROOT)


def test_files_of_an_earlier_build_are_not_installed_again(tmp_path):
    pytest.importorskip("setuptools")
    built = tmp_path / "lib" / "mspfn_tf"
    (built / "weights").mkdir(parents=True)
    (built / "weights" / "gone.json").touch()
    (built / "cli.py").write_text("of an earlier version, built after this one's file was written")
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build", "-b", tmp_path, "--build-lib", built.parent],
        cwd=ROOT,
        check=True,
    )
    assert (built / "cli.py").read_bytes() == (ROOT / "mspfn_tf" / "cli.py").read_bytes()
    assert (built / "weights" / "mspfn_nano.json").exists()
    assert not (built / "weights" / "gone.json").exists()


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
