import logging
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image

from mspfn_tf.pictures import (
    ImageError,
    Picture,
    read_header,
    read_picture,
    read_pictures,
    read_rgb,
    write_picture,
    write_pictures,
)
from mspfn_tf.pictures.metadata import Metadata
from tests.color_profiles import icc_profile


@pytest.fixture
def deep():
    return np.random.default_rng(0).integers(0, 65_536, (20, 30, 3), dtype=np.uint16)


def stored(path):
    """The samples of a file, by the libraries alone."""
    if path.suffix == ".png":
        return imagecodecs.png_decode(path.read_bytes())
    return tifffile.imread(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("with_alpha", [False, True])
def test_every_sample_is_kept(tmp_path, deep, suffix, gray, with_alpha):
    rgb = np.repeat(deep[..., :1], 3, axis=-1) if gray else deep
    alpha = deep[::-1, :, 1].copy() if with_alpha else None
    path = tmp_path / f"a{suffix}"
    write_picture(path, rgb, Picture(rgb, alpha, gray))
    channels = [rgb[..., :1] if gray else rgb] + ([alpha[..., None]] if with_alpha else [])
    samples = stored(path)
    assert samples.dtype == np.uint16
    np.testing.assert_array_equal(np.squeeze(np.concatenate(channels, -1)), samples)
    picture = read_picture(path)
    assert picture.gray == gray
    np.testing.assert_array_equal(picture.rgb, rgb)
    np.testing.assert_array_equal(picture.alpha, alpha) if with_alpha else None
    assert (picture.alpha is None) != with_alpha


@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "separate"},
        {"byteorder": ">"},
        {"compression": "lzw", "predictor": True},
        {"compression": "deflate", "tile": (16, 16)},
        {"bigtiff": True},
        {"compression": "png"},
        {"planarconfig": "separate", "byteorder": ">", "rowsperstrip": 7},
    ],
)
def test_layouts_of_tiff(tmp_path, deep, options):
    path, planes = tmp_path / "a.tif", deep
    if "planarconfig" in options:
        planes = np.moveaxis(deep, -1, 0)
    tifffile.imwrite(path, planes, photometric="rgb", **options)
    np.testing.assert_array_equal(read_picture(path).rgb, deep)


@pytest.mark.parametrize("options", [{"compression": "png"}, {"compression": "jpeg2000"}])
def test_compressions_of_eight_bits_that_pillow_does_not_know(tmp_path, deep, options):
    rgb = (deep >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", **options)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").rgb, rgb)


@pytest.mark.parametrize("shift", [0, 8])
def test_big_endian_bigtiff_is_read_without_its_exif(tmp_path, deep, shift):
    rgb = deep if shift == 0 else (deep >> 8).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", bigtiff=True, byteorder=">")
    with pytest.warns(UserWarning, match=r"a\.tif: its EXIF tags cannot be read"):
        np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").rgb, rgb)


def test_white_may_be_zero(tmp_path, deep):
    tifffile.imwrite(tmp_path / "a.tif", deep[..., 0], photometric="miniswhite")
    np.testing.assert_array_equal(
        read_picture(tmp_path / "a.tif").rgb[..., 1], 65_535 - deep[..., 0]
    )


def test_where_white_is_zero_alpha_is_not(tmp_path, deep):
    samples, path = deep[..., :2], tmp_path / "a.tif"
    options = {"planarconfig": "contig", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(path, samples, photometric="miniswhite", **options)
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.rgb[..., 0], 65_535 - samples[..., 0])
    np.testing.assert_array_equal(picture.alpha, samples[..., 1])


def test_a_channel_that_is_not_said_to_be_alpha_is_dropped(tmp_path, deep):
    samples = np.concatenate([deep, deep[..., :1]], axis=-1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, samples, photometric="rgb", extrasamples=["unspecified"])
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.rgb, deep)
    assert picture.alpha is None


def test_large_pictures_are_written_in_bands(tmp_path):
    large = np.random.default_rng(0).integers(0, 65_536, (700, 600, 3), dtype=np.uint16)
    write_picture(tmp_path / "a.tif", large)
    np.testing.assert_array_equal(stored(tmp_path / "a.tif"), large)


def test_colours_multiplied_with_alpha_are_divided(tmp_path):
    samples = np.zeros((4, 5, 4), np.uint16)
    samples[..., 0], samples[..., 1], samples[..., 3] = 10_000, 40_000, 32_768
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, samples, photometric="rgb", extrasamples=["assocalpha"])
    picture = read_picture(path)
    assert picture.rgb[0, 0, 0] == 20_000  # 19,999.7
    assert picture.rgb[0, 0, 1] == 65_535  # brighter than its alpha allows
    np.testing.assert_array_equal(picture.alpha, 32_768)


def test_a_transparent_colour_of_png_becomes_alpha(tmp_path, deep):
    header, rest = (data := imagecodecs.png_encode(deep))[:33], data[33:]
    transparent = deep[3, 4].astype(">u2").tobytes()
    chunk = b"tRNS" + transparent
    chunk = struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "a.png").write_bytes(header + chunk + rest)
    picture = read_picture(tmp_path / "a.png")
    np.testing.assert_array_equal(picture.rgb, deep)
    assert picture.alpha[3, 4] == 0 and (picture.alpha == 65_535).sum() == 20 * 30 - 1


def test_animations_of_sixteen_bits_keep_all_frames(tmp_path, deep):
    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    def pixels(samples):
        return zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples))

    def control(number):  # a tenth of a second
        return chunk(b"fcTL", struct.pack(">5IHHBB", number, 30, 20, 0, 0, 1, 10, 0, 0))

    (tmp_path / "a.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">2I5B", 30, 20, 16, 2, 0, 0, 0))
        + chunk(b"acTL", struct.pack(">2I", 2, 0))
        + control(0)
        + chunk(b"IDAT", pixels(deep))
        + control(1)
        + chunk(b"fdAT", struct.pack(">I", 2) + pixels(deep[::-1]))
        + chunk(b"IEND", b"")
    )
    first, second = read_pictures(tmp_path / "a.png")
    for picture, samples in ((first, deep), (second, deep[::-1])):
        assert np.abs(picture.rgb.astype(int) - samples // 257).max() <= 1
        assert picture.duration == 100
        assert picture.metadata.dropped == ("all but 8 bits of each channel",)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_orientation(tmp_path, deep, orientation):
    upright = np.rot90(deep, {1: 0, 3: 2, 6: -1, 8: 1}[orientation])
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", extratags=tags)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif").rgb, upright)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("target", [".png", ".tif", ".jpg"])
def test_metadata_stays_beside_sixteen_bits(tmp_path, deep, suffix, target):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.5}
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    profile = icc_profile("RGB")
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>rain</x:xmpmeta>"
    metadata = Metadata(exif.tobytes(), profile, xmp, dpi=(300.0, 300.0))
    path = tmp_path / f"a{suffix}"
    write_picture(path, deep, Picture(deep, metadata=metadata))
    picture = read_picture(path)
    out = tmp_path / f"b{target}"
    write_picture(out, picture.rgb, picture)
    with Image.open(out) as image:
        assert image.info["icc_profile"] == profile
        assert image.info["xmp"] == xmp
        kept = image.getexif()
        assert kept[ExifTags.Base.Make] == "Camera"
        assert kept.get_ifd(ExifTags.IFD.Exif) == {ExifTags.Base.ExposureTime: 0.5}
        assert kept.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}
        if suffix == ".png":
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert read_rgb(out).dtype == np.uint8


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".webp", ".gif", ".avif"])
def test_formats_of_eight_bits_get_rounded_samples(tmp_path, suffix):
    deep = np.full((16, 16, 3), 128 * 257 + 120, np.uint16)
    write_picture(tmp_path / f"a{suffix}", deep)
    assert np.abs(read_rgb(tmp_path / f"a{suffix}").astype(int) - 128).max() <= 1


def test_pages_of_any_size_and_depth(tmp_path, deep):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(deep, photometric="rgb")
        tiff.write(deep[:10, :15], photometric="rgb", subfiletype=1)  # a thumbnail
        tiff.write(deep[:10, :15, 0] > 9, photometric="mask", subfiletype=4)
        tiff.write((deep[:7, :9] >> 8).astype(np.uint8), photometric="rgb")
    assert read_header(path).frames == 2
    pages = list(read_pictures(path))
    assert [page.rgb.shape for page in pages] == [(20, 30, 3), (7, 9, 3)]
    assert [page.rgb.dtype for page in pages] == [np.uint16, np.uint8]
    write_pictures(tmp_path / "b.tif", pages, frames=2)
    again = list(read_pictures(tmp_path / "b.tif"))
    for page, copy in zip(pages, again, strict=True):
        assert page.rgb.dtype == copy.rgb.dtype
        np.testing.assert_array_equal(page.rgb, copy.rgb)


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        (np.zeros((8, 9), np.uint32), {}, "32 bits per channel"),
        (np.zeros((8, 9), np.float32), {}, "32 bits per channel as float32"),
        (np.zeros((8, 9), np.int16), {}, "16 bits per channel as int16"),
        (np.zeros((8, 9), np.int8), {}, "8 bits per channel as int8"),
        (
            np.zeros((8, 9, 5), np.uint16),
            {"photometric": "minisblack", "planarconfig": "contig"},
            "with 5 channels",
        ),
        (np.zeros((8, 9, 4), np.uint16), {"photometric": "separated"}, "SEPARATED"),
    ],
)
def test_other_numbers_are_refused(tmp_path, samples, options, message):
    tifffile.imwrite(tmp_path / "a.tif", samples, **options)
    with pytest.raises(ImageError, match=rf"a\.tif: .*{message}.*convert it first"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["preview and raw", "raw", "Canon"])
def test_raw_files_of_cameras_are_refused(tmp_path, deep, kind):
    path = tmp_path / "a.nef"
    pattern = {"photometric": "cfa", "extratags": [(33421, 3, 2, (2, 2)), (33422, 1, 4, bytes(4))]}
    with tifffile.TiffWriter(path) as tiff:
        if kind == "Canon":
            tiff.write((deep >> 8).astype(np.uint8), photometric="rgb")
        elif kind != "raw":
            preview = (deep[::4, ::4] >> 8).astype(np.uint8)
            tiff.write(preview, photometric="rgb", subfiletype=1, subifds=1)
        if kind != "Canon":
            tiff.write(deep[..., 0].copy(), **pattern)
    if kind == "Canon":
        data = path.read_bytes()
        (start,) = struct.unpack_from("<I", data, 4)
        assert start == 8
        moved = data + b"\0" * (len(data) % 2)
        (count,) = struct.unpack_from("<H", data, 8)
        directory = data[8 : 8 + 2 + 12 * count + 4]
        path.write_bytes(
            data[:4] + struct.pack("<I", len(moved)) + b"CR\2\0" + moved[12:] + directory
        )
    with pytest.raises(ImageError, match=r"a\.nef: a camera's raw file"):
        read_picture(path)


def test_damaged_tags_are_not_logged_one_by_one(tmp_path, deep, caplog):
    path = tmp_path / "a.tif"
    write_picture(path, deep)
    data = bytearray(path.read_bytes())
    data[10:40] = b"\xff" * 30
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.tif"):
        read_picture(path)
    assert caplog.records == []
    logging.getLogger("tifffile").warning("to others")
    assert [record.message for record in caplog.records] == ["to others"]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_truncated_files_are_named(tmp_path, deep, suffix):
    path = tmp_path / f"a{suffix}"
    write_picture(path, deep)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"a\{suffix}: damaged"):
        read_picture(path)
