"""What the stages compute is what they computed when fixtures/golden.json was made.

After a change that is meant to alter numbers: `make golden`, and say so in the commit message. On the machine where the
file was made, `GOLDEN_EXACT=1 pytest tests/test_golden.py` compares bit by bit: for changes that only move code.
"""

import copy
import json
import os

import golden
import pytest

EXACT = os.environ.get("GOLDEN_EXACT", "0") == "1"


@pytest.fixture(scope="module")
def kept():
    return json.loads(golden.KEPT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", golden.PARTS)
def test_numbers_are_those_of_before(kept, part, tmp_path):
    found = golden.differences(kept[part], golden.compute(part, tmp_path), EXACT, part)
    assert not found, "\n".join(["`make golden` makes these numbers anew, if they are meant to change:", *found])


def test_what_differs_is_found(kept):
    made = copy.deepcopy(kept)
    assert golden.differences(kept, made, exact=True) == []
    made["losses"]["meta"]["dice"][2] *= 1 + 1e-6
    made["footage"]["crops"]["crc32"][0] += 1
    assert golden.differences(kept, made, exact=False) == []
    assert len(golden.differences(kept, made, exact=True)) == 2
    made["losses"]["meta"]["dice"][2] *= 1.01
    made["footage"]["crops"]["grid"][0][0] *= 1.01
    made["plan"].append("another job")
    del made["scores"]["means"]["psnr"]
    assert len(golden.differences(kept, made, exact=False)) == 4
