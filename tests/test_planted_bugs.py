"""The tests can fail: two of the mistakes in `planted_bugs`, planted; all still fit."""

import pytest
from planted_bugs import BUGS, ROOT, red_tests


@pytest.mark.parametrize("name", BUGS)
def test_planted_bug_still_fits_the_code(name: str) -> None:
    text = (ROOT / BUGS[name].file).read_text()
    assert text.count(BUGS[name].right) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["truncation as termination", "tails dropped on the device"]
)
def test_planted_bug_turns_tests_red(name: str) -> None:
    assert red_tests(BUGS[name])
