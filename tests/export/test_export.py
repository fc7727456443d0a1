"""Exported policies act as their source; what differs or is in the way is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors import safe_open
from support.agents import ACTIONS, SPACES, agent_of, masked_spec
from support.small_runs import config, resolved

from pgcli.cli.main import main
from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import Box, EnvSpec
from pgcli.export import export as exports
from pgcli.export import stablehlo
from pgcli.export.policy import exported_policy, outputs_of, sample_inputs
from pgcli.nn.policy import make_policy
from pgcli.training.evaluation.load_policy import LoadedPolicy, load_policy
from pgcli.training.evaluation.saved_agents import Trained
from pgcli.training.run import train

FORMATS = [
    pytest.param(
        name, marks=pytest.mark.skipif(not one.installed, reason="not installed")
    )
    for name, one in exports.FORMATS.items()
]
RUN = config("func:CartPole-v1")
NETWORK = NetworkConfig(hidden=(8, 7))
SQUASHED = replace(NETWORK, distribution="squashed_gaussian", log_std="state")


def trained(
    obs: str, action: str, normalized: bool = True, network: NetworkConfig = NETWORK
) -> Trained:
    spec = EnvSpec("toy", SPACES[obs], ACTIONS[action])
    agent = jax.device_put(agent_of(spec, network, normalized))
    policy = make_policy(spec, network)
    return Trained(Path("toy"), "toy", RUN, spec, policy, agent, 1, ())


def parts_of(space: Any) -> dict[str, Any]:
    return space if isinstance(space, dict) else {"": space}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs_dir = tmp_path_factory.mktemp("runs")
    asked = resolved("func:CartPole-v1", "steps=32", "eval.every=0")
    return Path(train(asked, runs_dir=runs_dir, name="one")["path"])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("obs", "action"),
    [
        ("box", "box"),
        ("dict", "choices"),
        ("discrete", "bits"),
        ("choices", "discrete"),
        ("box", "parts"),
    ],
)
def test_files_act_as_their_source_on_batches_of_any_size(
    obs: str, action: str, format: str, tmp_path: Path
) -> None:
    several = action == "parts"
    policy = exported_policy(
        trained(obs, action, network=SQUASHED if several else NETWORK)
    )
    module = exports.module_of(format)
    module.write(policy, tmp_path / "policy")
    for size in (1, 7):
        batch = sample_inputs(policy, size)
        expected = outputs_of(policy, batch)
        found = module.run(policy, tmp_path / "policy", batch)
        spaces = parts_of(policy.trained.spec.action)
        for one, actions, space in zip(expected, found, spaces.values(), strict=True):
            np.testing.assert_allclose(actions, one, atol=1e-6)
            assert actions.shape == (size, *space.shape)
        names = [f"action/{name}" for name in spaces]
        assert list(policy.outputs) == (names if several else ["action"])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("memory", "obs"), [("gru", "dict"), ("lstm", "box")])
def test_memory_is_an_input_and_an_output(
    memory: str, obs: str, format: str, tmp_path: Path
) -> None:
    network = NetworkConfig(hidden=(8,), memory=memory, memory_size=5)
    policy = exported_policy(trained(obs, "discrete", network=network))
    names = ["state_output", "state_cell"][: 1 + (memory == "lstm")]
    assert list(policy.inputs)[-len(names) :] == names
    assert policy.outputs == ("action", *(f"next_{name}" for name in names))
    module = exports.module_of(format)
    module.write(policy, tmp_path / "policy")
    # two steps from the start of an episode, against the loaded policy's own memory
    batch = sample_inputs(policy, 6)[: -len(names)]
    state = tuple(np.zeros((6, 5), np.float32) for _ in names)
    loaded = LoadedPolicy(policy.trained, deterministic=True, seed=0)
    whole = batch[0] if obs == "box" else dict(zip(policy.inputs, batch, strict=False))
    for _ in range(2):
        actions, *state = module.run(policy, tmp_path / "policy", (*batch, *state))
        np.testing.assert_array_equal(actions, loaded(whole))
        assert all((part != 0).all() for part in state)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "action", ["choices", pytest.param("bits", marks=pytest.mark.slow)]
)
def test_mask_is_an_input(format: str, action: str, tmp_path: Path) -> None:
    spec = masked_spec(action)
    agent, policy = agent_of(spec, NETWORK, True), make_policy(spec, NETWORK)
    source = exported_policy(
        Trained(Path("toy"), "toy", RUN, spec, policy, jax.device_put(agent), 1, ())
    )
    assert list(source.inputs) == ["observation", "mask"]
    module = exports.module_of(format)
    module.write(source, tmp_path / "policy")
    obs, mask = sample_inputs(source, 6)
    (actions,) = module.run(source, tmp_path / "policy", (obs, mask))
    loaded = LoadedPolicy(source.trained, deterministic=True, seed=0)
    np.testing.assert_array_equal(actions, loaded(obs, mask))


@pytest.mark.parametrize("format", FORMATS)
def test_images_are_exported_for_any_batch_size(format: str, tmp_path: Path) -> None:
    network = NetworkConfig(hidden=(8,), torso="nature_cnn")
    spec = EnvSpec("toy", Box((4, 36, 36), "uint8", 0.0, 255.0), ACTIONS["discrete"])
    agent = jax.device_put(agent_of(spec, network, False))
    policy = exported_policy(
        Trained(Path("toy"), "toy", RUN, spec, make_policy(spec, network), agent, 1, ())
    )
    module = exports.module_of(format)
    module.write(policy, tmp_path / "policy")
    batch = sample_inputs(policy, 65)  # two blocks and one image on the CPU
    (expected,) = outputs_of(policy, batch)
    (actions,) = module.run(policy, tmp_path / "policy", batch)
    assert (actions == expected).all()


def test_safetensors_names_its_arrays_and_its_network(tmp_path: Path) -> None:
    policy = exported_policy(trained("box", "box"))
    exports.module_of("safetensors").write(policy, tmp_path / "policy")
    with safe_open(tmp_path / "policy", "numpy") as file:
        assert "params.policy.Dense_0.kernel" in file.keys()  # noqa: SIM118
        assert "obs_stats.mean" in file.keys()  # noqa: SIM118
        network = json.loads(file.metadata()["network"])
    assert network["hidden"] == list(RUN.network.hidden)


def test_command_writes_and_reports(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "policy"
    words = ["export", str(run), "--format", "stablehlo", "-o", str(out), "--json"]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["bytes"] == out.stat().st_size
    assert answer["inputs"] == {"obs": {"shape": ["batch", 4], "dtype": "float32"}}
    assert answer["outputs"] == ["action"]
    assert answer["largest_difference"] == 0
    policy = load_policy(run)
    obs = np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32)
    (exported,) = stablehlo.run(exported_policy(policy.trained), out, (obs,))
    assert (exported == policy(obs)).all()


def test_mistakes_are_named_and_lose_nothing(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "policy"
    out.write_text("mine")

    def refused(message: str, *words: str) -> None:
        assert main(["export", *words]) == 2
        assert message in capsys.readouterr().err

    target = (str(run), "--format", "stablehlo")
    refused("policy exists", *target, "-o", str(out))
    refused("there are no members", *target, "--member", "1")
    refused("expected stablehlo, onnx", str(run), "--format", "tflite")
    refused("expected a run and `--format`", str(run))
    absent = str(tmp_path / "nowhere" / "policy")
    refused("cannot be written", *target, "-o", absent)
    assert out.read_text() == "mine"
    assert main(["export", *target, "-o", str(out), "--overwrite"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["policy"]


def test_file_that_acts_differently_is_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = stablehlo.run

    def other(*arguments: Any) -> tuple[np.ndarray, ...]:
        return tuple(1 - x for x in exact(*arguments))

    monkeypatch.setattr(stablehlo, "run", other)
    out = tmp_path / "policy"
    with pytest.raises(exports.ExportError, match="on 1000 of 1000"):
        exports.export(str(run), format="stablehlo", out=out)
    assert list(tmp_path.iterdir()) == []


def test_list_shows_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(
        exports.FORMATS
    )
