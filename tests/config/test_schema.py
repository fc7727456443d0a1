"""What follows from the keys of a section alone."""

from typing import Any

import pytest

from pgcli.config.schema import EnvConfig

RAM = {"kwargs": {"obs_type": "ram"}}


@pytest.mark.parametrize(
    ("env_id", "more", "backend", "on_device", "vectorizer"),
    [
        ("CartPole-v1", {}, "gymnasium", False, "in_process"),
        ("func:CartPole-v1", {}, "func", True, "in_process"),
        ("pgx:minatar-breakout", {}, "pgx", True, "in_process"),
        ("func-CartPole-v1", {}, "gymnasium", False, "in_process"),
        ("my_pkg:CartPole-v1", {}, "gymnasium", False, "in_process"),
        ("envpool:Pong-v5", {}, "envpool", False, "native"),
        ("ALE/Pong-v5", {}, "atari", False, "native"),
        ("ALE/Pong-v5", {"wrappers": ("X",)}, "atari", False, "in_process"),
        (
            "ALE/Pong-v5",
            RAM,
            "gymnasium",
            False,
            "in_process",
        ),
    ],
)
def test_backend_follows_from_the_id(
    env_id: str, more: Any, backend: str, on_device: bool, vectorizer: str
) -> None:
    config = EnvConfig(env_id, **more)
    assert (config.backend, config.on_device) == (backend, on_device)
    assert config.default_vectorizer == vectorizer
