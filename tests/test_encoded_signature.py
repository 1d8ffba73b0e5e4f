import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mspfn_tf.errors import UsageError
from mspfn_tf.export.saved_model import MAX_PIXELS, export_saved_model, write_saved_model
from mspfn_tf.inspection.saved_model import check_saved_model
from tests.export_models import small_model
from tests.mutated_models import COUNT, bounded, mutated, random_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    write_saved_model(small_model(), path, max_pixels=10_000)
    check_saved_model(path)
    return tf.saved_model.load(str(path))


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(3).integers(0, 256, (40, 48, 3), np.uint8)


def file_of(array, kind="PNG", mode=None, **options):
    file = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def restored(loaded, *contents):
    files = loaded.signatures["encoded"](rainy_bytes=tf.constant(contents))["derained_bytes"]
    return [np.asarray(Image.open(io.BytesIO(file))) for file in files.numpy()]


def with_png_size(content, width, height):
    head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


def with_jpeg_size(content, width, height):
    at = content.index(b"\xff\xc0")
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :]


def deep_png(array):
    """16 bits of every channel."""
    height, width = array.shape[:2]
    deep = (array.astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in deep)

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_the_limit_is_an_attribute_of_the_export(loaded, tmp_path):
    assert int(loaded.max_pixels) == 10_000
    description = export_saved_model(small_model(), tmp_path / "saved", max_pixels=7000)
    assert description["signatures"]["encoded"]["max_pixels"] == 7000
    assert MAX_PIXELS >= 12_000_000
    with pytest.raises(UsageError, match="max_pixels must be an int of at least 6144"):
        export_saved_model(small_model(), tmp_path / "other", max_pixels=0)


def test_pictures_of_every_kind(loaded, picture):
    plain = loaded.signatures["uint8"](rainy=picture[None])["derained"].numpy()[0]
    for content in (file_of(picture), deep_png(picture)):
        np.testing.assert_array_equal(restored(loaded, content)[0], plain)
    for content in (
        file_of(picture, "JPEG"),
        file_of(picture, "JPEG", progressive=True),
        file_of(picture, "JPEG", mode="CMYK"),
        file_of(picture, "JPEG", mode="L"),
        file_of(picture, mode="L"),
        file_of(picture, mode="RGBA"),
        file_of(picture, mode="P"),
    ):
        assert restored(loaded, content)[0].shape == picture.shape


def hostile(picture):
    png, jpeg = file_of(picture), file_of(picture, "JPEG")
    frames = [Image.fromarray(np.roll(picture, shift, axis=1)) for shift in (0, 5)]
    animated = io.BytesIO()
    frames[0].save(animated, "PNG", save_all=True, append_images=frames[1:])
    many = "60000x60000 pixels; at most 10000 are taken"
    return [
        (b"", "is neither a JPEG nor a PNG file"),
        (b"\xff\xd8\xff", "is damaged"),
        (b"\x89PNG\r\n\x1a\n", "is neither a JPEG nor a PNG file"),
        (with_png_size(png, 60000, 60000), many),
        (with_jpeg_size(jpeg, 60000, 60000), many),
        (with_png_size(png, 2**31 - 1, 2**31 - 1), "at most 10000"),
        (with_png_size(png, 0, 40), "is damaged"),
        (with_png_size(png, 60, 40), "is damaged"),
        (file_of(np.zeros((101, 100, 3), np.uint8)), "100x101 pixels; at most 10000"),
        (animated.getvalue(), "is an animation"),
        (file_of(picture, "GIF", mode="P"), "is neither a JPEG nor a PNG file"),
        (file_of(picture, "BMP"), "is neither a JPEG nor a PNG file"),
        (png[: len(png) // 2], "is damaged"),
        (png[:40], "is damaged"),
        (jpeg[:30], "is damaged"),
    ]


@pytest.mark.parametrize("quality", [75, 95])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_jpeg_files_are_decoded_exactly(loaded, picture, quality, subsampling):
    content = file_of(picture, "JPEG", quality=quality, subsampling=subsampling)
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    expected = loaded.signatures["uint8"](rainy=tf.constant(pixels)[None])["derained"][0]
    (found,) = restored(loaded, content)
    assert np.abs(found.astype(int) - expected.numpy()).max() <= 1


def test_what_is_refused_is_named_and_the_server_goes_on(loaded, picture):
    good = file_of(picture)
    for content, message in hostile(picture):
        with bounded(), pytest.raises(tf.errors.InvalidArgumentError) as caught:
            restored(loaded, good, good, content, good)
        assert f"rainy_bytes[2] {message}" in str(caught.value) or (
            "rainy_bytes[2]" in str(caught.value) and message in str(caught.value)
        )
        assert restored(loaded, good)[0].shape == picture.shape


def test_damaged_files_give_a_picture_or_a_message(loaded, picture):
    random = random_of(25)
    small = Image.fromarray(picture).resize((24, 20))
    whole = [file_of(np.asarray(small), kind) for kind in ("PNG", "JPEG")]
    whole.append(deep_png(np.asarray(small)))
    seen = {"picture": 0, "message": 0}
    for index in range(COUNT):
        content = whole[index % 3]
        reach = None if index % 2 else (0, min(len(content), 200))
        with bounded():
            try:
                restored(loaded, mutated(content, random, reach))
                seen["picture"] += 1
            except tf.errors.InvalidArgumentError as error:
                assert "rainy_bytes[0]" in str(error)
                seen["message"] += 1
    print(seen)
    assert seen["picture"] and seen["message"] and sum(seen.values()) == COUNT
