import configparser

import pytest

from tools.lower_bounds import ROOT, lowest


def test_each_requirement_is_pinned_to_its_lower_bound():
    text = '\nnumpy >= 2.4\ngrain >= 0.2.18; platform_system != "Windows"\n'
    assert lowest(text) == ["numpy==2.4", 'grain==0.2.18; platform_system != "Windows"']
    with pytest.raises(ValueError, match="expected NAME >= VERSION in setup.cfg; found 'numpy'"):
        lowest("numpy")
    with pytest.raises(ValueError, match="found 'numpy >= 2, < 3'"):
        lowest("numpy >= 2, < 3")


def test_every_requirement_and_extra_has_one():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    assert lowest(settings["options"]["install_requires"])
    for extra, text in settings["options.extras_require"].items():
        assert lowest(text), extra
