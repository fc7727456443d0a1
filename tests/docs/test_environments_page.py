"""`docs/environments.md` shows what `pgcli envs check` prints.

PGCLI_UPDATE_GOLDEN=1 rewrites it.
"""

import re
from pathlib import Path

import pytest
from support.generated import check_generated

from pgcli.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "environments.md"
SHOWN = re.compile(r"(?<=\$ pgcli envs check CartPole-v1\n).*?(?=```)", re.DOTALL)
SPEED = re.compile(r"^speed .*$", re.MULTILINE)


def test_check_prints_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = SHOWN.search(page)
    assert shown is not None
    assert main(["envs", "check", "CartPole-v1", "--seconds", "0.1"]) == 0
    printed = capsys.readouterr().out
    figures = re.compile(r"[\d.,]+")
    old, new = SPEED.search(shown[0]), SPEED.search(printed)
    assert old is not None
    assert new is not None
    if figures.sub("", old[0]) == figures.sub("", new[0]):  # other figures, same words
        printed = printed.replace(new[0], old[0])
    check_generated(PAGE, SHOWN.sub(lambda _: printed, page, count=1))
