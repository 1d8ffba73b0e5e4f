import os
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import (
    Picture,
    read_header,
    read_picture,
    read_pictures,
    read_rgb,
    write_picture,
)
from mspfn_tf.restoring import file_restorer
from mspfn_tf.restoring.file_restorer import FileRestorer, Interrupted, current_source, restore_all
from mspfn_tf.restoring.plan import Job, Plan, plan
from tests.color_profiles import icc_profile
from tests.mutated_files import mutated, whole_files

ROOT = Path(__file__).resolve().parent.parent


def half(image):
    """Stands for a network: halves the light, so that what was restored can be seen."""
    return image // 2 if image.dtype == np.uint8 else image / 2


@pytest.fixture
def photos(tmp_path):
    """Ten pictures, told apart by their gray."""
    for number in range(10):
        picture = np.full((8, 9, 3), 20 * number, np.uint8)
        write_picture(tmp_path / "in" / f"{number}.png", picture)
    return tmp_path / "in"


def outcomes(planned, restorer=half, **options):
    return list(restore_all(planned, FileRestorer(restorer), **options))


def test_a_folder(tmp_path, photos):
    found = outcomes(plan([photos], tmp_path / "out"))
    assert sorted(outcome.job.source.name for outcome in found) == sorted(os.listdir(photos))
    assert {outcome.status for outcome in found} == {"restored"}
    for number in range(10):
        np.testing.assert_array_equal(read_rgb(tmp_path / "out" / f"{number}.png"), 10 * number)
    assert len(os.listdir(tmp_path / "out")) == 10


def test_files_are_decoded_while_another_is_restored(tmp_path, photos):
    at_work, most = set(), []

    class Watching(FileRestorer):
        def restore(self, job, progress=None):
            at_work.add(job)
            most.append(len(at_work))
            outcome = super().restore(job, progress)
            at_work.discard(job)
            return outcome

    running = threading.Lock()

    def alone(image):
        assert running.acquire(blocking=False), "two pictures went through the network at once"
        time.sleep(0.01)
        running.release()
        return image

    found = list(restore_all(plan([photos], tmp_path / "out"), Watching(alone), workers=3))
    assert {outcome.status for outcome in found} == {"restored"}
    assert max(most) == 3


def test_large_pictures_are_worked_on_alone(tmp_path, photos):
    held, most = [], []

    def restorer(image):
        most.append(len(held))
        return image

    files = FileRestorer(restorer, pixels=100)  # a picture has 72
    taken = files._pixels.taken

    def watched(pixels):
        context = taken(pixels)

        class Watch:
            def __enter__(self):
                context.__enter__()
                held.append(pixels)

            def __exit__(self, *exception):
                held.remove(pixels)
                return context.__exit__(*exception)

        return Watch()

    files._pixels.taken = watched
    found = list(restore_all(plan([photos], tmp_path / "out"), files))
    assert len(found) == 10 and set(most) == {1}


def test_sixteen_bits_go_through_as_floats(tmp_path):
    deep = np.random.default_rng(0).integers(0, 65_536, (8, 9, 3), dtype=np.uint16)
    seen = []

    def restorer(image):
        seen.append(image.dtype)
        return half(image)

    for suffix in (".png", ".tif"):
        write_picture(tmp_path / f"a{suffix}", deep)
        job = Job(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", tmp_path / f"c{suffix}")
        assert FileRestorer(restorer).restore(job).status == "restored"
        restored = read_picture(tmp_path / f"b{suffix}").rgb
        assert np.abs(restored - deep / 2).max() <= 0.51 and restored.dtype == np.uint16
        assert read_rgb(tmp_path / f"c{suffix}").shape[1] == 26
    assert seen == [np.float32] * 2


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tif"])
def test_all_frames_are_restored(tmp_path, suffix):
    frames = [Image.new("RGB", (16, 8), (level,) * 3) for level in (60, 120, 180)]
    timing = {} if suffix == ".tif" else {"duration": [70, 140, 210], "loop": 2}
    plays = {".tif": None, ".gif": 3}.get(suffix, 2)  # GIF does not count the first time
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:], **timing)
    job = Job(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", tmp_path / f"c{suffix}")
    parts = []

    def restorer(image, progress=None):
        progress(1, 2)
        return half(image)

    outcome = FileRestorer(restorer).restore(job, parts.append)
    assert (outcome.status, outcome.frames, outcome.message) == ("restored", 3, None)
    assert parts == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])
    assert read_header(job.target).loop == plays
    for frame, level in zip(read_pictures(job.target), (30, 60, 90), strict=True):
        assert np.abs(frame.rgb.astype(int) - level).max() <= 3
    assert [frame.duration for frame in read_pictures(job.target)] == timing.get(
        "duration", [None] * 3
    )
    sheets = list(read_pictures(job.comparison))
    assert len(sheets) == 3 and sheets[0].rgb.shape == (8, 40, 3)


def test_whatever_a_restorer_raises_is_an_outcome(tmp_path, photos):
    def failing(image):
        raise {0: UsageError, 40: OSError, 80: RuntimeError, 120: AssertionError}.get(
            int(image[0, 0, 0]), ZeroDivisionError
        )("of the test")

    found = outcomes(plan([photos], tmp_path / "out"), failing)
    assert len(found) == 10 and {outcome.status for outcome in found} == {"failed"}
    for outcome in found:
        assert outcome.message.startswith(str(outcome.job.source))
        assert outcome.message.endswith("of the test")
    assert os.listdir(tmp_path / "out") == []


class Panic(BaseException):
    """As decoders in Rust raise it."""

    __module__ = "pyo3_runtime"


def test_panics_are_outcomes_and_interrupts_are_not(tmp_path, photos):
    def failing(image):
        raise error

    job = Job(photos / "5.png", tmp_path / "a.png")
    error = Panic("of the test")
    assert "Panic: of the test" in FileRestorer(failing).restore(job).message
    error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        FileRestorer(failing).restore(job)


def test_a_claim_that_fails_is_an_outcome(tmp_path, photos, monkeypatch):
    def refusing(self, name):
        if name == "5.png":
            raise OSError(5, "Input/output error")
        return claim(self, name)

    claim = file_restorer.Claims.claim
    monkeypatch.setattr(file_restorer.Claims, "claim", refusing)
    found = outcomes(plan([photos], tmp_path / "out"))
    (failed,) = (outcome for outcome in found if outcome.status == "failed")
    assert "5.png: " in failed.message and "Input/output error" in failed.message
    assert len(found) == 10


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's."""


@pytest.mark.parametrize(
    "error", [MemoryError(), ResourceExhaustedError(), RuntimeError("tensors: failed to allocate")]
)
def test_smaller_tiles_are_tried_when_the_memory_does_not_suffice(tmp_path, photos, error):
    tried = []

    def make(tile):
        def restorer(image):
            tried.append(tile)
            if tile is None or tile > enough:
                raise error
            return half(image)

        return restorer

    job = Job(photos / "5.png", tmp_path / "a.png")
    enough = 128
    assert FileRestorer(make(None), make).restore(job).status == "restored"
    assert tried == [None, 256, 128]
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), 50)
    enough = 0
    outcome = FileRestorer(make(None), make).restore(Job(photos / "5.png", tmp_path / "b.png"))
    assert outcome.status == "failed" and "not enough memory to restore 9x8" in outcome.message
    outcome = FileRestorer(make(None)).restore(Job(photos / "5.png", tmp_path / "b.png"))
    assert outcome.status == "failed" and "not enough memory to restore 9x8" in outcome.message


def test_a_model_of_fixed_size_has_no_smaller_tiles(tmp_path, photos):
    def refusing(tile):
        raise UsageError("takes pieces of 512x512 only")

    def failing(image):
        raise MemoryError

    outcome = FileRestorer(failing, refusing).restore(Job(photos / "5.png", tmp_path / "b.png"))
    assert outcome.status == "failed" and "not enough memory" in outcome.message


def test_what_cannot_be_written_is_known_before_the_work(tmp_path):
    def never(image):
        raise AssertionError("the work was done")

    Image.new("L", (70_000, 2)).save(tmp_path / "wide.png")
    Image.new("RGB", (40_000, 2)).save(tmp_path / "half.png")
    frames = [Image.new("RGB", (8, 8), (level,) * 3) for level in (60, 120)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    pages = [Image.new("RGB", (8, side)) for side in (8, 9)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    alpha = np.zeros((4, 4), np.uint8)
    write_picture(tmp_path / "alpha.png", np.zeros((4, 4, 3), np.uint8), Picture(None, alpha))
    for name, target, comparison, message in [
        ("wide.png", "a.jpg", None, "at most 65500 pixels a side"),
        ("half.png", "a.webp", None, "at most 16383 pixels a side"),
        ("half.png", "a.jpg", "b.jpg", "b.jpg: '.jpg' files hold at most 65500"),
        ("moving.gif", "a.jpg", None, "hold one picture, this one has 2 frames"),
        ("pages.tif", "a.webp", None, "pages of different sizes, which '.webp' files cannot"),
        ("alpha.png", "a.jpg", None, "cannot hold alpha"),
    ]:
        comparison = tmp_path / comparison if comparison else None
        job = Job(tmp_path / name, tmp_path / target, comparison)
        outcome = FileRestorer(never).restore(job)
        assert outcome.status == "failed" and message in outcome.message


def test_warnings_can_be_told_by_file(tmp_path, photos):
    def warning(image):
        warnings.warn(f"of {current_source()}", stacklevel=1)
        return image

    with pytest.warns(UserWarning, match=r"of .*5\.png"):
        FileRestorer(warning).restore(Job(photos / "5.png", tmp_path / "b.png"))
    assert current_source() is None


def test_leftovers_of_killed_processes_are_removed(tmp_path, photos):
    process = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    from mspfn_tf.files import partial_path

    name = partial_path(tmp_path / "out" / "a.png").name
    mine = name.split("-")
    mine[2] = process.stdout.decode().strip()
    left = tmp_path / "out" / "-".join(mine)
    left.parent.mkdir(parents=True)
    left.touch()
    outcomes(plan([photos], tmp_path / "out"))
    assert not left.exists() and len(os.listdir(tmp_path / "out")) == 10


def test_ending_early_gives_up_the_file_at_work(tmp_path, photos):
    started = threading.Event()

    def endless(image, progress=None):
        started.set()
        while True:
            progress(1, 2)
            time.sleep(0.01)

    def fifth(image, progress=None):
        return endless(image, progress) if image[0, 0, 0] == 100 else image

    # One worker: a second one would wait for the network, and `next` for either of them.
    running = restore_all(plan([photos], tmp_path / "out"), FileRestorer(fifth), workers=1)
    done = [next(running).job.source.name for _ in range(5)]
    assert started.wait(60)
    running.close()
    assert sorted(os.listdir(tmp_path / "out")) == sorted(done) == [f"{n}.png" for n in range(5)]


def test_the_next_picture_is_at_work_while_a_result_is_looked_at(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(file_restorer, "wait", lambda futures, **_: wait(futures))  # for all
    begun = []

    def restorer(image, progress=None):
        begun.append(image[0, 0, 0])
        return image

    running = restore_all(plan([photos], tmp_path / "out"), FileRestorer(restorer), workers=1)
    for _ in range(4):
        next(running)
    assert len(begun) > 4
    running.close()


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_frames_are_compared_with_their_own(tmp_path, suffix):
    levels = (60, 61, 120)
    frames = [Image.new("RGB", (16, 8), (level,) * 3) for level in levels]
    source = tmp_path / f"a{suffix}"
    profile = icc_profile("RGB", 1.8)
    options = {"duration": 100, "lossless": True, "icc_profile": profile}
    frames[0].save(source, save_all=True, append_images=frames[1:], **options)
    job = Job(source, tmp_path / f"b{suffix}", tmp_path / f"c{suffix}")
    assert FileRestorer(half).restore(job).frames == 3
    assert read_header(job.target).frames == 2  # the first two are equal
    sheets = list(read_pictures(job.comparison))
    assert sheets[0].metadata.icc_profile == (None if suffix == ".gif" else profile)
    assert sum(sheet.duration for sheet in sheets) == 300
    assert abs(int(sheets[-1].rgb[4, 4, 0]) - 120) <= 3  # before
    assert abs(int(sheets[-1].rgb[4, -4, 0]) - 60) <= 3  # after


@pytest.mark.parametrize("suffix, dtype", [(".png", np.uint8), (".tif", np.uint16)])
def test_comparisons_show_nothing_that_is_transparent(tmp_path, suffix, dtype):
    white = np.iinfo(dtype).max
    rgb = np.full((40, 50, 3), white // 5 * 2, dtype)
    alpha = np.zeros((40, 50), dtype)
    alpha[20:], alpha[30:] = white // 5, white
    source = tmp_path / f"a{suffix}"
    write_picture(source, rgb, Picture(rgb, alpha))
    FileRestorer(half).restore(Job(source, tmp_path / f"b{suffix}", tmp_path / f"c{suffix}"))
    sheet = read_picture(tmp_path / f"c{suffix}").rgb[-40:]
    for left, level in ((0, 102), (58, 51)):  # before and after
        assert (sheet[:20, left : left + 50] == 255).all()
        assert (np.abs(sheet[20:30, left : left + 50] - (255 - (255 - level) / 5)) <= 1).all()
        assert (sheet[30:, left : left + 50] == level).all()


def test_a_run_that_ends_begins_no_further_picture(tmp_path, photos):
    begun, restored, waiting = [], [], threading.Event()

    class Counting(FileRestorer):
        def restore(self, job, progress=None):
            begun.append(job)
            if len(begun) == 3:
                waiting.set()
            return super().restore(job, progress)

    def restorer(image, progress=None):
        restored.append(image[0, 0, 0])
        while len(restored) == 2:
            waiting.wait(10)
            progress(1, 2)
            time.sleep(0.01)
        return image

    running = restore_all(plan([photos], tmp_path / "out"), Counting(restorer))
    next(running)
    running.close()
    assert len(restored) <= 2


def test_progress_may_interrupt_one_file(tmp_path, photos):
    def interrupt(part):
        raise Interrupted

    def restorer(image, progress):
        progress(1, 1)

    with pytest.raises(Interrupted):
        FileRestorer(restorer).restore(Job(photos / "5.png", tmp_path / "b.png"), interrupt)


SHARING = """\
import sys, time
from mspfn_tf.restoring.file_restorer import FileRestorer, restore_all
from mspfn_tf.restoring.plan import plan

def slow(image):
    time.sleep(0.03)
    return image // 2

planned = plan(sys.argv[1:2], sys.argv[2])
print("planned", flush=True)
sys.stdin.readline()
for outcome in restore_all(planned, FileRestorer(slow)):
    print(outcome.status, outcome.job.source.name)
"""


def sharing(photos, output):
    return subprocess.Popen(
        [sys.executable, "-c", SHARING, str(photos), str(output)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_two_processes_share_the_work(tmp_path, photos):
    processes = [sharing(photos, tmp_path / "out") for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "planned\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    lines = [process.communicate()[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    restored = [line for line in sum(lines, []) if line.startswith("restored")]
    assert len(restored) == len(set(restored)) == 10
    assert all(len(part) == 10 for part in lines)  # each knows of all
    assert all(any(line.startswith("restored") for line in part) for part in lines)
    assert sorted(os.listdir(tmp_path / "out")) == sorted(os.listdir(photos))


def test_what_a_killed_process_had_claimed_is_done_by_the_other(tmp_path, photos):
    script = SHARING.replace("time.sleep(0.03)", "print('at work', flush=True); time.sleep(60)")
    stuck = subprocess.Popen(
        [sys.executable, "-c", script, str(photos), str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    stuck.stdin.write("\n")
    stuck.stdin.flush()
    assert stuck.stdout.readline() == "planned\n" and stuck.stdout.readline() == "at work\n"
    running = restore_all(plan([photos], tmp_path / "out"), FileRestorer(half))
    found = [next(running) for _ in range(7)]  # all that the other's three threads do not hold
    stuck.kill()
    stuck.communicate()
    found += list(running)
    assert len(found) == 10 and {outcome.status for outcome in found} == {"restored"}
    assert sorted(os.listdir(tmp_path / "out")) == sorted(os.listdir(photos))


def test_a_process_that_comes_later_does_the_rest(tmp_path, photos):
    write_picture(tmp_path / "out" / "3.png", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(UsageError, match="exists already"):
        plan([photos], tmp_path / "out")
    holder = (
        "import sys\nfrom mspfn_tf.restoring.claims import Claims\n"
        "with Claims(sys.argv[1]):\n    print('here', flush=True)\n    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", holder, str(tmp_path / "out")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert other.stdout.readline() == b"here\n"
    planned = plan([photos], tmp_path / "out")
    assert len(planned.jobs) == 9 and len(planned.complete) == 1
    other.communicate()


def test_a_plan_of_nothing(tmp_path):
    assert outcomes(Plan([])) == []


@pytest.mark.slow
def test_a_thousand_damaged_files_end_in_an_answer_each(tmp_path, monkeypatch):
    """Each file alone, and 200 of them as a folder; what is reported is named, nothing is left."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    monkeypatch.setattr(file_restorer, "SMALLER_TILES", ())
    (tmp_path / "whole").mkdir()
    whole = whole_files(tmp_path / "whole")
    random = np.random.default_rng(14)
    folder, files = tmp_path / "in", FileRestorer(half)
    folder.mkdir()
    counts = {"restored": 0, "failed": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(1_000):
            suffix, data = whole[number % len(whole)]
            path = folder / f"{number:04}{suffix}"
            path.write_bytes(mutated(data, random))
            began = time.perf_counter()
            outcome = files.restore(Job(path, tmp_path / "one" / path.name))
            assert time.perf_counter() - began < 10
            counts[outcome.status] += 1
            if outcome.status == "failed":
                assert str(path) in outcome.message and len(outcome.message) < 2_000
            else:
                written = tmp_path / "one" / path.name
                assert read_header(written).frames >= 1
                written.unlink()
            if number >= 200:
                path.unlink()
        assert os.listdir(tmp_path / "one") == []
        assert min(counts.values()) > 50, counts
        planned = plan([folder], tmp_path / "out")
        assert len(planned.jobs) + len(planned.left_out) == 200
        found = list(restore_all(planned, files))
    assert len(found) == len(planned.jobs)
    restored = sorted(outcome.job.target for outcome in found if outcome.status == "restored")
    assert restored == sorted((tmp_path / "out").iterdir())
