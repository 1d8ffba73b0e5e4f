import imagecodecs
import numpy as np
import pytest

from mspfn_tf.pictures import ImageError, read_header, read_picture, write_picture
from mspfn_tf.pictures.jpeg_xl import read_jpeg_xl_header

pytest.importorskip("pillow_jxl")


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize(
    "size", [(64, 48), (8, 256), (640, 480), (5_000, 70), (123, 77), (16_000, 9), (1, 1)]
)
def test_sizes_are_known_without_decoding(tmp_path, size, container):
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    path = tmp_path / "a.jxl"
    path.write_bytes(imagecodecs.jpegxl_encode(picture, usecontainer=container))
    header = read_jpeg_xl_header(path)
    assert (header.size, header.depth, header.animated) == (size, 8, False)
    assert read_header(path).size == size


def test_sixteen_bits_become_eight_and_it_is_said(tmp_path):
    deep = np.full((9, 12, 3), 40_000, np.uint16)
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(deep, lossless=True))
    assert read_jpeg_xl_header(tmp_path / "a.jxl").depth == 16
    picture = read_picture(tmp_path / "a.jxl")
    assert picture.rgb.dtype == np.uint8 and np.abs(picture.rgb.astype(int) - 156).max() <= 1
    assert picture.metadata.dropped == ("all but 8 bits of each channel",)


def test_animations_are_refused(tmp_path):
    frames = np.zeros((3, 9, 12, 3), np.uint8)
    frames[1] = 80
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(frames))
    with pytest.raises(ImageError, match=r"a\.jxl: an animation of JPEG XL"):
        read_picture(tmp_path / "a.jxl")


@pytest.mark.parametrize(
    "data", [b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a" + b"\xff" * 9]
)
def test_damaged_headers_are_named(tmp_path, data):
    (tmp_path / "a.jxl").write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.jxl: (damaged|too large)"):
        read_picture(tmp_path / "a.jxl")


def test_a_picture_there_and_back(tmp_path):
    y, x = np.mgrid[0:40, 0:60]
    smooth = np.stack([3 * x, 4 * y, x + y], axis=-1).astype(np.uint8)
    write_picture(tmp_path / "a.jxl", smooth)
    assert np.abs(read_picture(tmp_path / "a.jxl").rgb.astype(int) - smooth).mean() < 3
