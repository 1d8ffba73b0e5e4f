import re

import pytest

from tools.lock_requirements import OUTPUT, locked


def item(name, **info):
    return {"metadata": {"name": name, "version": "1.2"}, "download_info": info}


def test_each_requirement_has_its_hash():
    archive = {"archive_info": {"hashes": {"sha256": "ab"}}}
    environment = {"python_version": "3.11", "sys_platform": "linux", "platform_machine": "x86_64"}
    report = {"environment": environment, "install": [item("tqdm", **archive), item("mspfn_tf")]}
    head, line = locked(report).splitlines()
    assert "Python 3.11, linux, x86_64" in head
    assert line == "tqdm==1.2 --hash=sha256:ab"
    with pytest.raises(ValueError, match="keras has no SHA-256"):
        locked({**report, "install": [item("keras", archive_info={})]})


def test_the_lock_file_names_what_is_required():
    lines = [line for line in OUTPUT.read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"\S+==\S+ --hash=sha256:[0-9a-f]{64}", line) for line in lines)
    names = {line.partition("==")[0].lower().replace("-", "_") for line in lines}
    assert {"tensorflow", "keras", "ai_edge_litert", "numpy", "pillow"} <= names
