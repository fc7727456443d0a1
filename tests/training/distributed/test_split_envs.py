"""Host environments on several processes are those of one, byte for byte."""

from typing import Any

import numpy as np
from support.processes import a_follower, a_leader
from support.small_runs import config

from pgcli.envs.base import HostEnv
from pgcli.rollout.host_collector import empty_slot
from pgcli.training.distributed.split_envs import EnvWorker, make_split_envs
from pgcli.training.loops.host_loop import make_train_envs

RUN = config("Pendulum-v1", "env.num_envs=3")


def steps(env: HostEnv, count: int, begin: bool) -> list[Any]:
    """Outputs of some steps with fixed actions; episodes end every 5 steps."""
    slot, outputs = empty_slot(env), []
    if begin:
        env.reset(slot.obs)
    actions = np.random.default_rng(0).normal(size=(count, 3, 1)).astype(np.float32)
    for action in actions:
        slot = empty_slot(env)
        finals = env.step(action, slot)
        outputs.append([x.tobytes() for x in slot if x is not None])
        outputs.append(sorted((n, obs.tobytes()) for n, obs in finals))
    return outputs


def test_steps_and_states_are_those_of_one_process() -> None:
    worker, alone = EnvWorker(RUN, 1, 2), make_train_envs(RUN)
    with a_leader() as lead, a_follower(lead, worker.commands):
        env: Any = make_split_envs(RUN, 0, lead)
        assert env.seeds == alone.seeds
        assert steps(env, 12, begin=True) == steps(alone, 12, begin=True)
        states = env.get_state()
        before = steps(env, 7, begin=False)
        env.set_state(states)
        assert steps(env, 7, begin=False) == before == steps(alone, 7, begin=False)
        assert env.helpers == "2 processes"
        env.close()
    worker.close()
    alone.close()
