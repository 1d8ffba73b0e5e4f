"""The folder of a run: whose it is, and that no damage to its files goes unnoticed or spreads."""

import json
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from mspfn_tf.errors import UsageError
from mspfn_tf.training import checkpoints
from mspfn_tf.training.checkpoints import Checkpoints, DamagedCheckpointError, read
from mspfn_tf.training.reports import JsonLog
from mspfn_tf.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[1]
IDENTITY = {"seed": 0, "dataset": [["tiny", 1.0]]}


def save(files, *steps):
    for step in steps:
        files.save(step, {"a": np.arange(100.0) + step}, {"best": None})


def names(files):
    return [int(path.stem.partition("-")[2]) for path in files.paths()]


def damage(path):
    path.write_bytes(path.read_bytes()[:-100])


# === Checkpoints ===


def test_damaged_checkpoint_falls_back_with_a_warning(tmp_path):
    files = Checkpoints(tmp_path, keep=2)
    assert files.load_newest() is None
    for step in (1, 2, 3):
        files.save(step, {"a": np.arange(1000) + step}, {"best": None})
    assert [path.name for path in files.paths()] == ["step-00000002.npz", "step-00000003.npz"]
    newest = files.paths()[-1]
    whole = newest.read_bytes()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    for damaged in (whole[:-100], whole[:50], b"", bytes(changed)):
        newest.write_bytes(damaged)
        with pytest.warns(UserWarning, match="step-00000003.npz is damaged"):
            arrays, state = files.load_newest()
        assert state["step"] == 2 and arrays["a"][0] == 2
    newest.write_bytes(whole)
    assert files.load_newest()[1]["step"] == 3


def test_full_disk_leaves_the_last_checkpoint_alone(tmp_path, monkeypatch):
    files = Checkpoints(tmp_path, keep=1)
    files.save(1, {"a": np.arange(9)}, {})

    def full(file, **arrays):
        file.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        files.save(2, {"a": np.arange(9)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001.npz"]
    assert files.load_newest()[1]["step"] == 1


def test_damaged_checkpoints_never_displace_readable_ones(tmp_path):
    """Truncated files of later steps used to be kept in place of every new one."""
    files = Checkpoints(tmp_path, keep=2)
    save(files, 4, 8, 12)
    damage(files.paths()[-1])
    again = Checkpoints(tmp_path, keep=2)
    with pytest.warns(UserWarning, match="step-00000012.npz is damaged"):
        assert again.load_newest()[1]["step"] == 8
    save(again, 9)
    assert names(again) == [8, 9, 12]
    save(again, 10)
    assert names(again) == [9, 10, 12]
    save(again, 12)  # takes the place of the damaged one
    assert names(again) == [10, 12]
    assert again.load_newest()[1]["step"] == 12


def test_damaged_older_checkpoints_do_not_count(tmp_path):
    files = Checkpoints(tmp_path, keep=3)
    save(files, 1, 2, 3)
    damage(files.paths()[1])
    again = Checkpoints(tmp_path, keep=2)
    save(again, 4)
    assert names(again) == [3, 4]
    damage(tmp_path / "step-00000003.npz")
    last = Checkpoints(tmp_path, keep=2)
    save(last, 5)
    assert names(last) == [4, 5]


def test_the_last_readable_one_stays_however_few_are_kept(tmp_path):
    files = Checkpoints(tmp_path, keep=3)
    save(files, 1, 2, 3)
    for path in files.paths()[1:]:
        damage(path)
    again = Checkpoints(tmp_path, keep=2)
    save(again, 4)
    assert names(again) == [1, 2, 3, 4]


def test_when_all_are_damaged_the_run_does_not_begin_anew(tmp_path):
    files = Checkpoints(tmp_path)
    save(files, 4, 8)
    for path in files.paths():
        damage(path)
    before = {path: path.read_bytes() for path in files.paths()}
    with pytest.warns(UserWarning), pytest.raises(UsageError, match="no checkpoint in .* can be"):
        Checkpoints(tmp_path).load_newest()
    assert {path: path.read_bytes() for path in files.paths()} == before


def test_every_bit_of_the_zip_directory(tmp_path):
    """Flipped, it is noticed or harmless: never another exception, never other numbers."""
    files = Checkpoints(tmp_path)
    save(files, 1)
    (path,) = files.paths()
    whole = path.read_bytes()
    arrays, state = read(path)
    end = whole.rindex(b"PK\5\6")
    (start,) = struct.unpack("<I", whole[end + 16 : end + 20])
    noticed = 0
    for bit in range(8 * start, 8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found, found_state = read(path)
        except DamagedCheckpointError as error:
            assert str(path) in str(error)
            noticed += 1
            continue
        assert found_state == state and found.keys() == arrays.keys(), bit
        np.testing.assert_array_equal(found["a"], arrays["a"])
    assert len(whole) - start > 100 and noticed > 2 * (len(whole) - start)


def test_every_byte_and_every_length(tmp_path):
    files = Checkpoints(tmp_path)
    save(files, 1)
    (path,) = files.paths()
    whole = path.read_bytes()
    arrays, state = read(path)
    for index in range(0, len(whole), 3):
        for damaged in (
            whole[:index],
            whole[:index] + bytes([whole[index] ^ 0xFF]) + whole[index + 1 :],
        ):
            path.write_bytes(damaged)
            try:
                found, found_state = read(path)
            except DamagedCheckpointError:
                continue
            assert len(damaged) == len(whole) and found_state == state
            np.testing.assert_array_equal(found["a"], arrays["a"])


def test_a_declared_size_is_not_believed(tmp_path):
    path = tmp_path / "step-00000001.npz"
    np.savez_compressed(path, a=np.zeros(10**7), state=np.array(json.dumps({"arrays": ["a"]})))
    with pytest.raises(DamagedCheckpointError, match="larger than the file"):
        read(path)


# === Whose it is ===


def folder_with(tmp_path, *steps, identity=IDENTITY):
    folder = RunFolder(tmp_path / "run")
    folder.open()
    for step in steps:
        folder.save(step, {"a": np.arange(9.0)}, {"best": None}, identity)
    folder.write_config({"recipe": identity, "model": {}})
    return folder


def test_another_run_is_refused_with_the_difference(tmp_path):
    folder = folder_with(tmp_path, 0, 4)
    folder.check(IDENTITY)
    with pytest.raises(UsageError, match="seed: 0 there, 3 now") as error:
        folder.check({**IDENTITY, "seed": 3})
    assert "dataset" not in str(error.value)


@pytest.mark.parametrize("name", ["pictures", "validation_pictures"])
def test_pictures_count_where_both_are_known(tmp_path, name):
    """Runs from before they were noted go on; what is to come does not know them at first."""
    folder_with(tmp_path, 0, 4).check({**IDENTITY, name: "a"})
    folder = folder_with(tmp_path / "noted", 0, 4, identity={**IDENTITY, name: "a"})
    folder.check(IDENTITY)
    folder.check({**IDENTITY, name: "a"})
    with pytest.raises(UsageError, match=f"{name}: 'a' there, 'b' now"):
        folder.check({**IDENTITY, name: "b"})


def test_runs_from_before_there_was_a_field_had_its_default(tmp_path):
    folder = folder_with(tmp_path, 0, 4)
    folder.check({**IDENTITY, "brightness_weight": 0.0, "symmetries": "all"})
    folder.load({**IDENTITY, "brightness_weight": 0.0})
    with pytest.raises(UsageError, match="brightness_weight: 0.0 there, 0.3 now"):
        folder.check({**IDENTITY, "brightness_weight": 0.3})


@pytest.mark.parametrize("torn", [None, "", '{"recipe": ', "[]", '{"recipe": 3}', "\xff"])
def test_a_missing_or_torn_config_is_written_again_from_a_checkpoint(tmp_path, torn):
    folder = folder_with(tmp_path, 0, 4)
    config = tmp_path / "run/config.json"
    whole = config.read_text()
    config.unlink()
    if torn is not None:
        config.write_text(torn, encoding="latin-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert folder.recorded() == IDENTITY
        with pytest.raises(UsageError, match="seed: 0 there, 3 now"):
            folder.check({**IDENTITY, "seed": 3})
        folder.write_config(json.loads(whole))
    assert config.read_text() == whole


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    """Two runs in one folder used to end as a mixture."""
    folder = folder_with(tmp_path, 0)
    folder.save(4, {"a": np.arange(9.0)}, {}, {**IDENTITY, "seed": 3})
    with pytest.raises(UsageError, match="step-00000004.npz is of a run of another configuration"):
        folder.load(IDENTITY)


def test_results_without_checkpoints_are_not_written_over(tmp_path):
    folder = folder_with(tmp_path, 0, 4)
    folder.log.write_text("{}\n")
    for path in folder.checkpoints.paths():
        path.unlink()
    with pytest.raises(UsageError, match="holds log.jsonl of a run, but none of its checkpoints"):
        folder.check(IDENTITY)


def test_nothing_readable_is_refused(tmp_path):
    folder = folder_with(tmp_path, 0, 4)
    (tmp_path / "run/config.json").unlink()
    for path in folder.checkpoints.paths():
        damage(path)
    with pytest.raises(UsageError, match="neither .*config.json nor any checkpoint"):
        folder.recorded()


def test_checkpoints_of_an_earlier_version_are_refused(tmp_path):
    folder = RunFolder(tmp_path)
    folder.checkpoints.save(4, {"a": np.arange(9.0)}, {})
    with pytest.raises(UsageError, match="earlier version"):
        folder.check(IDENTITY)


def test_the_folder_is_locked_for_others_and_free_after_a_kill(tmp_path):
    code = (
        "import sys, time\n"
        "from mspfn_tf.training.run_folder import RunFolder\n"
        f"folder = RunFolder({str(tmp_path)!r}); folder.open()\n"
        "print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(UsageError, match=f"in use by mspfn train, process {other.pid}"):
            RunFolder(tmp_path).open()
    finally:
        other.kill()
        other.communicate()
    folder = RunFolder(tmp_path)
    folder.open()
    with pytest.raises(UsageError, match=f"process {os.getpid()}"):
        RunFolder(tmp_path).open()
    folder.close()
    RunFolder(tmp_path).open()


def test_leftovers_of_killed_runs_go_at_the_start(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from mspfn_tf.files import partial_path\n"
        "for name in sys.argv[1:]: partial_path(Path(name)).write_text('half')"
    )
    (tmp_path / "checkpoints").mkdir()
    inside = [tmp_path / "checkpoints/step-00000001.npz", tmp_path / "model.weights.h5"]
    subprocess.run([sys.executable, "-c", code, *inside], check=True, cwd=ROOT)
    assert len(list(tmp_path.rglob(".partial-*"))) == 2
    RunFolder(tmp_path).open()
    assert not list(tmp_path.rglob(".partial-*"))


def test_a_log_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    folder.log.write_text('{"step": 1}\n')

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UsageError, match=r"log\.jsonl: Permission denied; there is no checkpoint"):
        JsonLog(folder, 1)
    monkeypatch.undo()
    assert folder.log.read_text() == '{"step": 1}\n' and os.listdir(tmp_path) == ["log.jsonl"]
    folder.log.unlink()
    folder.log.mkdir()
    with pytest.raises(UsageError, match=r"log\.jsonl is a folder"):
        JsonLog(folder, 1)


def test_space(tmp_path):
    folder = folder_with(tmp_path, 0)
    folder.check_space(10)
    with pytest.raises(UsageError, match="make room or lower keep_checkpoints"):
        folder.check_space(2**60)
