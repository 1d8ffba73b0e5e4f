"""The command line as a whole, and what importing the package does not import."""

import errno
import importlib
import io
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest

import mspfn_tf
from mspfn_tf import cli
from mspfn_tf.cli import VERBS, main
from mspfn_tf.errors import UsageError
from mspfn_tf.files import atomic_folder

ROOT = Path(__file__).resolve().parent.parent
HEAVY = "{'tensorflow', 'keras', 'jax', 'torch', 'tensorflow_datasets'}"


def python(*arguments):
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT)


@pytest.mark.parametrize(
    "code",
    [
        "import mspfn_tf; mspfn_tf.PRESETS; dir(mspfn_tf)",
        "import mspfn_tf.cli; mspfn_tf.cli.build_parser().format_help()",
    ],
)
def test_light_imports(code):
    result = python("-c", f"import sys; {code}; print(sorted({HEAVY} & set(sys.modules)))")
    assert result.stdout.strip() == "[]", result.stderr


def test_help_and_version():
    result = python("-m", "mspfn_tf", "--help")
    assert result.returncode == 0
    assert all(verb in result.stdout for verb in VERBS)
    result = python("-m", "mspfn_tf", "--version")
    assert result.stdout.split() == ["mspfn_tf", mspfn_tf.__version__]


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    assert "usage: mspfn" in capsys.readouterr().out


def test_wrong_usage_is_status_2(capsys):
    for command in ([], ["paint"], ["info", "--colour", "red"]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
    assert main(["info", "--preset", "mspfn_giant"]) == 2
    assert "mspfn_m17n1" in capsys.readouterr().err


def test_flags_are_named_to_users_of_the_command_alone(tmp_path, capsys):
    taken = tmp_path / "taken.jpg"
    taken.touch()
    assert main(["restore", str(ROOT / "mspfn_tf/sample/rainy.jpg"), "--output", str(taken)]) == 2
    assert "pass --resume" in capsys.readouterr().err
    with pytest.raises(UsageError, match="pass overwrite=True"), atomic_folder(tmp_path):
        pass


def test_interrupted_at_any_time(monkeypatch, capsys):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "quiet_tensorflow", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "mspfn info: interrupted\n"
    monkeypatch.setattr(cli, "build_parser", interrupted)
    assert main(["info"]) == 130
    assert capsys.readouterr().err == "mspfn: interrupted\n"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["foo", "torch"])
def test_a_backend_that_is_not_there(tmp_path, monkeypatch, backend):
    command = "train --preset mspfn_nano --dataset rain800 --data_dir d --workdir w --steps 2000"
    code = "import sys; sys.modules['torch'] = None; from mspfn_tf.cli import main; "
    code += f"sys.exit(main({command.split()}))"
    monkeypatch.setenv("KERAS_BACKEND", backend)
    result = python("-c", code)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert f"KERAS_BACKEND={backend} cannot be imported: set it to tensorflow, " in result.stderr


def test_verbs_that_need_what_is_not_installed_say_so(tmp_path):
    sample = str(ROOT / "mspfn_tf/sample/rainy.jpg")
    commands = {
        "keras": [
            ["export", "--format", "litert", "--output", "a.tflite"],
            ["benchmark"],
            ["restore", sample, "--runtime", "keras", "--output", "a.png"],
        ],
        "tensorflow_datasets": [["prepare", "rain800", "--manual_dir", "m", "--data_dir", "d"]],
        "pyarrow": [["bulk", sample, "--output", "b", "--local"]],
    }
    code = f"import os, sys; sys.path.insert(0, {str(ROOT)!r}); os.chdir({str(tmp_path)!r})\n"
    code += "os.environ.pop('KERAS_BACKEND', None)\n"
    code += f"commands = {commands}\nsys.modules.update(dict.fromkeys(commands))\n"
    code += "from mspfn_tf.cli import main\n"
    code += "print([main(each) for part in commands.values() for each in part])"
    result = python("-c", code)
    assert result.stdout == "[2, 2, 2, 2, 2]\n", result.stderr
    told = result.stderr.splitlines()
    assert len(told) == 5
    assert told[0].startswith("mspfn export: error: keras is not installed: pip install mspfn_tf ")
    assert told[3].startswith("mspfn prepare: error: tensorflow_datasets is not installed: ")
    assert told[4].startswith("mspfn bulk: error: pyarrow is not installed: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error, words",
    [
        (
            FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"),
            "this needs temporary files: set TMPDIR to ",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: make room "),
    ],
)
def test_no_folder_for_temporary_files(tmp_path, monkeypatch, capsys, error, words):
    def none(*arguments, **options):
        raise error

    monkeypatch.setattr(tempfile, "mkdtemp", none)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a picture")))
    assert main(["restore", "-", "--output", str(tmp_path / "clean.png")]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"mspfn restore: error: {words}")
    assert list(tmp_path.iterdir()) == []


def test_messages_hold_no_control_characters(tmp_path, capsys):
    name = tmp_path / "a\x1b[31m.jpg"
    assert main(["restore", str(name), "--output", str(tmp_path / "out")]) == 2
    assert "no such file or folder: " in (told := capsys.readouterr().err)
    assert "a\\x1b[31m.jpg" in told and "\x1b" not in told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_what_cannot_be_printed_is_told_and_is_status_1(unbuffered):
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "mspfn_tf", "info"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert result.stderr == "mspfn: cannot print to <stdout>: No space left on device\n"
    assert result.returncode == 1


def test_info(capsys):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    assert "17,769,728 parameters, 182.65 GMAC at 256x256" in text
    assert main(["info", "--preset", "mspfn_m17n1"]) == 0
    assert "rcabs = (1, 1, 1)" in capsys.readouterr().out


def test_public_names_exist():
    for name in mspfn_tf.__all__:
        assert getattr(mspfn_tf, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        mspfn_tf.nothing  # noqa: B018


def test_every_package_is_listed_for_installation():
    text = (ROOT / "setup.cfg").read_text()
    for folder in ("mspfn_tf/commands", *map(str, (ROOT / "datasets").iterdir()), "export"):
        path = ROOT / folder
        if (path / "__init__.py").is_file() and path.parent == ROOT / "datasets":
            assert f"mspfn_tf.datasets.{path.name}\n" in text
            importlib.import_module(f"mspfn_tf.datasets.{path.name}")


@pytest.mark.filterwarnings("default")
def test_warnings_are_lines_without_control_characters(monkeypatch, capsys):
    def warn(arguments):
        warnings.warn("runs/\x1b[31mred is damaged", stacklevel=1)
        return 0

    monkeypatch.setattr("mspfn_tf.commands.info.run", warn)
    assert main(["info"]) == 0
    said = capsys.readouterr().err
    assert said == "mspfn info: warning: runs/\\x1b[31mred is damaged\n"
