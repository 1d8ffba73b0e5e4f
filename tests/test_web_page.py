"""The page in the browser: its colours and types, and what a real browser makes of it."""

import os
import re
import struct
import subprocess
from contextlib import ExitStack
from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw

from mspfn_tf.presets import DEFAULT_PRESET, FULL_STRENGTH_SIDE, tflite_path
from mspfn_tf.restorer import Restorer
from mspfn_tf.runtimes import open_runtime
from mspfn_tf.web.server import PageServer, site, write_site
from tests.browser import WEB, chromium, needs_browser, plain_server, serving

pytestmark = pytest.mark.slow


TILE = 64
ORIENTED = 6  # to be turned by a quarter


def _luminance(colour):
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return sum(weight * v for weight, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1])
def test_contrast_in_light_and_dark(scheme):
    blocks = re.findall(r":root \{(.*?)\}", (WEB / "style.css").read_text(), flags=re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme]))
    for text, ground in (
        ("text", "ground"),
        ("text", "surface"),
        ("quiet", "ground"),
        ("quiet", "surface"),
        ("on-accent", "accent"),
        ("text", "accent-soft"),
        ("bad", "bad-soft"),
        ("bad", "surface"),
    ):
        light, dark = sorted((_luminance(colours[text]), _luminance(colours[ground])))[::-1]
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_the_types_of_the_page():
    needs_browser()
    done = subprocess.run(["npm", "run", "check"], cwd=WEB, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# === In a browser ===


@pytest.fixture(scope="module")
def small_model_file(tmp_path_factory):
    """A network with all three signatures whose tiles are of 64x64 pixels."""
    from mspfn_tf.export.litert import convert
    from tests.export_models import PHONE, small_model

    model = small_model(**PHONE, attention="picture", reduction=4)
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    path.write_bytes(convert(model, (TILE, TILE)))
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of many kinds; what the browser makes of them is left in `results`."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (12, 16, 3), np.uint8)
    picture = Image.fromarray(noise).resize((200, 150), Image.Resampling.BICUBIC)
    for name in ("small", "one_thread", "webgpu"):
        picture.save(folder / f"{name}.png")
    picture.convert("L").save(folder / "gray.png")
    picture.resize((24, 20)).save(folder / "tiny.png")
    alpha = picture.convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize(picture.size).point(lambda v: 255 * (v > 99)))
    alpha.save(folder / "alpha.png")
    exif = _exif_with_thumbnail(picture)
    picture.save(folder / "turned.jpg", quality=97, exif=exif)
    turned = (folder / "turned.jpg").read_bytes()
    (folder / "filled.jpg").write_bytes(turned[:2] + b"\xff\xff" + turned[2:])  # as JPEG allows
    picture.save(folder / "turned.webp", quality=97, exif=exif)
    picture.save(folder / "turned.png", exif=exif)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    large = coarse.resize((1600, 1200), Image.Resampling.BICUBIC)
    for left, top in rng.integers(0, (1600, 1150), (400, 2)):
        ImageDraw.Draw(large).line((left, top, left + 6, top + 40), fill=(235, 235, 235), width=2)
    large.save(folder / "large.png")
    large.crop((0, 0, 640, 480)).save(folder / "medium.png")
    Image.new("RGB", (70_000, 8), "gray").save(folder / "long.png")
    tile = np.asarray(picture.crop((0, 0, TILE, TILE)), np.float32) / 255
    tile.tofile(folder / "tile.f32")
    picture.resize((40, 30)).save(folder / "broken.jpg")
    whole = (folder / "broken.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[:-200])
    # Their beginning says that they are larger than what a browser decodes at all.
    at = turned.rindex(b"\xff\xc0") + 5  # the first is of the thumbnail
    huge = turned[:at] + struct.pack(">HH", 40_000, 30_000) + turned[at + 4 :]
    (folder / "huge.jpg").write_bytes(huge)
    Image.new("1", (24_000, 24_000)).save(folder / "huge.png")
    (folder / "unknown.jpg").write_bytes(b"no picture, whatever its name says")
    (folder / "notes.txt").write_text("no picture")
    return folder


def _exif_with_thumbnail(picture):
    """EXIF as cameras write it: orientation, maker, size, Adobe RGB, and a thumbnail at the end."""
    thumbnail = BytesIO()
    picture.resize((16, 12)).save(thumbnail, "JPEG")
    thumbnail = thumbnail.getvalue()

    def directory(entries, following):
        entries = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        return struct.pack("<H", len(entries) // 12) + entries + struct.pack("<I", following)

    maker = b"Rainmaker\0"
    main_at = 8
    maker_at = main_at + 2 + 5 * 12 + 4
    details_at = maker_at + len(maker)
    index_at = details_at + 2 + 4 * 12 + 4
    small_at = index_at + 2 + 1 * 12 + 4
    thumbnail_at = small_at + 2 + 3 * 12 + 4
    return b"".join(
        (
            b"Exif\0\0II*\0" + struct.pack("<I", main_at),
            directory(
                [(0x0100, 4, 1, picture.width), (0x0101, 4, 1, picture.height)]
                + [(0x010F, 2, len(maker), maker_at), (0x0112, 3, 1, ORIENTED)]
                + [(0x8769, 4, 1, details_at)],
                small_at,
            ),
            maker,
            directory(
                [(0xA001, 3, 1, 65535), (0xA002, 4, 1, picture.width)]
                + [(0xA003, 4, 1, picture.height), (0xA005, 4, 1, index_at)],
                0,
            ),
            directory([(0x0001, 2, 4, int.from_bytes(b"R03\0", "little"))], 0),
            directory(
                [(0x0103, 3, 1, 6), (0x0201, 4, 1, thumbnail_at), (0x0202, 4, 1, len(thumbnail))],
                0,
            ),
            thumbnail,
        )
    )


@pytest.fixture(scope="module")
def browser_run(small_model_file, pictures, tmp_path_factory):
    """The exit status of `web/tests/page.test.mjs`, and what it said."""
    needs_browser()
    small = site({"small": small_model_file})
    small["tile_worker.js"] = (WEB / "tests/tile_worker.js").read_bytes()
    narrow = _with_line(small, "picture_file.js", "MOST_PIXELS = 64e6", "MOST_PIXELS = 1e4")
    strict = _with_line(small, "webgpu.js", "_DIFFERENCE = 0.5 / 255", "_DIFFERENCE = -1")
    deaf = _with_line(small, "worker.js", "    cancelled.add(order.id);\n", "")
    # As a heap that is full: from then on every inference fails.
    broken = _with_line(
        small,
        "runtime.js",
        "  async feed(runner, inputs) {",
        "  async feed(runner, inputs) {\n    self.full ||= inputs.statistics !== undefined;\n"
        "    if (self.full) {\n      throw new RangeError('Aborted(OOM)');\n    }",
    )
    below = tmp_path_factory.mktemp("host")
    where = write_site(below / "some" / "where", models={"small": small_model_file})
    (where / "album").mkdir()
    album = "<title>Somebody's album</title><link rel='icon' href='data:,'>"
    (where / "album" / "index.html").write_text(album)
    changing = write_site(below / "changing", models={"small": small_model_file})
    incomplete = {name: content for name, content in small.items() if name != "sample.jpg"}
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(serving(PageServer(files, port=0))).url
            for name, files in (
                ("SITE", small),
                ("SHIPPED_SITE", site()),
                ("NARROW_SITE", narrow),
                ("STRICT_SITE", strict),
                ("BROKEN_SITE", broken),
                ("DEAF_SITE", deaf),
                ("INCOMPLETE_SITE", incomplete),
            )
        }
        plain = stack.enter_context(serving(plain_server(below)))
        urls["PLAIN_SITE"] = f"http://127.0.0.1:{plain.server_port}/some/where/"
        urls["CHANGING_SITE"] = f"http://127.0.0.1:{plain.server_port}/changing/"
        urls["CHANGING_FOLDER"] = str(changing)
        told = tmp_path_factory.mktemp("browser") / "told.txt"
        command = ["node", "--test", "--test-force-exit", "--test-reporter=spec"]
        environment = {**os.environ, **urls, "CHROMIUM": chromium(), "PICTURES": str(pictures)}
        try:
            with told.open("w") as output:
                status = subprocess.run(
                    [*command, "tests/page.test.mjs"],
                    cwd=WEB,
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=2700,  # on a machine with much other work
                ).returncode
        except subprocess.TimeoutExpired:
            pytest.fail(f"the browser's tests did not end; they said:\n{told.read_text()}")
        return status, told.read_text()


@pytest.fixture
def results(browser_run, pictures):
    """The folder of the pictures that the browser has restored."""
    return pictures / "results"


def _with_line(files, name, old, new):
    text = files[name].decode()
    assert old in text
    return {**files, name: text.replace(old, new).encode()}


def _read(path):
    """The picture in memory; its file is closed."""
    with Image.open(path) as picture:
        picture.load()
        picture.getexif()
    return picture


def _levels(path):
    return np.asarray(_read(path).convert("RGB")).astype(int)


def _restored_in_tiles(model, picture):
    """What the command line makes of a picture in tiles of the size of the file."""
    # The page holds presets, this is a file by itself.
    strength = min(1.0, (min(picture.size) / FULL_STRENGTH_SIDE) ** 2)
    restorer = Restorer(open_runtime(model, resize=False), strength=strength)
    return restorer(np.asarray(picture.convert("RGB")))


def test_in_the_browser(browser_run):
    """Everything in `web/tests/page.test.mjs` passes."""
    status, told = browser_run
    assert status == 0, told[-10_000:]
    assert "skipped 0" in told


def test_a_tile_equals_litert(results, small_model_file, pictures):
    tile = np.fromfile(pictures / "tile.f32", np.float32).reshape(1, TILE, TILE, 3)
    runtime = open_runtime(small_model_file)
    derained, statistics = runtime.run(tile), runtime.measure(tile)
    guided, _ = runtime.run_guided(tile, statistics)
    for name, expected in (
        ("derained", derained),
        ("statistics", statistics),
        ("guided", guided),
    ):
        found = np.fromfile(results / f"{name}.f32", np.float32)
        assert np.abs(found - expected.ravel()).max() < 1e-5, name
    assert np.abs(derained - tile).max() > 0.05  # it does something


def test_a_photograph_equals_the_restorer(results, pictures):
    picture = _read(pictures / "large.png")
    expected = _restored_in_tiles(tflite_path(DEFAULT_PRESET), picture).astype(int)
    found = _levels(results / "large.png")
    assert np.abs(found - expected).max() <= 1
    assert np.abs(expected - np.asarray(picture).astype(int)).max() > 2


@pytest.mark.parametrize("name", ["small", "gray", "tiny", "one_thread", "webgpu"])
def test_pictures_equal_the_restorer(results, pictures, small_model_file, name):
    picture = _read(pictures / f"{name}.png")
    expected = _restored_in_tiles(small_model_file, picture).astype(int)
    assert np.abs(_levels(results / f"{name}.png") - expected).max() <= 1
    assert np.abs(expected - np.asarray(picture.convert("RGB")).astype(int)).max() > 5


def test_alpha_is_kept(results, pictures):
    before, after = (_read(f / "alpha.png").getchannel("A") for f in (pictures, results))
    assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize("name", ["turned.jpg", "filled.jpg", "turned.webp", "turned.png"])
def test_metadata_is_kept_and_orientation_applied(results, pictures, small_model_file, name):
    before, after = _read(pictures / name), _read(results / name)
    assert after.format == before.format
    assert before.getexif()[ExifTags.Base.Orientation] == ORIENTED
    assert before.getexif().get_ifd(ExifTags.IFD.Interop)[ExifTags.Interop.InteropIndex] == "R03"
    assert after.size == before.size[::-1]
    exif = after.getexif()
    assert exif[ExifTags.Base.Make] == "Rainmaker"
    assert exif[ExifTags.Base.Orientation] == 1
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert (details[ExifTags.Base.ExifImageWidth], details[0xA003]) == after.size
    assert details[ExifTags.Base.ColorSpace] == 1  # a canvas is sRGB
    assert exif.get_ifd(ExifTags.IFD.Interop)[ExifTags.Interop.InteropIndex] == "R98"
    assert (exif[ExifTags.Base.ImageWidth], exif[ExifTags.Base.ImageLength]) == after.size
    assert exif.get_ifd(ExifTags.IFD.IFD1) == {}
    # The thumbnail is gone: no JPEG stands inside the block.
    assert b"\xff\xd8\xff" in before.info["exif"]
    assert b"\xff\xd8\xff" not in after.info["exif"]
    upright = before.transpose(Image.Transpose.ROTATE_270)
    expected = BytesIO()
    # As a canvas compresses: with chroma subsampling.
    options = {"JPEG": {"subsampling": 2}}.get(after.format, {})
    Image.fromarray(_restored_in_tiles(small_model_file, upright)).save(
        expected, after.format, quality=95, **options
    )
    assert np.abs(_levels(results / name) - _levels(expected)).mean() < 3
