"""Defaults chosen by the spaces of an environment without a preset."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest

import pgcli
import pgcli.training.reporter
from pgcli.cli.main import main
from pgcli.config.load import resolve
from pgcli.config.schema import NetworkConfig, RunConfig
from pgcli.envs import make
from pgcli.envs.base import Box, Discrete, EnvSpec, MultiDiscrete, ObsSpace
from pgcli.envs.host import env_factory
from pgcli.errors import EnvironmentFailed
from pgcli.nn.policy import make_policy
from pgcli.training.space_defaults import BY_KIND, by_part, kind_of, warning

BYTES = (0.0, 255.0)


@pytest.mark.parametrize(
    ("space", "kind"),
    [
        (Box((84, 84, 3), "uint8", *BYTES), "images"),
        (Box((4, 84, 84), "uint8", *BYTES), "images"),
        (Box((36, 36, 1), "float32", *BYTES), "images"),
        (Box((35, 84, 3), "uint8", *BYTES), "small images"),
        (Box((7, 7, 3), "uint8", *BYTES), "small images"),
        (Box((2, 7, 7), "uint8", *BYTES), "small images"),  # channels first
        (Box((2, 7, 2), "uint8", *BYTES), "vectors"),  # no torso for it
        (Box((4,), "float32", -1.0, 1.0), "vectors"),
        (Box((96, 96), "uint8", *BYTES), "images"),
        (Box((4, 96, 96, 3), "uint8", *BYTES), "images"),
        (Box((4, 3, 96, 96), "uint8", *BYTES), "images"),
        (Box((96, 96), "float32", *BYTES), "vectors"),
        (Box((8, 8), "uint8", *BYTES), "vectors"),
        ({"a": Discrete(3), "b": Box((), "float32", 0.0, 1.0)}, "vectors"),
        ({"a": Discrete(3), "b": Box((84, 84, 3), "uint8", *BYTES)}, "images"),
        ({"a": Discrete(3), "b": Box((7, 7, 3), "uint8", *BYTES)}, "small images"),
        (Discrete(16), "discrete observations"),
        (MultiDiscrete((2,), (3, 3), (0, 0)), "discrete observations"),
    ],
)
def test_kind_of_observations_has_a_network_that_fits(
    space: ObsSpace, kind: str
) -> None:
    assert kind_of(space) == kind
    network = {
        key.removeprefix("network."): value
        for key, value in BY_KIND[kind].items()
        if key.startswith("network.")
    }
    config = dataclasses.replace(NetworkConfig(), **network)
    spec = EnvSpec("Toy-v0", space, Discrete(2))
    jax.eval_shape(make_policy(spec, config).init, jax.random.key(0))


def test_values_by_part_follow_from_every_part_of_a_dict() -> None:
    picture = Box((84, 84, 3), "uint8", *BYTES)
    grid, vector = Box((7, 7, 3), "uint8", *BYTES), Box((2,), "float32", -1.0, 1.0)
    assert by_part(picture) == {"normalize.obs": False}
    assert by_part({"a": picture, "b": Discrete(2)}) == {"normalize.obs": False}
    assert by_part({"a": picture, "b": vector}) == {"normalize.obs": True}
    assert by_part({"a": picture, "b": grid}) == {
        "normalize.obs": True,
        "network.encoders": {"b": "grid_cnn"},
    }
    assert by_part({"b": grid, "c": vector}) == {}
    dot = Box((1, 1, 3), "uint8", *BYTES)
    assert by_part({"b": grid, "d": dot}) == {"network.encoders": {"d": "mlp"}}


def test_images_into_dense_layers_are_warned_of() -> None:
    pixels = Box((84, 84, 3), "uint8", *BYTES)
    text = warning(RunConfig(), pixels)
    assert text is not None
    assert "--set network.torso=nature_cnn" in text
    part = {"camera": pixels, "speed": Box((2,), "float32", -1.0, 1.0)}
    assert "images `camera` of shape" in str(warning(RunConfig(), part))
    assert warning(
        RunConfig().with_values({"network.torso": "nature_cnn"}), pixels
    ) is (None)
    assert warning(RunConfig(), Box((7, 7, 3), "uint8", *BYTES)) is None


class Pixels(gymnasium.Env[Any, Any]):
    """Images of noise, in episodes of ten steps."""

    made = closed = 0

    def __init__(self, size: int = 40) -> None:
        type(self).made += 1
        self.observation_space = gymnasium.spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.observation_space.sample(), 1.0, self.steps == 10, False, {}

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def pixels(monkeypatch: pytest.MonkeyPatch) -> type[Pixels]:
    spec = gymnasium.envs.registration.EnvSpec("Pixels-v0", Pixels)
    monkeypatch.setitem(gymnasium.registry, "Pixels-v0", spec)
    monkeypatch.setattr(Pixels, "made", 0)
    monkeypatch.setattr(Pixels, "closed", 0)
    return Pixels


def test_configure_chooses_by_the_spaces_unless_flags_or_a_file_do(
    pixels: type[Pixels], tmp_path: Path
) -> None:
    found = pgcli.configure(env="Pixels-v0", **{"network.hidden": [8]})
    assert (found.preset, found.spaces) == (None, "images")
    assert found.config.network.torso == "nature_cnn"
    assert found.config.network.hidden == (8,)
    assert not found.config.normalize.obs  # bytes are scaled in the network
    assert found.origins["network.torso"] == "default for images"
    assert found.origins["steps"] == "default for images"

    # not with `--no-preset`, a file, or a preset
    file = tmp_path / "my.yaml"
    file.write_text("env: {id: Pixels-v0}\n", encoding="utf-8")
    off = pgcli.configure(env="Pixels-v0", preset=False)
    for other in (off, pgcli.configure(file=file), pgcli.configure()):
        assert other.spaces is None
        assert other.config.network.torso == "mlp"
    env_factory.close_kept()


def test_trust_region_keeps_separate_torsos(pixels: type[Pixels]) -> None:
    assert pgcli.configure(algo="a2c", env="Pixels-v0").config.network.shared
    assert not pgcli.configure(algo="trpo", env="Pixels-v0").config.network.shared
    env_factory.close_kept()


def test_environment_that_was_looked_at_is_the_first_that_trains(
    pixels: type[Pixels],
) -> None:
    # without a search for masks, which makes one more
    off = {"env.action_mask": "off"}
    config = pgcli.configure(env="Pixels-v0", **off).config
    factory = env_factory.env_factory(config.env)
    assert (pixels.made, pixels.closed) == (1, 0)
    envs = [factory(), factory()]
    assert pixels.made == 2

    # one of other arguments is not the same; unused ones are closed
    pgcli.configure(env="Pixels-v0", **off, **{"env.kwargs": {"size": 50}})
    assert factory() is not None
    assert (pixels.made, pixels.closed) == (4, 0)
    env_factory.close_kept()
    assert pixels.closed == 1
    assert len({id(env.unwrapped) for env in envs}) == 2


def test_environment_without_usable_spaces_is_an_error_and_is_closed(
    pixels: type[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = gymnasium.spaces.Graph(gymnasium.spaces.Discrete(2), None)
    monkeypatch.setattr(Pixels, "__init__", lambda self: None)
    with pytest.raises(EnvironmentFailed, match="has no attribute 'observation_space'"):
        pgcli.configure(env="Pixels-v0")
    monkeypatch.setattr(Pixels, "observation_space", graph, raising=False)
    monkeypatch.setattr(Pixels, "action_space", graph, raising=False)
    with pytest.raises(EnvironmentFailed, match="spaces of type Graph"):
        pgcli.configure(env="Pixels-v0")
    assert env_factory._KEPT == []


def test_stored_configuration_makes_no_environment(pixels: type[Pixels]) -> None:
    flags = {"env.id": ("Pixels-v0", "--env")}
    assert resolve(file=None, flags=flags, sets=[]).spaces is None
    assert pixels.made == 0


def test_device_environment_without_a_family_is_looked_at_too() -> None:
    pytest.importorskip("gymnax")
    found = pgcli.configure(env="gymnax:Catch-bsuite", algo="a2c")
    assert found.spaces == "vectors"
    assert found.config.normalize.obs
    (kept,) = make._KEPT
    assert make.make_device_env(found.config.env) is kept[1]
    assert not make._KEPT


SMALL = {
    "steps": 16,
    "host.workers": 0,
    "env.num_envs": 2,
    "rollout.num_steps": 8,
    "algo.num_minibatches": 1,
    "algo.num_epochs": 1,
    "network.hidden": [4],
    "eval.every": 0,
    "eval.final_episodes": 0,
}


class Warnings(pgcli.training.reporter.Reporter):
    """Keeps the warnings of a run."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warn(self, message: str) -> None:
        self.texts.append(message)


@pytest.mark.parametrize("preset", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_run_warns_of_images_in_dense_layers_and_records_the_kind(
    pixels: type[Pixels], tmp_path: Path, preset: bool
) -> None:
    found = pgcli.configure(env="Pixels-v0", preset=preset, **SMALL)
    reporter = Warnings()
    result = pgcli.train(found, runs_dir=tmp_path, reporter=reporter)
    warned = [text for text in reporter.texts if "go into dense layers" in text]
    assert len(warned) == (0 if preset else 1)
    meta = json.loads((Path(result["path"]) / "meta.json").read_text(encoding="utf-8"))
    assert (meta["preset"], meta["spaces"]) == (None, "images" if preset else None)


def test_commands_say_where_values_come_from(
    pixels: type[Pixels], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--env", "Pixels-v0", "--no-preset", "--dry-run"]) == 0
    assert "warning: images of shape [40, 40, 3] go into" in capsys.readouterr().err
    assert main(["train", "--env", "Pixels-v0", "--algo", "trpo", "--dry-run"]) == 0
    output = capsys.readouterr()
    assert "configuration: defaults of trpo for images, no preset" in output.err
    assert re.search(r"preset +none, defaults for images", output.out)

    # `config show` closes what it makes, and works without an environment
    closed = pixels.closed
    assert main(["config", "show", "--env", "Pixels-v0"]) == 0
    assert pixels.closed == closed + 1
    assert re.search(
        r"torso: nature_cnn +# default for images", capsys.readouterr().out
    )
    assert main(["config", "show", "--env", "Pixelz-v0"]) == 0
    output = capsys.readouterr()
    assert "no defaults by the environment's spaces: unknown environment" in output.err
    assert re.search(r"torso: mlp +# default\n", output.out)
