import pytest

from mspfn_tf.complexity import multiply_adds
from mspfn_tf.errors import UsageError
from mspfn_tf.model import MSPFN
from mspfn_tf.presets import PRESETS

# Of the published graphs at 256x256, without what is dead there and without the dense convs that
# make their pyramid.
PUBLISHED = {"mspfn_m17n1": 131_306_723_328, "mspfn": 182_645_143_552}


@pytest.mark.slow
@pytest.mark.parametrize("preset", PUBLISHED)
def test_agrees_with_the_published_graphs(preset):
    one, two = (
        multiply_adds(MSPFN.from_preset(preset, load_weights=False, blocks=n), (256, 256))
        for n in (1, 2)
    )
    assert one + 16 * (two - one) == PUBLISHED[preset]
    assert PRESETS[preset]["multiply_adds_256"] == PUBLISHED[preset]


@pytest.mark.slow
def test_presets_state_their_multiply_adds():
    for name in ("mspfn_mobile", "mspfn_nano"):
        model = MSPFN.from_preset(name, load_weights=False)
        assert PRESETS[name]["multiply_adds_256"] == multiply_adds(model, (256, 256))


@pytest.mark.slow
def test_grows_with_the_picture_and_the_recurrent_steps():
    arguments = {"width": 4, "blocks": 1, "rcabs": (0, 0, 0), "hidden": (4, 4, 4)}
    one = MSPFN(**arguments, reduction=None)
    two = MSPFN(**arguments, reduction=None, recurrent_steps=2)
    assert multiply_adds(one, (16, 32)) == 2 * multiply_adds(one, (16, 16))
    positions = 16 * 16 + 8 * 8 + 4 * 4
    # One step more: four gates' kernels on the hidden state, the forget gate's on the input.
    more = positions * 9 * (4 * 4 * 4 + 2 * 4)
    assert multiply_adds(two, (16, 16)) - multiply_adds(one, (16, 16)) == more


def test_refuses_sizes_that_the_network_does_not_take():
    model = MSPFN(width=4, blocks=1, hidden=(4, 4, 4))
    with pytest.raises(UsageError, match="multiples of 8"):
        multiply_adds(model, (20, 16))
