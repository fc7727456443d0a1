"""Runs on several processes: how they are shared out, and which are refused."""

import pytest
from support.small_runs import config

from pgcli.errors import UsageError
from pgcli.training.distributed.processes import check
from pgcli.training.distributed.split_members import parts_of

DEVICE, HOST = "func:Pendulum-v1", "Pendulum-v1"


def test_members_are_shared_out_in_order() -> None:
    assert parts_of(5, 2) == [range(2), range(2, 5)]
    assert parts_of(3, 3) == [range(1), range(1, 2), range(2, 3)]


@pytest.mark.parametrize(
    ("env", "algo", "sets", "message"),
    [
        (DEVICE, "a2c", ("seeds=2",), "3 processes are more than the 2 members"),
        (HOST, "a2c", ("env.num_envs=2",), "more than the 2 environments"),
        (DEVICE, "reinforce", (), "learns from whole episodes"),
        (DEVICE, "a2c", (), "the batch has 4 rows"),
    ],
)
def test_runs_that_do_not_split_are_refused(
    env: str, algo: str, sets: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        check(config(env, *sets, algo=algo), 3)
    assert message in error.value.message
