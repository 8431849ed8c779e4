"""A file is whole or not there, whatever happens while it is written."""

import json

import pytest

from jaxphys.data.files import replace_file, write_json


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(b"old")

    def interrupted():
        with replace_file(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        interrupted()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["data.bin"]


def test_json_is_written_whole(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"b": [1, 2]})
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"b": [1, 2]}
