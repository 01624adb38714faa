"""What is read of a machine's folder once it has ended."""

import pytest

from antechamber.drivers.keepers import KeptFolder
from antechamber.errors import MachineError
from antechamber.machine import MachineEnd


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"at": "then", "code": 0, "detail": ""}', b'{"at": 1}'])
def test_a_damaged_record_of_an_end_is_an_end_of_which_nothing_more_is_known(tmp_path, record):
    (tmp_path / "exit.json").write_bytes(record)
    end = KeptFolder(tmp_path).end()
    assert end == MachineEnd(None, None, "its keeper's record of the end is damaged")


def test_no_record_is_no_end_and_one_that_cannot_be_read_says_nothing(tmp_path):
    assert KeptFolder(tmp_path).end() is None
    (tmp_path / "exit.json").mkdir()
    with pytest.raises(MachineError):
        KeptFolder(tmp_path).end()
