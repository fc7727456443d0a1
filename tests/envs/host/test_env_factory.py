"""One environment as plain data that another process can use."""

import gymnasium
import pytest

from pgcli.config.schema import EnvConfig
from pgcli.envs.host.env_factory import EnvFactory, env_factory
from pgcli.errors import UsageError


def test_factory_makes_what_the_configuration_says() -> None:
    stack = {"FrameStackObservation": {"stack_size": 3}}
    config = EnvConfig(
        "Pendulum-v1", kwargs={"g": 9.0}, max_episode_steps=7, wrappers=(stack,)
    )
    for factory in (
        env_factory(config),
        EnvFactory.from_text(env_factory(config).to_text()),
    ):
        first, second = factory(), factory()
        assert first is not second
        assert first.unwrapped.g == 9.0
        assert first.spec.max_episode_steps == 7
        assert first.observation_space.shape == (3, 3)


def test_factory_as_text_registers_what_another_process_lacks() -> None:
    entry_point = "gymnasium.envs.classic_control:PendulumEnv"
    gymnasium.register("Lacking-v0", entry_point, max_episode_steps=9)
    text = env_factory(EnvConfig("Lacking-v0")).to_text()
    del gymnasium.registry["Lacking-v0"]
    try:
        assert EnvFactory.from_text(text)().spec.max_episode_steps == 9
    finally:
        del gymnasium.registry["Lacking-v0"]


def test_factory_of_what_is_not_plain_data_is_no_text() -> None:
    factory = env_factory(EnvConfig("CartPole-v1", kwargs={"x": object()}))
    with pytest.raises(TypeError, match="object"):
        factory.to_text()


@pytest.mark.parametrize(
    "env_id", ["func:CartPole-v1", "ALE/NoSuchGame-v5", "other_module:CartPole-v1"]
)
def test_factory_refuses_ids_that_are_not_of_the_host(env_id: str) -> None:
    with pytest.raises(
        UsageError, match=r"unknown environment|not named|not installed"
    ):
        env_factory(EnvConfig(env_id))


def test_factory_as_text_registers_after_the_package_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise the package warns that it overrides a registration."""
    order = []
    monkeypatch.setattr(
        "pgcli.envs.host.env_factory.import_package", lambda name: order.append(name)
    )
    monkeypatch.setattr(
        gymnasium.envs.registration.EnvSpec,
        "from_json",
        lambda text: order.append("registered") or gymnasium.spec("CartPole-v1"),
    )
    EnvFactory.from_text(env_factory(EnvConfig("CartPole-v1")).to_text())
    assert order == ["CartPole-v1", "registered"]
