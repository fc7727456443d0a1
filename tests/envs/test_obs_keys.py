"""`env.obs_keys` on the device and on the host."""

import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import jax
import pytest

from pgcli.config.load import from_mapping
from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.base import Box
from pgcli.envs.host.env_factory import EnvFactory, env_factory
from pgcli.envs.make import make_device_env
from pgcli.errors import PgcliError, UsageError

SIGN = Box((2,), "float32", -1.0, 1.0)


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(user_modules, "NAMED", [])
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "support"))
    user_modules.use(["quadrants"])
    user_modules.named()
    yield
    sys.modules.pop("quadrants")
    gymnasium.registry.pop("Quadrants-v0")


def test_device_environment_has_the_chosen_keys_only(task: None) -> None:
    env = make_device_env(EnvConfig("func:Quadrants", obs_keys=("sign",)))
    assert env.spec.obs == {"sign": SIGN}

    def both(key: jax.Array) -> object:
        state, obs = env.reset(key)
        return obs, env.step(key, state, jax.numpy.int32(0))[1].obs

    first, second = jax.eval_shape(both, jax.random.key(0))
    assert list(first) == list(second) == ["sign"]
    with pytest.raises(UsageError, match="no part `signs`"):
        make_device_env(EnvConfig("func:Quadrants", obs_keys=("signs",)))
    with pytest.raises(UsageError, match="neither a Dict nor a Tuple"):
        make_device_env(EnvConfig("func:CartPole-v1", obs_keys=("x",)))


def test_worker_process_makes_an_environment_with_the_chosen_keys(task: None) -> None:
    factory = env_factory(EnvConfig("Quadrants-v0", obs_keys=("sign",)))
    copy = EnvFactory.from_text(factory.to_text())
    assert copy == factory.with_mask_source()
    assert list(copy().observation_space) == ["sign"]


def test_native_environments_take_no_obs_keys() -> None:
    env = {"id": "CartPole-v1", "obs_keys": ["x"]}
    with pytest.raises(PgcliError, match="stepped one by one"):
        from_mapping({"env": env, "host": {"vectorizer": "native"}})
    # a game has no parts: it is made in process, which says so
    assert EnvConfig("ALE/Pong-v5", obs_keys=("x",)).default_vectorizer == "in_process"
