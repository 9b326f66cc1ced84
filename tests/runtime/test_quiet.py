"""C++ libraries are kept quiet."""

import os

import pytest

from reenact.runtime.quiet import quiet_stderr


def test_libraries_are_quiet_unless_they_fail(capfd):
    with quiet_stderr():
        os.write(2, b"chatter")
    assert capfd.readouterr().err == ""
    with pytest.raises(RuntimeError), quiet_stderr():
        os.write(2, b"the reason")
        raise RuntimeError
    assert capfd.readouterr().err == "the reason"
