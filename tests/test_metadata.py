import struct
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from mspfn_tf.pictures import Picture, read_picture, write_picture
from mspfn_tf.pictures.metadata import Metadata
from mspfn_tf.pictures.profiles import is_srgb, profile_of_tags, profile_space
from tests.color_profiles import icc_profile

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="6"/></x:xmpmeta>'
UPRIGHT = XMP.replace(b'"6"', b'"1"')
IPTC = b"\x1c\x02\x78\x00\x04rain"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture
def ramp():
    """Gray from black to white, as RGB."""
    return np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(16, axis=0)


def passed_on(path, target):
    picture = read_picture(path)
    write_picture(target, picture.rgb, picture)
    return Image.open(target)


def jpeg_with(path, rgb, **options):
    Image.fromarray(rgb).save(path, quality=95, **options)
    return path


@pytest.mark.parametrize("target", [".jpg", ".png", ".tif", ".webp", ".avif"])
def test_xmp_is_kept_and_made_upright(tmp_path, ramp, target):
    source = jpeg_with(tmp_path / "a.jpg", ramp, xmp=XMP)
    with passed_on(source, tmp_path / f"b{target}") as image:
        assert image.info["xmp"] == UPRIGHT


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".avif"])
def test_xmp_is_read_from_each_format(tmp_path, ramp, suffix):
    write_picture(tmp_path / f"a{suffix}", ramp, Picture(ramp, metadata=Metadata(xmp=UPRIGHT)))
    assert read_picture(tmp_path / f"a{suffix}").metadata.xmp == UPRIGHT


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("target", [".jpg", ".tif"])
def test_iptc_is_kept(tmp_path, ramp, suffix, target):
    source = tmp_path / f"a{suffix}"
    write_picture(source, ramp, Picture(ramp, metadata=Metadata(iptc=IPTC)))
    with passed_on(source, tmp_path / f"b{target}") as image:
        if target == ".jpg":
            assert image.info["photoshop"][0x0404] == IPTC
        else:
            assert image.tag_v2[33723] == IPTC
    assert read_picture(tmp_path / f"b{target}").metadata.iptc == IPTC


def test_comments_texts_gamma_and_resolution(tmp_path, ramp):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "A. B.")
    texts.add_itxt("Title", "Pluie d'été")
    texts.add(b"gAMA", struct.pack(">I", 50_000))
    Image.fromarray(ramp).save(tmp_path / "a.png", pnginfo=texts, dpi=(300, 300))
    with passed_on(tmp_path / "a.png", tmp_path / "b.png") as image:
        assert image.text == {"Author": "A. B.", "Title": "Pluie d'été"}
        assert image.info["gamma"] == 0.5
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    with passed_on(tmp_path / "a.png", tmp_path / "b.tif") as image:
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    source = jpeg_with(tmp_path / "c.jpg", ramp, comment=b"in the rain", dpi=(96, 96))
    with passed_on(source, tmp_path / "d.jpg") as image:
        assert image.info["comment"] == b"in the rain" and image.info["dpi"] == (96, 96)
    with passed_on(source, tmp_path / "d.png") as image:
        assert image.text == {"Comment": "in the rain"}
    with passed_on(source, tmp_path / "d.gif") as image:
        assert image.info["comment"] == b"in the rain"


def test_a_resolution_is_never_made_up(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "a.tif")
    camera = Image.Exif()
    camera[ExifTags.Base.Make] = "Camera"
    jpeg = jpeg_with(tmp_path / "b.jpg", ramp, exif=camera)
    for path in (tmp_path / "a.tif", jpeg):
        assert read_picture(path).metadata.dpi is None
        with passed_on(path, path.with_suffix(".png")) as image:
            assert "dpi" not in image.info


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("unit", "dpi"), [(1, None), (2, (200, 100)), (3, (508, 254))])
def test_the_resolution_of_tiff(tmp_path, ramp, dtype, unit, dpi):
    tifffile.imwrite(
        tmp_path / "a.tif",
        ramp.astype(dtype),
        photometric="rgb",
        resolution=(200, 100),
        resolutionunit=unit,
    )
    with passed_on(tmp_path / "a.tif", tmp_path / "b.png") as image:
        assert image.info.get("dpi") == (dpi and pytest.approx(dpi, abs=0.1))


def test_exif_too_long_for_jpeg_is_left_out_with_a_warning(tmp_path, ramp):
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "x" * 70_000
    Image.fromarray(ramp).save(tmp_path / "a.png", exif=exif)
    with pytest.warns(UserWarning, match=r"b\.jpg: its EXIF is too long"):
        passed_on(tmp_path / "a.png", tmp_path / "b.jpg").close()


def test_what_would_still_show_the_rain_is_left_behind(tmp_path, ramp):
    image = Image.fromarray(ramp)
    tags = {34377: b"8BIM thumbnails", 37724: b"Adobe layers", 33550: (1.0, 1.0, 0.0)}
    image.save(tmp_path / "a.tif", tiffinfo=tags)
    with passed_on(tmp_path / "a.tif", tmp_path / "b.tif") as written:
        assert 34377 not in written.tag_v2 and 37724 not in written.tag_v2
        assert written.tag_v2[33550] == (1.0, 1.0, 0.0)  # where on earth the picture is


@pytest.mark.parametrize("target", [".webp", ".bmp", ".gif", ".avif"])
def test_a_gray_profile_never_stands_in_an_rgb_file(tmp_path, ramp, target):
    profile = icc_profile("GRAY")  # linear: the middle is 188 in sRGB
    Image.fromarray(ramp).convert("L").save(tmp_path / "a.png", icc_profile=profile)
    with passed_on(tmp_path / "a.png", tmp_path / f"b{target}") as image:
        assert not image.info.get("icc_profile")
        assert abs(int(np.array(image.convert("RGB"))[8, 128, 1]) - 188) <= 3


@pytest.mark.parametrize("target", [".jpg", ".png", ".tif"])
def test_a_gray_profile_stays_in_a_gray_file(tmp_path, ramp, target):
    profile = icc_profile("GRAY")
    Image.fromarray(ramp).convert("L").save(tmp_path / "a.png", icc_profile=profile)
    with passed_on(tmp_path / "a.png", tmp_path / f"b{target}") as image:
        assert image.mode == "L" and image.info["icc_profile"] == profile


def test_a_gray_picture_in_an_rgb_profile(tmp_path, ramp):
    gray = Image.fromarray(ramp).convert("L")
    gray.save(tmp_path / "a.jpg", icc_profile=SRGB)
    with passed_on(tmp_path / "a.jpg", tmp_path / "b.jpg") as image:
        assert image.mode == "L" and "icc_profile" not in image.info
    gray.save(tmp_path / "c.jpg", icc_profile=icc_profile("RGB"))
    with passed_on(tmp_path / "c.jpg", tmp_path / "d.jpg") as image:
        assert image.mode == "RGB" and profile_space(image.info["icc_profile"]) == "RGB"


def test_a_profile_is_srgb_by_what_it_does():
    """Not by its name: there are "linear sRGB" ones, and sRGB of other names."""
    assert is_srgb(SRGB) and is_srgb(SRGB.replace(b"sRGB", b"none"))
    assert is_srgb(SRGB.replace("sRGB".encode("utf-16-be"), "none".encode("utf-16-be")))
    linear = icc_profile("RGB").replace(b"of a test", b"sRGB lin.")
    assert b"sRGB lin." in linear and not is_srgb(linear)
    assert not is_srgb(icc_profile("GRAY")) and not is_srgb(b"damaged")


def test_chromaticities_of_png_are_kept(tmp_path, ramp):
    numbers = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"cHRM", struct.pack(">8I", *(round(number * 100_000) for number in numbers)))
    Image.fromarray(ramp).save(tmp_path / "a.png", pnginfo=chunks)
    with passed_on(tmp_path / "a.png", tmp_path / "b.png") as image:
        assert image.info["chromaticity"] == pytest.approx(numbers)


@pytest.mark.parametrize(
    "primaries, transfer, told",
    [(9, 16, True), (12, 18, True), (12, 13, False), (9, 1, False), (1, 13, False)],
)
def test_colours_that_are_taken_for_srgb_are_said(tmp_path, ramp, primaries, transfer, told):
    Image.fromarray(ramp).save(tmp_path / "a.avif")
    data = (tmp_path / "a.avif").read_bytes()
    place = data.index(b"colrnclx") + 8
    tags = struct.pack(">HH", primaries, transfer)
    (tmp_path / "a.avif").write_bytes(data[:place] + tags + data[place + 4 :])
    metadata = read_picture(tmp_path / "a.avif").metadata
    words = " ".join(metadata.dropped)
    assert (f"primaries {primaries}, transfer {transfer}" in words) == told
    assert (metadata.icc_profile is not None) == (primaries != 1 and not told)
    if metadata.icc_profile:
        for suffix in (".jpg", ".avif", ".png"):
            with passed_on(tmp_path / "a.avif", tmp_path / f"b{suffix}") as image:
                assert image.info["icc_profile"] == metadata.icc_profile


@pytest.mark.parametrize(
    "primaries, levels",
    [
        (5, [(250, 0, 0), (58, 255, 0), (0, 0, 255)]),
        (6, [(255, 0, 5), (0, 255, 14), (0, 0, 254)]),
        (9, [(208, 74, 35), (155, 246, 84), (59, 28, 243)]),
        (12, [(234, 51, 35), (117, 251, 76), (0, 0, 245)]),
    ],
)
def test_profiles_of_tags_mean_their_colours(primaries, levels):
    """`levels` are the red, green and blue of sRGB, from the chromaticities by matrices alone."""
    profile = profile_of_tags(primaries, 13)
    assert profile_space(profile) == "RGB" and not is_srgb(profile)
    colours = np.uint8([[(255, 0, 0), (0, 255, 0), (0, 0, 255), (90, 90, 90), (255, 255, 255)]])
    srgb = ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(srgb, BytesIO(profile), "RGB", "RGB")
    found = np.asarray(transform.apply(Image.fromarray(colours)))
    expected = np.array([[*levels, (90, 90, 90), (255, 255, 255)]])
    assert np.abs(found - expected).max() <= 1
    assert profile_of_tags(primaries, 16) is None and profile_of_tags(1, 13) is None


def test_names_of_documents_and_pages_are_kept(tmp_path, ramp):
    exif = Image.Exif()
    exif[ExifTags.Base.DocumentName], exif[ExifTags.Base.PageName] = "survey", "seven"
    Image.fromarray(ramp).save(tmp_path / "a.jpg", exif=exif)
    with passed_on(tmp_path / "a.jpg", tmp_path / "b.jpg") as image:
        kept = image.getexif()
        assert (kept[ExifTags.Base.DocumentName], kept[ExifTags.Base.PageName]) == (
            "survey",
            "seven",
        )


@pytest.mark.parametrize("target", [".bmp", ".gif", ".jxl"])
def test_formats_without_profiles_get_srgb_pixels(tmp_path, ramp, target):
    if target == ".jxl":
        pytest.importorskip("pillow_jxl")
    Image.fromarray(ramp).save(tmp_path / "a.png", icc_profile=icc_profile("RGB"))
    with passed_on(tmp_path / "a.png", tmp_path / f"b{target}") as image:
        assert abs(int(np.array(image.convert("RGB"))[8, 128, 1]) - 188) <= 3
    Image.fromarray(ramp).save(tmp_path / "c.png", icc_profile=SRGB)
    with passed_on(tmp_path / "c.png", tmp_path / "d.bmp") as image:
        np.testing.assert_array_equal(np.array(image), ramp)


def test_lab_becomes_srgb_without_its_profile(tmp_path, ramp):
    lab = ImageCms.profileToProfile(
        Image.fromarray(ramp),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    lab.save(tmp_path / "a.tif", icc_profile=profile)
    picture = read_picture(tmp_path / "a.tif")
    assert picture.metadata.icc_profile is None
    assert np.abs(picture.rgb.astype(int) - ramp).max() <= 3


def test_a_damaged_profile_is_left_out_with_a_warning(tmp_path, ramp):
    Image.fromarray(ramp).save(tmp_path / "a.png", icc_profile=b"nonsense" * 20)
    with pytest.warns(UserWarning, match=r"b\.png: the ICC profile is damaged"):
        passed_on(tmp_path / "a.png", tmp_path / "b.png").close()
    assert profile_space(b"") is None and not is_srgb(b"nonsense")


def test_what_is_dropped_is_said(tmp_path, ramp):
    image, preview = Image.fromarray(ramp), Image.new("RGB", (8, 8))
    image.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview])
    assert read_picture(tmp_path / "a.jpg").metadata.dropped == (
        "1 more picture (a preview, depth or stereo)",
    )
    gain_map = b'<x:xmpmeta><r hdrgm:Version="1.0"/></x:xmpmeta>'
    picture = read_picture(jpeg_with(tmp_path / "b.jpg", ramp, xmp=gain_map))
    assert picture.metadata.xmp is None and "Ultra HDR" in picture.metadata.dropped[0]
    assert read_picture(jpeg_with(tmp_path / "c.jpg", ramp)).metadata.dropped == ()


@pytest.mark.parametrize(
    "told", [b'GCamera:MotionPhoto="1"', b"GCamera:MicroVideo='1'", b"><GCamera:MotionPhoto>1</"]
)
def test_a_motion_photo_says_that_it_loses_its_video(tmp_path, ramp, told):
    source = jpeg_with(tmp_path / "a.jpg", ramp, xmp=b"<x:xmpmeta><r " + told + b"/></x:xmpmeta>")
    source.write_bytes(source.read_bytes() + b"\0\0\0\x18ftypmp42")
    metadata = read_picture(source).metadata
    assert metadata.xmp is None and "motion photo" in metadata.dropped[0]
    still = b'<x:xmpmeta><r GCamera:MotionPhoto="0"/></x:xmpmeta>'
    assert read_picture(jpeg_with(tmp_path / "b.jpg", ramp, xmp=still)).metadata.xmp == still


def test_what_heic_holds_besides_its_picture_is_said(tmp_path, ramp):
    pytest.importorskip("pillow_heif")
    image = Image.fromarray(ramp)
    write_picture(tmp_path / "a.heic", ramp, Picture(ramp, alpha=ramp[..., 0]))
    assert read_picture(tmp_path / "a.heic").metadata.dropped == ()
    image.save(tmp_path / "b.heic", save_all=True, append_images=[image])
    assert read_picture(tmp_path / "b.heic").metadata.dropped == (
        "1 more picture of the HEIC file",
    )
    content = (tmp_path / "a.heic").read_bytes()  # what was alpha is depth now
    (tmp_path / "c.heic").write_bytes(content.replace(b"2015:auxid:1", b"2015:auxid:2"))
    assert "depth" in read_picture(tmp_path / "c.heic").metadata.dropped[0]


def test_bigtiff_gives_plain_exif(tmp_path, ramp):
    tags = [(271, "s", 0, "Camera", True)]
    tifffile.imwrite(
        tmp_path / "a.tif", ramp, photometric="rgb", bigtiff=True, metadata=None, extratags=tags
    )
    for target in (".jpg", ".png", ".tif", ".webp"):
        with passed_on(tmp_path / "a.tif", tmp_path / f"b{target}") as image:
            assert image.getexif()[ExifTags.Base.Make] == "Camera"
