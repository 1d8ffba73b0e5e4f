import os
import sys
import warnings

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms

from mspfn_tf.errors import UsageError
from mspfn_tf.pictures import (
    PICTURE_SUFFIXES,
    ImageError,
    Picture,
    check_writable,
    find_images,
    kind_of,
    limit_pixels,
    read_header,
    read_picture,
    read_pictures,
    read_rgb,
    write_picture,
    write_pictures,
)
from mspfn_tf.pictures.formats import FORMATS
from mspfn_tf.pictures.metadata import Metadata
from mspfn_tf.pictures.sheets import side_by_side

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = (".bmp", ".png", ".tif", ".tiff")
LOSSY = (".jpg", ".jpeg", ".webp")


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def smooth():
    y, x = np.mgrid[0:40, 0:60]
    return np.stack([3 * x, 4 * y, 2 * (x + y) // 2], axis=-1).astype(np.uint8)


def needs(suffix):
    """Skips a test whose format an optional package reads."""
    if suffix in (".heic", ".heif", ".hif"):
        pytest.importorskip("pillow_heif")
    if suffix == ".jxl":
        pytest.importorskip("pillow_jxl")


def camera_exif(orientation=1):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Camera"
    exif[ExifTags.Base.ImageWidth] = 30
    exif[ExifTags.Base.ImageLength] = 20
    exif[ExifTags.IFD.Exif] = {
        ExifTags.Base.ExifImageWidth: 30,
        ExifTags.Base.ExifImageHeight: 20,
        ExifTags.Base.ExposureTime: 0.5,
    }
    exif[ExifTags.IFD.GPSInfo] = {ExifTags.GPS.GPSLatitudeRef: "N"}
    return exif.tobytes()


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_keep_every_pixel(tmp_path, rgb, suffix):
    write_picture(tmp_path / f"a{suffix}", rgb)
    np.testing.assert_array_equal(read_rgb(tmp_path / f"a{suffix}"), rgb)


@pytest.mark.parametrize("suffix", LOSSY)
def test_lossy_formats_are_of_high_quality(tmp_path, smooth, suffix):
    write_picture(tmp_path / f"a{suffix}", smooth)
    difference = read_rgb(tmp_path / f"a{suffix}").astype(int) - smooth
    assert np.sqrt(np.mean(difference**2)) < 2.5


@pytest.mark.parametrize("suffix", [".jpg", ".PNG", ".tif", ".webp", ".bmp"])
def test_the_suffix_decides_the_format(tmp_path, rgb, suffix):
    write_picture(tmp_path / f"a{suffix}", rgb)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.format == FORMATS[suffix.lower()].name


def test_the_content_decides_how_a_file_is_read(tmp_path, rgb):
    write_picture(tmp_path / "a.png", rgb)
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_rgb(tmp_path / "a.jpg"), rgb)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".webp"])
def test_icc_profile_and_exif_survive(tmp_path, rgb, suffix, target):
    source = tmp_path / f"source{suffix}"
    Image.fromarray(rgb).save(source, exif=camera_exif(6), icc_profile=SRGB)
    picture = read_picture(source)
    assert picture.rgb.shape == (30, 20, 3)
    write_picture(tmp_path / f"out{target}", picture.rgb, like=picture)
    with Image.open(tmp_path / f"out{target}") as image:
        exif = image.getexif()
        assert image.size == (20, 30)
        assert image.info["icc_profile"] == SRGB
        assert exif[ExifTags.Base.Make] == "Camera"
        assert exif.get(ExifTags.Base.Orientation, 1) == 1
        assert exif.get_ifd(ExifTags.IFD.GPSInfo) == {ExifTags.GPS.GPSLatitudeRef: "N"}
        assert exif.get_ifd(ExifTags.IFD.Exif) == {
            ExifTags.Base.ExifImageWidth: 20,
            ExifTags.Base.ExifImageHeight: 30,
            ExifTags.Base.ExposureTime: 0.5,
        }


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF, compressed"])
def test_orientation_is_applied_once(tmp_path, rgb, orientation, kind):
    upright = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.swapaxes(0, 1),
        6: np.rot90(rgb, -1),
        7: rgb[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(rgb),
    }[orientation]
    path = tmp_path / "a"
    if kind == "PNG":
        Image.fromarray(rgb).save(path, "PNG", exif=camera_exif(orientation))
    else:
        options = {"compression": "tiff_lzw"} if "compressed" in kind else {}
        tags = {ExifTags.Base.Orientation: orientation}
        Image.fromarray(rgb).save(path, "TIFF", tiffinfo=tags, **options)
    picture = read_picture(path)
    np.testing.assert_array_equal(picture.rgb, upright)
    write_picture(tmp_path / "b.png", picture.rgb, like=picture)
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.png"), upright)


def test_a_damaged_exif_block_is_dropped_with_a_warning(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.png", exif=b"Exif\0\0nonsense")
    with pytest.warns(UserWarning, match=r"a\.png: its EXIF"):
        picture = read_picture(tmp_path / "a.png")
    assert picture.metadata.exif is None
    np.testing.assert_array_equal(picture.rgb, rgb)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_kept_to_the_bit(tmp_path, rgb, suffix):
    alpha = np.arange(600, dtype=np.uint8).reshape(20, 30)
    write_picture(tmp_path / f"a{suffix}", rgb, like=Picture(rgb, alpha=alpha))
    picture = read_picture(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(picture.alpha, alpha)
    if suffix != ".webp":
        np.testing.assert_array_equal(picture.rgb, rgb)  # also where it is transparent


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_is_never_lost_silently(tmp_path, rgb, suffix):
    picture = Picture(rgb, alpha=rgb[..., 0])
    with pytest.raises(ImageError, match=r"cannot hold alpha; choose \.png"):
        write_picture(tmp_path / f"a{suffix}", rgb, like=picture)
    assert not list(tmp_path.iterdir())


def test_alpha_of_another_size_is_refused(tmp_path, rgb):
    with pytest.raises(UsageError, match="not one size"):
        write_picture(tmp_path / "a.png", rgb, like=Picture(rgb, alpha=rgb[:5, :, 0]))


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_gray_stays_gray(tmp_path, rgb, mode):
    image = Image.fromarray(rgb).convert("L").convert(mode)
    image.save(tmp_path / "a.png")
    picture = read_picture(tmp_path / "a.png")
    assert picture.gray
    np.testing.assert_array_equal(picture.rgb[..., 0], picture.rgb[..., 2])
    write_picture(tmp_path / "b.png", picture.rgb, like=picture)
    with Image.open(tmp_path / "b.png") as written:
        assert written.mode == ("LA" if mode == "LA" else "L")
        np.testing.assert_array_equal(np.array(written.convert("L")), np.array(image.convert("L")))


def test_palettes_become_rgb_with_their_transparency(tmp_path, rgb):
    image = Image.fromarray(rgb).quantize(16)
    image.save(tmp_path / "plain.png")
    image.save(tmp_path / "seen_through.png", transparency=bytes([0, 100] + [255] * 14))
    plain = read_picture(tmp_path / "plain.png")
    assert plain.alpha is None and not plain.gray
    np.testing.assert_array_equal(plain.rgb, np.array(image.convert("RGB")))
    seen_through = read_picture(tmp_path / "seen_through.png")
    np.testing.assert_array_equal(seen_through.rgb, plain.rgb)
    indices = np.array(image)
    expected = np.where(indices == 0, 0, np.where(indices == 1, 100, 255))
    np.testing.assert_array_equal(seen_through.alpha, expected)


@pytest.mark.parametrize("dtype, range_", [("uint8", 1), ("uint16", 257)])
def test_a_fourth_channel_is_alpha_only_if_it_says_so(tmp_path, rgb, dtype, range_):
    samples = np.concatenate([rgb, rgb[..., :1]], axis=-1).astype(dtype) * range_
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=["unspecified"])
    picture = read_picture(tmp_path / "a.tif")
    assert picture.alpha is None and picture.metadata.dropped
    np.testing.assert_array_equal(picture.rgb, samples[..., :3])
    tifffile.imwrite(tmp_path / "b.tif", samples, photometric="rgb", extrasamples=["unassalpha"])
    picture = read_picture(tmp_path / "b.tif")
    np.testing.assert_array_equal(picture.alpha, samples[..., 3])
    assert not picture.metadata.dropped


@pytest.mark.parametrize("kind", ["planar", "inverted"])
def test_gray_with_alpha_in_every_layout_of_tiff(tmp_path, rgb, kind):
    samples = np.ascontiguousarray(rgb[..., :2])
    stored, options = samples.copy(), {"photometric": "minisblack"}
    if kind == "planar":
        stored, options["planarconfig"] = np.moveaxis(samples, -1, 0), "separate"
    else:
        stored[..., 0], options["photometric"] = 255 - samples[..., 0], "miniswhite"
    tifffile.imwrite(tmp_path / "a.tif", stored, extrasamples=["unassalpha"], **options)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.gray
    np.testing.assert_array_equal(picture.rgb, samples[..., :1].repeat(3, -1))
    np.testing.assert_array_equal(picture.alpha, samples[..., 1])


@pytest.mark.filterwarnings("ignore:.*pages without times")
@pytest.mark.parametrize("target", ["b.webp", "b.gif", "b.avif", "b.tif"])
def test_the_hidden_first_picture_of_an_animated_png_is_no_frame(tmp_path, target):
    moving(tmp_path, "a.png", default_image=True, duration=[100, 100])
    header = read_header(tmp_path / "a.png")
    assert header.frames == 3 and header.default_image
    frames = read_pictures(tmp_path / "a.png")
    write_pictures(tmp_path / target, frames, 3, header.loop, header.default_image)
    again = list(read_pictures(tmp_path / target))
    assert [round(frame.rgb.mean() / 60) for frame in again] == [2, 3]


def test_avif_says_that_it_is_played_for_ever(tmp_path):
    frames = list(read_pictures(moving(tmp_path, "a.gif", duration=100)))
    with pytest.warns(UserWarning, match="b.avif: '.avif' files are played for ever, not 1 times"):
        write_pictures(tmp_path / "b.avif", frames, 3, 1)


def test_tiff_says_that_it_holds_no_times(tmp_path):
    frames = list(read_pictures(moving(tmp_path, "a.gif", duration=100)))
    with pytest.warns(UserWarning, match="b.tif: '.tif' files hold pages without times; choose"):
        write_pictures(tmp_path / "b.tif", frames, 3, 1)
    pages = list(read_pictures(tmp_path / "b.tif"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_pictures(tmp_path / "c.tif", pages, 3, 1)


@pytest.mark.parametrize("channels", [3, 4, 5])
def test_extra_channels_of_tiff_are_left_behind_and_said(tmp_path, rgb, channels):
    samples = np.concatenate([rgb, rgb], axis=-1)[..., :channels]
    kinds = ["unassalpha", "unspecified"][: channels - 3]
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extrasamples=kinds)
    picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.rgb, rgb)
    assert bool(picture.metadata.dropped) == (channels > (3 if picture.alpha is None else 4))


def test_cmyk_becomes_rgb(tmp_path, smooth):
    Image.fromarray(smooth).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    picture = read_picture(tmp_path / "a.jpg")
    assert not picture.gray and picture.metadata.icc_profile is None
    assert np.abs(picture.rgb.astype(int) - smooth).mean() < 3


def test_cmyk_with_an_unusable_profile_is_converted_with_a_warning(tmp_path, smooth):
    image = Image.fromarray(smooth).convert("CMYK")
    image.save(tmp_path / "a.tif", icc_profile=SRGB)  # a profile of another colour space
    with pytest.warns(UserWarning, match="ICC profile cannot be used"):
        picture = read_picture(tmp_path / "a.tif")
    np.testing.assert_array_equal(picture.rgb, np.array(image.convert("RGB")))
    assert picture.metadata.icc_profile is None


def test_floating_point_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 5), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="32 bits per channel as float32; expected 8 or 16"):
        read_picture(tmp_path / "a.tif")


def moving(tmp_path, name, **options):
    """An animation of three frames, told apart by their gray."""
    frames = [Image.new("RGB", (16, 8), (level,) * 3) for level in (60, 120, 180)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **options)
    return tmp_path / name


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif", "a.avif"])
def test_a_still_picture_is_expected_where_one_is_read(tmp_path, name):
    moving(tmp_path, name)
    with pytest.raises(ImageError, match="3 frames or pages, expected a still picture"):
        read_picture(tmp_path / name)


@pytest.mark.parametrize("target", ["b.gif", "b.png", "b.webp"])
@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp"])
def test_animations_keep_frames_timing_and_loop(tmp_path, name, target):
    times = 2 if name == "a.gif" else 3  # GIF does not count the first time
    moving(tmp_path, name, duration=[70, 140, 210], loop=times)
    header = read_header(tmp_path / name)
    assert (header.frames, header.loop, header.size) == (3, 3, (16, 8))
    frames = list(read_pictures(tmp_path / name))
    assert [frame.duration for frame in frames] == [70, 140, 210]
    write_pictures(tmp_path / target, iter(frames), header.frames, header.loop)
    assert read_header(tmp_path / target).loop == 3
    again = list(read_pictures(tmp_path / target))
    assert [frame.duration for frame in again] == [70, 140, 210]
    for frame, level in zip(again, (60, 120, 180), strict=True):
        assert np.abs(frame.rgb.astype(int) - level).max() <= 3


@pytest.mark.parametrize("target", ["b.gif", "b.png", "b.webp"])
def test_what_is_played_once_is_played_once(tmp_path, target):
    moving(tmp_path, "a.gif", duration=100)
    header = read_header(tmp_path / "a.gif")
    assert header.loop == 1
    write_pictures(tmp_path / target, read_pictures(tmp_path / "a.gif"), 3, header.loop)
    assert read_header(tmp_path / target).loop == 1
    with Image.open(tmp_path / target) as image:
        assert image.info.get("loop") == (None if target == "b.gif" else 1)


def test_avif_animations_keep_their_timing(tmp_path):
    moving(tmp_path, "a.avif", duration=[100, 200, 300])
    frames = list(read_pictures(tmp_path / "a.avif"))
    write_pictures(tmp_path / "b.avif", frames, 3)
    assert [round(frame.duration) for frame in read_pictures(tmp_path / "b.avif")] == [
        100,
        200,
        300,
    ]


@pytest.mark.parametrize("target", ["b.gif", "b.png", "b.webp"])
def test_animations_keep_what_is_seen_through(tmp_path, rgb, target):
    alpha = np.zeros((20, 30), np.uint8)
    alpha[5:] = 255
    smooth = [np.full_like(rgb, level) for level in (60, 200)]
    frames = [Picture(frame, alpha, duration=100) for frame in smooth]
    write_pictures(tmp_path / target, frames, 2, 0)
    for frame, level in zip(read_pictures(tmp_path / target), (60, 200), strict=True):
        np.testing.assert_array_equal(frame.alpha, alpha)
        assert np.abs(frame.rgb[5:].astype(int) - level).max() <= 3


def test_the_default_image_of_animated_png_stays_one(tmp_path):
    frames = [Image.new("RGB", (8, 8), (level,) * 3) for level in (60, 120, 180)]
    frames[0].save(
        tmp_path / "a.png",
        save_all=True,
        default_image=True,
        append_images=frames[1:],
        duration=[70, 140],
    )
    header = read_header(tmp_path / "a.png")
    assert header.default_image and header.frames == 3
    pictures = read_pictures(tmp_path / "a.png")
    write_pictures(tmp_path / "b.png", pictures, 3, header.loop, header.default_image)
    assert read_header(tmp_path / "b.png") == header
    assert [frame.rgb[0, 0, 0] for frame in read_pictures(tmp_path / "b.png")] == [60, 120, 180]
    assert [frame.duration for frame in read_pictures(tmp_path / "b.png")][1:] == [70, 140]


def test_pages_of_tiff_keep_their_sizes_and_metadata(tmp_path, rgb):
    pages = [
        Picture(rgb, metadata=Metadata(exif=camera_exif(), icc_profile=SRGB)),
        Picture(rgb[:7], alpha=rgb[:7, :, 0]),
        Picture(np.repeat(rgb[:5, :9, :1], 3, axis=-1), gray=True),
    ]
    write_pictures(tmp_path / "a.tif", pages, 3)
    again = list(read_pictures(tmp_path / "a.tif"))
    for page, copy in zip(pages, again, strict=True):
        np.testing.assert_array_equal(page.rgb, copy.rgb)
        assert page.gray == copy.gray
    np.testing.assert_array_equal(again[1].alpha, rgb[:7, :, 0])
    assert again[0].metadata.icc_profile == SRGB and b"Camera" in again[0].metadata.exif
    with pytest.raises(ImageError, match=r"b\.gif: pages of different sizes"):
        write_pictures(tmp_path / "b.gif", iter(again), 3)
    assert os.listdir(tmp_path) == ["a.tif"]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("target", ["b.gif", "b.apng", "b.webp", "b.avif"])
def test_pages_become_frames_of_a_second(tmp_path, target, bits):
    pages = [
        Picture(np.full((8, 16, 3), level * (257 if bits == 16 else 1), f"uint{bits}"))
        for level in (60, 120, 180)
    ]
    write_pictures(tmp_path / "a.tif", pages, 3)
    pages = read_pictures(tmp_path / "a.tif")
    write_pictures(tmp_path / target, pages, 3, read_header(tmp_path / "a.tif").loop)
    assert [frame.duration for frame in read_pictures(tmp_path / target)] == [1000] * 3


def test_frames_without_a_time_have_none(tmp_path):
    moving(tmp_path, "a.gif")
    assert [frame.duration for frame in read_pictures(tmp_path / "a.gif")] == [0, 0, 0]
    write_pictures(tmp_path / "b.gif", read_pictures(tmp_path / "a.gif"), 3)
    assert [frame.duration for frame in read_pictures(tmp_path / "b.gif")] == [0, 0, 0]


def test_all_frames_together_have_a_limit(tmp_path, monkeypatch):
    moving(tmp_path, "a.gif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16 * 8 * 3 // 4)
    with pytest.raises(ImageError, match=r"a\.gif: too large"):
        read_header(tmp_path / "a.gif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16 * 8)
    assert read_header(tmp_path / "a.gif").frames == 3


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".heic"])
def test_formats_of_one_picture_refuse_several(tmp_path, rgb, suffix):
    needs(suffix)
    with pytest.raises(ImageError, match="hold one picture, this one has 2 frames"):
        write_pictures(tmp_path / f"a{suffix}", [Picture(rgb)] * 2, 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".heic", ".avif", ".jxl"])
def test_pictures_of_phones(tmp_path, smooth, suffix):
    needs(suffix)
    alpha = smooth[..., 1].copy()
    metadata = Metadata(exif=camera_exif(), icc_profile=SRGB)
    write_picture(tmp_path / f"a{suffix}", smooth, Picture(smooth, alpha, metadata=metadata))
    picture = read_picture(tmp_path / f"a{suffix}")
    assert np.abs(picture.rgb.astype(int) - smooth).mean() < 3
    assert np.abs(picture.alpha.astype(int) - alpha).mean() < 3
    assert b"Camera" in picture.metadata.exif
    if suffix != ".jxl":  # whose encoder writes one of its own
        assert picture.metadata.icc_profile == SRGB


@pytest.mark.parametrize(
    ("package", "suffix", "head", "name"),
    [
        ("pillow_heif", ".heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ("pillow_jxl", ".jxl", b"\xff\x0a" + bytes(40), "JPEG XL"),
    ],
)
def test_without_an_extra_it_is_said_what_to_install(
    tmp_path, rgb, monkeypatch, package, suffix, head, name
):
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(head)
    for call in (read_picture, lambda path: write_picture(path, rgb, overwrite=True)):
        with pytest.raises(ImageError, match=rf"{name} files need .* pip install \"mspfn_tf\["):
            call(path)
    # One that is there, but lacks a library: to install it once more would change nothing.
    monkeypatch.delitem(sys.modules, package)
    (tmp_path / f"{package}.py").write_text("raise ImportError('libx.so.6: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImageError, match=r"pip install .*libx\.so\.6: cannot open"):
        read_picture(path)


def test_pipes_and_devices_are_no_pictures(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    for path in (tmp_path / "a.jpg", "/dev/zero"):
        with pytest.raises(ImageError, match=f"^{path}: a pipe or device"):
            read_picture(path)


def test_loops_of_links_and_endless_names_are_no_pictures(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "a.jpg")
    for path in (tmp_path / "a.jpg", tmp_path / ("a" * 300 + ".jpg"), tmp_path / "a\0.jpg"):
        with pytest.raises(ImageError):
            read_picture(path)


@pytest.mark.parametrize(
    ("suffix", "side", "other"),
    [
        (".jpg", 65_501, 3),
        (".webp", 16_384, 3),
        (".gif", 65_536, 3),
        (".avif", 32_769, 3),
        (".heic", 65_529, 32),
    ],
)
def test_sides_that_a_format_cannot_hold_are_known_before(tmp_path, suffix, side, other):
    needs(suffix)
    check_writable(tmp_path / f"a{suffix}", size=(side - 1, other))
    with pytest.raises(ImageError, match=f"at most {side - 1} pixels a side"):
        check_writable(tmp_path / f"a{suffix}", size=(other, side))


@pytest.mark.parametrize(
    ("suffix", "size"), [(".avif", (32_768, 1)), (".heic", (4216, 31)), (".heic", (4217, 32))]
)
def test_the_longest_sides_that_are_taken_are_read_again(tmp_path, suffix, size):
    needs(suffix)
    path = tmp_path / f"a{suffix}"
    write_picture(path, np.full((*size, 3), 90, np.uint8))
    assert read_rgb(path).shape == (*size, 3)


def test_thin_pictures_that_heic_cannot_hold_are_known_before(tmp_path):
    needs(".heic")
    with pytest.raises(ImageError, match="less than 32 pixels hold at most 4216 on the other"):
        check_writable(tmp_path / "a.heic", size=(31, 4217))


@pytest.mark.parametrize("suffix", sorted({*PICTURE_SUFFIXES}))
def test_each_suffix_is_written_and_told_by_content(tmp_path, smooth, suffix):
    needs(suffix)
    path = tmp_path / f"a{suffix}"
    write_picture(path, smooth)
    assert kind_of(path) == FORMATS[suffix].name
    path.rename(tmp_path / "plain")
    assert np.abs(read_rgb(tmp_path / "plain").astype(int) - smooth).mean() < 6


def test_the_limit_of_pixels_can_be_set(tmp_path, rgb, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    write_picture(tmp_path / "a.png", rgb)
    limit_pixels(599)
    with pytest.raises(ImageError, match="the limit is 599 pixels"):
        read_picture(tmp_path / "a.png")
    limit_pixels(None)
    assert read_rgb(tmp_path / "a.png").shape == (20, 30, 3)


def test_a_restored_gray_picture_is_weighted(tmp_path, rgb):
    write_picture(tmp_path / "a.png", rgb, Picture(rgb, gray=True))
    with Image.open(tmp_path / "a.png") as image:
        expected = np.array(Image.fromarray(rgb).convert("L"))
        np.testing.assert_array_equal(np.array(image), expected)


def test_the_first_picture_of_a_camera_s_mpo_is_read(tmp_path, smooth):
    preview = Image.new("RGB", (8, 8))
    Image.fromarray(smooth).save(
        tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview], quality=95
    )
    assert read_rgb(tmp_path / "a.jpg").shape == smooth.shape


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    Image.new("1", (400, 300)).save(tmp_path / "a.png")
    for limit in (70_000, 50_000):  # Pillow itself warns at the first, raises at the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(ImageError, match=rf"a\.png: .* {limit} pixels \((400x300|120000) "):
            read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".jpg", ".png", ".tif", ".webp"])
def test_truncated_files_are_named(tmp_path, rgb, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(rgb).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"a\{suffix}"):
        read_picture(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a picture"),
        (b"just some text", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "not a picture"),
        (None, "no such file"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=rf"a\.png: {message}"):
        read_picture(tmp_path / "a.png")


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(ImageError, match="a folder"):
        read_picture(tmp_path)


def test_nothing_is_overwritten_unless_asked(tmp_path, rgb):
    path = tmp_path / "a.png"
    write_picture(path, rgb)
    with pytest.raises(UsageError, match=r"a\.png exists"):
        write_picture(path, rgb[:5])
    np.testing.assert_array_equal(read_rgb(path), rgb)
    write_picture(path, rgb[:5], overwrite=True)
    np.testing.assert_array_equal(read_rgb(path), rgb[:5])
    assert os.listdir(tmp_path) == ["a.png"]


def test_a_failed_write_leaves_the_old_file(tmp_path, rgb):
    path = tmp_path / "a.jpg"
    write_picture(path, rgb[:5])
    before = path.read_bytes()
    with pytest.raises(ImageError, match=r"a\.jpg: .* hold at most 65500 pixels a side"):
        write_picture(path, np.zeros((1, 70_000, 3), np.uint8), overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.jpg"]


@pytest.mark.parametrize("name", ["a.psd", "a.mp4", "a"])
def test_unknown_suffixes_are_refused(tmp_path, rgb, name):
    with pytest.raises(ImageError, match=r"cannot write .* only \.apng, \.avif"):
        write_picture(tmp_path / name, rgb)


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 5)), np.zeros((4, 5, 3)), np.zeros((4, 0, 3), np.uint8)]
)
def test_only_pictures_are_written(tmp_path, wrong):
    with pytest.raises(UsageError, match=r"expected a picture uint8 or uint16 \[H, W, 3\]"):
        write_picture(tmp_path / "a.png", wrong)


def test_find_images_is_recursive_sorted_and_leaves_out_hidden_files(tmp_path):
    names = ["b.JPG", "a.png", "deep/er/c.webp", "notes.txt", ".hidden.png", ".git/d.png"]
    names += ["__MACOSX/a.png", "deep/@eaDir/e.png/SYNOPHOTO_THUMB_M.jpg"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a.png", "b.JPG", "deep/er/c.webp"]
    with pytest.raises(ImageError, match="not a folder"):
        find_images(tmp_path / "a.png")


def test_find_images_follows_links_to_folders(tmp_path):
    for name in ("set/a.png", "elsewhere/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "set/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "set")
    (tmp_path / "set/round").symlink_to(".")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path / "set")]
    assert found == ["set/a.png", "set/linked/b.png"]

    for n in range(40):
        (tmp_path / str(n)).mkdir()
        for name in "ab":
            (tmp_path / str(n) / name).symlink_to(f"../{n + 1}")
    (tmp_path / "40").mkdir()
    with pytest.raises(ImageError, match="in more than 16 ways"):
        find_images(tmp_path / "0")


def test_find_images_tells_what_it_cannot_read(tmp_path, monkeypatch):
    (tmp_path / "deep").mkdir()

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return own(path)

    own = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ImageError, match=r"deep: cannot be read \(Permission denied\)"):
        find_images(tmp_path)


def test_side_by_side(rgb):
    sheet = side_by_side([rgb, rgb[:10, :7]], gap=4)
    assert sheet.shape == (20, 41, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[:, :30], rgb)
    np.testing.assert_array_equal(sheet[:10, 34:], rgb[:10, :7])
    assert (sheet[:, 30:34] == 255).all() and (sheet[10:, 34:] == 255).all()
    labelled = side_by_side([rgb, rgb], ["Rain", "Déraîné"])
    np.testing.assert_array_equal(labelled[-20:, :30], rgb)
    band = labelled[:-20]
    assert band.shape[0] > 0 and (band[:, :30] < 128).any() and (band[:, 38:] < 128).any()
    with pytest.raises(UsageError, match="2 pictures but 1 labels"):
        side_by_side([rgb, rgb], ["one"])


@pytest.mark.parametrize(
    "suffix, frames",
    [(suffix, 1) for suffix in (".bmp", ".gif", ".jpg", ".png", ".tif", ".webp")]
    + [(suffix, 2) for suffix in (".gif", ".png", ".tif", ".webp")],
)
def test_a_disk_that_stays_full_is_told_with_the_name_of_the_file(rgb, tmp_path, suffix, frames):
    """What is still in a buffer cannot be written when the file is closed, either."""
    resource = pytest.importorskip("resource")  # Windows has none
    path = tmp_path / f"a{suffix}"
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, most[1]))  # bytes of a file
    try:
        with pytest.raises(ImageError, match=rf"a{suffix}: cannot be written as \w+ \(.*too large"):
            write_pictures(path, [Picture(rgb)] * frames, frames=frames)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert not list(tmp_path.iterdir())
