import numpy as np
import pytest

from mspfn_tf.sizes import Sizes, round_up
from mspfn_tf.tiling import (
    balanced_tile,
    blended_rows,
    mean_over_parts,
    seamless_parts,
    spans,
    touching_parts,
    window,
)


def map_tiles(function, image, tile, *arguments, **options):
    def of_places(places):
        return function(np.stack([window(image, top, left, tile) for top, left in places]))

    rows = blended_rows(of_places, image.shape, tile, *arguments, **options)
    return np.concatenate([part.copy() for _, part in rows])


def reflected_index(index, length):
    """Where a ray that bounces between the first and the last of `length` pixels stands."""
    if length == 1:
        return 0
    index %= 2 * (length - 1)
    return min(index, 2 * (length - 1) - index)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (2, 3), (7, 8), (9, 40), (16, 16)])
def test_windows_reflect_as_often_as_needed(size):
    image = np.random.default_rng(0).random((*size, 3))
    padded = window(image, 0, 0, (24, 40))
    expected = [
        [image[reflected_index(y, size[0]), reflected_index(x, size[1])] for x in range(40)]
        for y in range(24)
    ]
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(padded[: size[0], : size[1]], image)


def test_sizes():
    assert Sizes().fit((1, 17)) == (8, 24)
    assert Sizes(multiple_of=4, minimum=16).fit((1, 17)) == (16, 20)
    assert Sizes(fixed=(32, 48)).fit((100, 1)) == (32, 48)


@pytest.mark.parametrize("overlap", [0, 8, 12, 16, 40])
@pytest.mark.parametrize("tile", [48, 64])
@pytest.mark.parametrize("length", [64, 72, 200, 1000])
def test_spans_cover_everything_with_weights_that_sum_to_one(length, tile, overlap):
    total = np.zeros(length)
    ends = []
    for start, weights in spans(length, tile, overlap):
        assert start % 8 == 0 and weights.shape == (tile,) and weights.dtype == np.float32
        assert (weights >= 0).all()
        if ends:
            assert ends[-1] - start >= overlap
        ends.append(start + tile)
        total[start : start + tile] += weights
    assert ends[-1] == length
    np.testing.assert_allclose(total, 1, atol=2e-7)


def test_spans_fall_off_towards_neighbours_only():
    first, last = spans(112, 64, 16)
    np.testing.assert_array_equal(first[1][:48], 1)
    np.testing.assert_array_equal(last[1][16:], 1)
    # A squared sine, of which the eight pixels of the middle half hold a quarter of a period.
    rising = np.sin(np.pi / 2 * (np.arange(8) + 0.5) / 8) ** 2
    np.testing.assert_allclose(last[1][4:12], rising, atol=1e-6)
    np.testing.assert_allclose(first[1][52:60], rising[::-1], atol=1e-6)
    # What lies nearest to the edge of a tile counts for nothing.
    np.testing.assert_array_equal(first[1][60:], 0)
    np.testing.assert_array_equal(last[1][:4], 0)


@pytest.mark.parametrize(("length", "limit"), [(64, 64), (72, 64), (520, 512), (4000, 512)])
def test_balanced_tiles_waste_little(length, limit):
    tile = balanced_tile(length, limit, 32)
    assert tile <= limit and tile % 8 == 0
    count = len(spans(length, tile, 32))
    assert count == len(spans(length, min(limit, length), 32))
    assert count * tile - (length + (count - 1) * 32) < 8 * count


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (40, 40), (41, 100), (97, 131)])
def test_map_tiles_of_a_pixelwise_function_is_that_function(size, batch):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    seen, told = [], []

    def function(tiles):
        assert tiles.dtype == np.uint8 and tiles.shape[1:] == (40, 48, 3)
        seen.append(len(tiles))
        return 1 - tiles.astype(np.float32) / 255

    def progress(*done):
        told.append(done)

    result = map_tiles(function, image, (40, 48), overlap=8, batch=batch, progress=progress)
    assert result.dtype == np.float32 and max(seen) <= batch
    assert told == [(done, sum(seen)) for done in np.cumsum(seen)]
    np.testing.assert_allclose(result, 1 - image / 255, atol=3e-7)


def test_a_constant_stays_constant():
    result = map_tiles(lambda tiles: tiles, np.full((300, 217, 3), 0.7, np.float32), (64, 64), 24)
    np.testing.assert_allclose(result, 0.7, rtol=0, atol=1e-6)


def test_tiles_that_disagree_are_blended_without_a_step():
    count = iter(range(100))
    result = map_tiles(
        lambda tiles: np.full(tiles.shape, next(count) % 2, np.float32),
        np.zeros((64, 400, 1), np.float32),
        (64, 64),
        overlap=32,
    )
    assert result.min() == 0 and result.max() == 1
    assert np.abs(np.diff(result, axis=1)).max() < 0.1  # 16 pixels of a squared sine


def test_one_tile_is_passed_through_to_the_bit():
    image = np.random.default_rng(2).random((50, 30, 3), dtype=np.float32)
    result = map_tiles(lambda tiles: np.sin(tiles), image, (56, 32), 8)
    np.testing.assert_array_equal(result, np.sin(image))


def test_round_up():
    assert [round_up(length, 8) for length in (1, 8, 9)] == [8, 8, 16]


def strided_feature_mean(pictures):
    """The mean of a nonlinear feature that sees 24 pixels far, with zero padding, at every 16th."""
    padded = np.pad(pictures[0], ((24, 24), (24, 24), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (49, 49), axis=(0, 1))[8::16, 8::16]
    return np.abs(windows.mean(axis=(-1, -2)) - windows[..., 0, 0]).mean(axis=(0, 1))


@pytest.mark.parametrize("size", [(256, 320), (96, 320), (512, 112), (80, 96)])
def test_a_mean_over_seamless_parts_is_that_of_the_whole(size):
    image = np.random.default_rng(1).random((*size, 3)) * np.linspace(0, 1, size[1])[:, None]
    rows, columns = (seamless_parts(length, 128, 64, 16) for length in size)
    assert sum(weight for *_, weight in rows) == size[0]
    assert all(length <= 128 and start % 16 == 0 for start, length, _ in rows + columns)
    found = mean_over_parts(strided_feature_mean, image, rows, columns)
    np.testing.assert_allclose(found, strided_feature_mean(image[None]), rtol=1e-6)


def test_parts_of_one_size_count_by_what_they_cover_alone():
    assert touching_parts(100, 40) == [(0, 40, 40), (40, 40, 40), (60, 40, 20)]
    image = np.arange(100.0)[None, :, None]
    found = mean_over_parts(
        lambda x: x.mean(axis=(1, 2)), image, [(0, 1, 1)], touching_parts(100, 40)
    )
    # (40 x 19.5 + 40 x 59.5 + 20 x 79.5) / 100
    np.testing.assert_allclose(found, [[47.5]])


@pytest.mark.parametrize("limit", [128, 136, 256])
def test_seamless_parts_of_any_length(limit):
    for length in range(8, 1000, 8):
        parts = seamless_parts(length, limit, 64, 16)
        assert sum(weight for *_, weight in parts) == length
        assert all(0 < size <= limit and 0 <= start <= length - size for start, size, _ in parts)
        assert all(size >= 64 for _, size, weight in parts if weight < 0)


def test_all_parts_are_as_much_beyond_a_multiple_as_the_whole():
    """Strided layers begin at another pixel in an odd number of rows than in an even one."""
    assert [length % 16 for _, length, _ in seamless_parts(1000, 256, 64, 16)] == [8] * 11
