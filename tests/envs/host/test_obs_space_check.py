"""Observations that do not fit their space, and harmless warnings of MuJoCo."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from pgcli.envs.base import Box, Discrete
from pgcli.envs.host import mujoco_warnings
from pgcli.envs.host.obs_space_check import complaint

FLOATS = Box((2,), "float32", -1.0, 1.0)
BYTES = Box((2,), "uint8", 0.0, 255.0)
NAMED = {"at": Discrete(3, start=5), "seen": FLOATS}


@pytest.mark.parametrize(
    ("space", "obs"),
    [
        (FLOATS, np.zeros(2, np.float32)),
        (FLOATS, np.full(2, 7.0)),  # another width, and outside: converted, kept
        (FLOATS, [0, 1]),
        (BYTES, np.zeros(2, np.int64)),
        (Discrete(3, start=5), 7),
        (Discrete(3, start=5), np.int64(5)),
        (NAMED, {"seen": np.zeros(2), "at": 6}),
    ],
)
def test_complaint_is_none_where_an_observation_fits(space: Any, obs: Any) -> None:
    assert complaint(space, obs) is None


@pytest.mark.parametrize(
    ("space", "obs", "words"),
    [
        (FLOATS, np.zeros(1, np.float32), "has the shape (1,), not (2,)"),
        (FLOATS, np.zeros((1, 2)), "has the shape (1, 2), not (2,)"),
        (FLOATS, 0.0, "has the shape (), not (2,)"),
        (FLOATS, np.zeros(2, complex), "has the dtype complex128, not float"),
        (FLOATS, ["a", "b"], "has the dtype <U1, not float32"),
        (BYTES, np.zeros(2), "has the dtype float64, not uint8"),
        (Discrete(3, start=5), 8, "is 8, outside its space (5 to 7)"),
        (Discrete(3, start=5), 0, "is 0, outside its space (5 to 7)"),
        (NAMED, {"at": 6}, "has the keys at; its space has at, seen"),
        (NAMED, np.zeros(2), "has the keys ndarray; its space has at, seen"),
        (NAMED, {"at": 9, "seen": np.zeros(2)}, "['at'] is 9, outside its space"),
    ],
)
def test_complaint_says_what_differs(space: Any, obs: Any, words: str) -> None:
    assert words in (complaint(space, obs) or "")


def test_quiet_prints_what_is_not_known_to_be_harmless(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mujoco_warnings._warn(
        "compiler attribute 'settotalmass' is deprecated and will be removed"
    )
    mujoco_warnings._warn("Nan, Inf or huge value in QACC")
    assert capsys.readouterr().err == "MuJoCo: Nan, Inf or huge value in QACC\n"


def test_mujoco_environments_leave_the_terminal_and_the_directory_clean(
    tmp_path: Any,
) -> None:
    pytest.importorskip("mujoco")
    code = (
        "import mujoco; from pgcli.config.schema import EnvConfig as C;"
        "from pgcli.envs.make import make_host_env;"
        "make_host_env(C('HalfCheetah-v5'), [1, 2], workers=1).close();"
        "print(mujoco.get_mju_user_warning())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("None\n", "")
    assert list(tmp_path.iterdir()) == []
