import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.load import (
    ConfigError,
    Resolved,
    from_mapping,
    resolve,
    to_mapping,
)
from pgcli.config.schema import RunConfig
from pgcli.errors import ExitCode, UsageError

GOLDEN = Path(__file__).parents[1] / "golden" / "config"


def run(*sets: str, **more: Any) -> Resolved:
    return resolve(
        **{"file": None, "flags": {}, "use_preset": False, **more, "sets": sets}
    )


def failure(*sets: str, **more: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        run(*sets, **more)
    return caught.value


def messages(error: ConfigError) -> list[str]:
    return [issue.message for issue in error.issues]


@pytest.fixture
def presets(tmp_path: Path) -> Path:
    folder = tmp_path / "configs" / "ppo2"
    folder.mkdir(parents=True)
    text = "algo: {name: ppo2, gamma: 0.5}\nenv: {id: X-v0, num_envs: 16}\nseed: 5\n"
    (folder / "X-v0.yaml").write_text(text)
    return tmp_path / "configs"


# Merging and origins.


def test_resolve_with_nothing_gives_the_defaults_and_derives_the_rest() -> None:
    resolved = run()
    config = resolved.config
    assert config.eval.every == 10_000  # 100,000 / 10
    assert config.checkpoint.every == 10_000  # 100,000 / 10
    assert config.parallel.shards == 8  # gcd(8, 8)
    assert config.host.act == "numpy"  # the torso is dense
    assert config.host.vectorizer == "in_process"
    plain = dataclasses.replace(
        config,
        eval=dataclasses.replace(config.eval, every=None),
        checkpoint=dataclasses.replace(config.checkpoint, every=None),
        host=dataclasses.replace(config.host, act=None, vectorizer=None),
        parallel=dataclasses.replace(config.parallel, shards=None),
    )
    assert plain == RunConfig()
    assert resolved.preset is None
    derived = [path for path, origin in resolved.origins.items() if origin == "derived"]
    names = ["eval.every", "checkpoint.every", "host.act", "host.vectorizer"]
    assert derived == [*names, "parallel.shards"]
    assert set(resolved.origins.values()) == {"default", "derived"}


def test_resolve_derives_from_final_values_and_never_gives_zero() -> None:
    config = run("steps=7", "env.num_envs=12", "algo.name=a2c").config
    assert (config.eval.every, config.checkpoint.every) == (1, 1)
    assert config.parallel.shards == 4  # gcd(12, 8)


def test_resolve_keeps_a_derived_value_that_was_given() -> None:
    resolved = run("eval.every=0", "parallel.shards=2")
    assert resolved.config.eval.every == 0
    assert resolved.config.parallel.shards == 2
    assert resolved.origins["eval.every"] == "--set"


def test_resolve_order_is_default_preset_flag_set(presets: Path) -> None:
    flags = {"env.id": ("X-v0", "--env"), "seed": (6, "--seed")}
    resolved = run("env.num_envs=4", flags=flags, use_preset=True, preset_dir=presets)
    config, origins = resolved.config, resolved.origins
    assert resolved.preset == "ppo2/X-v0"
    assert (config.algo.gamma, origins["algo.gamma"]) == (0.5, "preset ppo2/X-v0")
    assert (config.seed, origins["seed"]) == (6, "--seed")
    assert (config.env.num_envs, origins["env.num_envs"]) == (4, "--set")
    assert (config.env.id, origins["env.id"]) == ("X-v0", "--env")
    assert origins["rollout.num_steps"] == "default"


def test_resolve_set_beats_flag() -> None:
    resolved = run("seed=2", flags={"seed": (1, "--seed")})
    assert (resolved.config.seed, resolved.origins["seed"]) == (2, "--set")


def test_resolve_flag_beats_file(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("# comment\nseed: 1\nsteps: 100_000\n")
    resolved = run(file=path, flags={"seed": (2, "--seed")})
    assert resolved.config.seed == 2
    assert resolved.config.steps == 100_000
    assert resolved.origins["seed"] == "--seed"
    assert resolved.origins["steps"] == f"{path}:3"


def test_resolve_last_set_wins() -> None:
    assert run("seed=1", "seed=2").config.seed == 2


def test_resolve_flag_of_none_was_not_given() -> None:
    resolved = run(flags={"seed": (None, "--seed")})
    assert resolved.origins["seed"] == "default"


def test_resolve_file_looks_up_no_preset(presets: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("env: {id: X-v0}\n")
    resolved = run(file=path, use_preset=True, preset_dir=presets)
    assert resolved.preset is None
    assert resolved.config.algo.gamma == 0.99


def test_file_starts_from_the_preset_that_it_names_as_its_base(
    presets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("base: ppo2/X-v0\nenv: {num_envs: 4}\n")
    resolved = run(file=path, use_preset=True, preset_dir=presets)
    config = resolved.config
    # of the preset: id, gamma and seed; of the file: the number of environments
    assert (config.env.id, config.algo.gamma, config.seed) == ("X-v0", 0.5, 5)
    assert config.env.num_envs == 4
    assert resolved.origins["env.num_envs"] == f"{path}:2"
    assert resolved.origins["seed"] == "preset ppo2/X-v0"
    assert (resolved.preset, resolved.unused_preset) == ("ppo2/X-v0", None)


def test_base_that_is_no_preset_is_an_error_at_its_place(
    presets: Path, tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("seed: 1\nbase: ppo2/X-v1\n")
    error = failure(file=path, preset_dir=presets)
    assert messages(error) == ["there is no preset `ppo2/X-v1`"]
    assert error.where == f"{path}:2"
    assert error.issues[0].help == "did you mean `ppo2/X-v0`?"


def test_later_files_override_earlier_ones(tmp_path: Path) -> None:
    texts = "algo: {name: a2c}\nseed: 1\nsteps: 7\n", "seed: 2\nenv: {num_envs: 4}\n"
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path, text in zip(files, texts, strict=True):
        path.write_text(text)
    resolved = run(file=files)
    config = resolved.config
    assert (config.algo.name, config.steps, config.seed) == ("a2c", 7, 2)
    assert config.env.num_envs == 4
    assert resolved.origins["steps"] == f"{files[0]}:3"
    assert resolved.origins["seed"] == f"{files[1]}:1"


def test_preset_that_is_not_used_is_named(presets: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("env: {id: X-v0}\n")
    for given in ({"file": path}, {"sets": ["env.id=X-v0"]}):
        resolved = resolve(
            **{"file": None, "flags": {}, "sets": [], **given},
            use_preset=False,
            preset_dir=presets,
        )
        assert (resolved.preset, resolved.unused_preset) == (None, "ppo2/X-v0")


def test_resolve_finds_the_preset_by_values_from_set(presets: Path) -> None:
    for sets in (["env.id=X-v0"], ["env={id: X-v0}"]):
        assert run(*sets, use_preset=True, preset_dir=presets).preset == "ppo2/X-v0"
    sets = ["env.id=X-v0", "algo.name=a2c"]
    assert run(*sets, use_preset=True, preset_dir=presets).preset is None


def test_resolve_without_preset_ignores_it(presets: Path) -> None:
    assert run("env.id=X-v0", preset_dir=presets).preset is None


def test_resolve_reports_errors_in_a_preset_by_its_name(presets: Path) -> None:
    (presets / "ppo2" / "X-v0.yaml").write_text("algo: {gama: 1}\n")
    error = failure("env.id=X-v0", use_preset=True, preset_dir=presets)
    assert error.where == "configs/ppo2/X-v0.yaml:1"


def test_alias_is_resolved_to_the_real_name(presets: Path) -> None:
    flags = {"algo.name": ("ppo", "--algo"), "env.id": ("X-v0", "--env")}
    resolved = run(flags=flags, use_preset=True, preset_dir=presets)
    assert resolved.config.algo.name == "ppo2"
    assert resolved.preset == "ppo2/X-v0"
    assert from_mapping({"algo": {"name": "ppo"}}).algo.name == "ppo2"


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("network.hidden=[32, 16]", "network.hidden", (32, 16)),
        ("network.hidden=[]", "network.hidden", ()),
        ("optimizer.lr=1e-4", "optimizer.lr", 1e-4),
        ("optimizer.lr=1", "optimizer.lr", 1.0),
        ("optimizer.max_grad_norm=null", "optimizer.max_grad_norm", None),
        ("normalize.obs=true", "normalize.obs", True),
        ("env.id=func:CartPole-v1", "env.id", "func:CartPole-v1"),
        ("env.kwargs={a: {b: [1]}}", "env.kwargs", {"a": {"b": [1]}}),
        ("env.kwargs.a.b=1", "env.kwargs", {"a": {"b": 1}}),
        ("env.kwargs.range=[0.7, .inf]", "env.kwargs", {"range": [0.7, float("inf")]}),
        ("optimizer={lr: 1, beta1: 0}", "optimizer.beta1", 0.0),
        ("steps=1_000", "steps", 1000),
        ("env.id='a=b'", "env.id", "a=b"),
    ],
)
def test_set_value_is_yaml(text: str, path: str, value: object) -> None:
    resolved = run(text)
    found: Any = resolved.config
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)
    assert resolved.origins[path] == "--set"


def test_set_of_one_environment_argument_keeps_the_others(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("env: {kwargs: {a: 1, b: 2}}\n")
    assert run("env.kwargs.b=3", file=path).config.env.kwargs == {"a": 1, "b": 3}


def test_empty_section_in_a_file_sets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("optimizer:\n#  lr: 1\nseed: 1\n")
    assert run("optimizer.lr=2", file=path).config.optimizer.lr == 2.0


# Errors.


def test_config_error_is_a_usage_error_of_exit_2() -> None:
    assert issubclass(ConfigError, UsageError)
    assert failure("seed=-1").exit_code == ExitCode.USAGE


def test_error_text_matches_the_documented_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("\n" * 5 + "algo:\n  clip_epss: 0.2\n")
    assert failure(file=Path("my.yaml")).render() == (
        "error: unknown key `algo.clip_epss`\n"
        "  my.yaml:7\n"
        "  7 │   clip_epss: 0.2\n"
        "    │   ^^^^^^^^^\n"
        "  help: did you mean `clip_eps`?"
    )


def test_all_errors_are_reported_at_once_in_file_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(GOLDEN)
    flags = {"seed": (-3, "--seed"), "accelerator": ("gppu", "--accelerator")}
    error = failure(
        "optimiser.lr=1e-3",
        "network.hidden=[32, 0]",
        "env=CartPole-v1",
        "env.kwargs={a: *b}",
        "steps",
        "until_return=",
        "checkpoint.keep=[",
        file=Path("many_errors.yaml"),
        flags=flags,
    )
    assert error.render() + "\n" == (GOLDEN / "many_errors.txt").read_text(
        encoding="utf-8"
    )


def test_error_as_data_has_every_issue() -> None:
    assert failure("seed=-1", "lr=3").to_list() == [
        {
            "message": "`seed` must be an integer, at least 0 and below 4294967296, "
            "not -1",
            "where": "--set seed=-1",
            "help": "seed of every random stream",
        },
        {
            "message": "unknown key `lr`",
            "where": "--set lr=3",
            "help": "did you mean `optimizer.lr`?",
        },
    ]


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("optimizer.lrr=1", "did you mean `optimizer.lr`?"),
        ("optimiser.lr=1", "did you mean `optimizer.lr`?"),
        ("env.nmu_steps=1", "did you mean `rollout.num_steps`?"),
        ("lr=1", "did you mean `optimizer.lr`?"),
        ("learning_rate=1", "did you mean `optimizer.lr`?"),
        ("env.n_envs=1", "did you mean `env.num_envs`?"),
        ("num_steps=1", "did you mean `rollout.num_steps`?"),
        ("total_timesteps=1", "did you mean `steps`?"),
        ("stepps=1", "did you mean `steps`?"),
        ("seed.x=1", None),
        ("algo.clip_range=1", "did you mean `algo.clip_eps`?"),
    ],
)
def test_unknown_key_of_set_names_the_nearest(text: str, help: str | None) -> None:
    error = failure(text)
    assert error.message == f"unknown key `{text.partition('=')[0]}`"
    assert error.where == f"--set {text}"
    if help is not None:
        assert error.help == help


def test_key_of_another_algorithm_is_unknown_and_its_owner_named() -> None:
    error = failure("algo.name=a2c", "algo.clip_eps=0.2")
    assert messages(error) == ["unknown key `algo.clip_eps`"]
    assert error.help is not None
    assert error.help.startswith("`clip_eps` belongs to ppo2; this run trains a2c.")
    near = failure("algo.name=a2c", "algo.clip_epss=0.2").help
    assert near == "the nearest is `algo.clip_eps` of ppo2; this run trains a2c"


def test_flag_that_changes_the_algorithm_of_a_file_exposes_its_keys(
    tmp_path: Path,
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("algo:\n  name: ppo2\n  num_epochs: 3\n")
    error = failure(file=path, flags={"algo.name": ("a2c", "--algo")})
    assert messages(error) == ["unknown key `algo.num_epochs`"]
    assert error.where == f"{path}:3"


@pytest.mark.parametrize(
    ("name", "help"),
    [
        ("ppo3", "did you mean `ppo2`?"),
        ("reinforse", "did you mean `reinforce`?"),
        ("vpgg", "did you mean `reinforce`?"),
        ("zzz", f"there are {', '.join(ALGORITHM_CONFIGS)}"),
    ],
)
def test_unknown_algorithm_gets_a_suggestion_and_the_rest_is_checked(
    name: str, help: str
) -> None:
    error = failure("seed=-1", "algo.x=1", flags={"algo.name": (name, "--algo")})
    assert len(error.issues) == 2  # not the keys of an algorithm that nobody knows
    assert error.message == f"unknown algorithm `{name}` (and 1 more)"
    assert error.help == help


@pytest.mark.parametrize("value", ["3", "null", "[ppo2]", "{a: 1}", "true"])
def test_algorithm_that_is_no_word_is_refused(value: str) -> None:
    assert failure(f"algo.name={value}").message.startswith(
        "`algo.name` must be one of"
    )


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("steps=1e5", "write it as an integer: 100000"),
        ('seed="8"', "write it without quotes: 8"),
        ('optimizer.lr="1e-4"', "write it without quotes: 1e-4"),
        ("normalize.obs=yes", "write `true`"),
        ("normalize.obs=0", "write `false`"),
        ("optimizer.schedule=linaer", "did you mean `linear`?"),
        ("optimizer.lr=nan", "learning rate at the start"),
    ],
)
def test_wrong_value_gets_a_remedy(text: str, help: str) -> None:
    assert failure(text).help == help


def test_set_on_a_section_with_a_value_is_refused_and_hides_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text("env: {num_envs: 0}\n")
    assert len(failure("env=3", file=path).issues) == 2


def test_file_that_is_not_yaml_is_reported_with_the_flags_that_are_not() -> None:
    error = failure("seed=[", file=Path("/nonexistent/my.yaml"))
    assert messages(error)[0] == (
        "cannot read /nonexistent/my.yaml: No such file or directory"
    )
    assert len(error.issues) == 2


def test_terminal_codes_in_a_value_are_not_printed() -> None:
    text = failure("env.kwarg=\x1b[31m", "accelerator='\x9b2J'").render()
    assert "\x1b" not in text
    assert "\x9b" not in text


@pytest.mark.parametrize(
    "sets", [("=1",), (".=1",), ("a..b=1",), ("env.=1",), ("env.kwargs.=1",), ("",)]
)
def test_odd_paths_are_errors(sets: tuple[str, ...]) -> None:
    assert len(failure(*sets).issues) == 1


def test_text_that_is_not_unicode_is_refused() -> None:
    assert failure("env.id=\udcff").message == "not valid Unicode text"
    error = failure(flags={"env.id": ("\udcff", "--env")})
    assert error.message == "not valid Unicode text"
    error.render().encode()


# Checks across keys.


def test_batch_must_divide_into_minibatches() -> None:
    error = failure("env.num_envs=6", "rollout.num_steps=5")
    assert error.message == (
        "num_envs (6) × num_steps (5) = 30 is not divisible by num_minibatches (4)"
    )
    assert error.where == "--set rollout.num_steps=5"
    assert error.help == "set `algo.num_minibatches` to 3 or 5"


def test_more_minibatches_than_samples_are_refused() -> None:
    error = failure("env.num_envs=2", "rollout.num_steps=4", "algo.num_minibatches=16")
    assert error.help == "set `algo.num_minibatches` to 8"


def test_minibatches_of_a_memory_are_whole_environments() -> None:
    sets = ("network.memory=gru", "algo.num_minibatches=4")
    # 8 environments in minibatches of 2: a row has at least one of each
    assert run(*sets, "env.num_envs=8").config.parallel.shards == 2
    error = failure(*sets, "env.num_envs=6")
    assert error.message.endswith(
        "environments: num_envs (6) is not divisible by num_minibatches (4)"
    )
    assert error.help == "set `algo.num_minibatches` to 3 or 6"
    error = failure(*sets, "env.num_envs=8", "parallel.shards=8")
    assert error.help == "set `parallel.shards` to 2"
    error = failure(*sets, "env.num_envs=8", "host.act=numpy")
    assert error.help == "set `host.act` to jit, or `network.memory` to null"


@pytest.mark.parametrize(
    ("key", "value", "only"),
    [
        ("torso", "impala_cnn", "mlp"),
        ("torso", "MyNet", "mlp"),
        ("encoders", "{image: grid_cnn}", "{}"),
        ("layer_norm", "true", "false"),
    ],
)
def test_networks_that_numpy_does_not_have_act_by_the_compiled_one(
    key: str, value: str, only: str
) -> None:
    asked = f"network.{key}={value}"
    assert run(asked).config.host.act == "jit"
    error = failure(asked, "host.act=numpy")
    assert error.message == f"`host.act: numpy` has no network.{key} `{value}`"
    assert error.help == f"set `host.act` to jit, or `network.{key}` to {only}"


def test_networks_must_exist_or_be_classes() -> None:
    error = failure("network.encoders={image: nature, map: GridNet}")
    assert error.message == "`network.encoders.image`: no network `nature`"
    assert error.help == "did you mean `nature_cnn`?"
    error = failure("network.torso=mynet")
    assert str(error.help).endswith("a class of your own begins with a capital letter")
    error = failure("network.torso=MyNet", "network.encoders.image=mlp")
    assert error.message == "`network.torso: MyNet` gets the whole observation"


def test_environments_must_divide_into_shards() -> None:
    error = failure("env.num_envs=6", "parallel.shards=4", "rollout.num_steps=128")
    assert error.message == "num_envs (6) is not divisible by parallel.shards (4)"
    assert error.help == "set `parallel.shards` to 3 or 6"


def test_each_shard_must_divide_into_minibatches() -> None:
    error = failure("rollout.num_steps=5", "algo.num_minibatches=10")
    assert error.message == (
        "num_envs (8) × num_steps (5) = 40 in parallel.shards (8), which follows from "
        "num_envs (8), is 5 each, not divisible by num_minibatches (10)"
    )
    assert error.help == "set `parallel.shards` to 4"  # 40 / 4 = 10
    help = failure(
        "rollout.num_steps=5", "algo.num_minibatches=10", "parallel.shards=8"
    ).help
    assert help == "set `parallel.shards` to 4"
    assert run(
        "rollout.num_steps=5", "algo.num_minibatches=10", "parallel.shards=4"
    ).config


def test_algorithm_without_minibatches_takes_any_batch() -> None:
    assert run("algo.name=a2c", "env.num_envs=7", "rollout.num_steps=3").config


# Algorithms: their defaults, the keys they have, what they need.


@pytest.mark.parametrize("algo", ALGORITHM_CONFIGS)
def test_defaults_of_an_algorithm_are_valid_keys_and_values(algo: str) -> None:
    resolved = run(f"algo.name={algo}")
    tree = to_mapping(resolved.config)
    for path, value in ALGORITHM_CONFIGS[algo].defaults.items():
        section, key = path.split(".")
        assert section != "algo"  # those are defaults of the dataclass
        assert tree[section][key] == value
        assert resolved.origins[path] == f"default of {algo}"


def test_defaults_of_an_algorithm_come_before_preset_file_and_flags(
    presets: Path, tmp_path: Path
) -> None:
    def lr(*sets: str, **more: Any) -> tuple[float, str]:
        resolved = run("algo.name=trpo", *sets, preset_dir=presets, **more)
        return resolved.config.optimizer.lr, resolved.origins["optimizer.lr"]

    (presets / "trpo").mkdir()
    preset = "algo: {name: trpo}\nenv: {id: X-v0}\noptimizer: {lr: 0.25}\n"
    (presets / "trpo" / "X-v0.yaml").write_text(preset)
    path = tmp_path / "my.yaml"
    path.write_text("optimizer: {lr: 0.5}\n")
    assert lr() == (1e-3, "default of trpo")
    assert lr("env.id=X-v0", use_preset=True) == (0.25, "preset trpo/X-v0")
    assert lr(file=path) == (0.5, f"{path}:1")
    assert lr("optimizer.lr=2", file=path) == (2.0, "--set")
    assert run("algo.name=ppo2").config.optimizer.lr == 3e-4


def test_defaults_of_an_algorithm_hold_for_a_plain_tree() -> None:
    assert from_mapping({"algo": {"name": "trpo"}}).optimizer.lr == 1e-3
    tree = {"algo": {"name": "trpo"}, "optimizer": {"lr": 0.5}}
    assert from_mapping(tree).optimizer.lr == 0.5


@pytest.mark.parametrize(
    ("algo", "key", "instead"),
    [
        ("reinforce", "num_steps", "episodes_per_env"),
        ("ppo2", "episodes_per_env", "num_steps"),
    ],
)
def test_size_of_the_other_way_to_collect_is_an_unknown_key(
    algo: str, key: str, instead: str, tmp_path: Path
) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(f"algo: {{name: {algo}}}\nrollout:\n  {key}: 2\n")
    name = f"algo.name={algo}"
    sources = {
        f"{path}:3": failure(file=path),
        f"--set rollout.{key}=2": failure(name, f"rollout.{key}=2"),
        f"--set rollout={{{key}: 2}}": failure(name, f"rollout={{{key}: 2}}"),
    }
    for where, error in sources.items():
        assert messages(error) == [f"unknown key `rollout.{key}`"]
        assert (error.where, error.help is not None) == (where, True)
        assert f"did you mean `rollout.{instead}`?" in str(error.help)
    config = run(name).config
    assert key not in to_mapping(config)["rollout"]
    assert f"rollout.{key}" not in run(name).origins
    assert from_mapping(to_mapping(config)) == config


def test_sizes_are_not_blamed_where_the_algorithm_is_unknown() -> None:
    for key in ("num_steps", "episodes_per_env"):
        assert len(failure("algo.name=zzz", f"rollout.{key}=2").issues) == 1


@pytest.mark.parametrize("algo", ["reinforce-baseline", "reward-to-go"])
@pytest.mark.parametrize("baseline", ["mean", "leave_one_out"])
def test_baseline_of_one_trajectory_is_refused(algo: str, baseline: str) -> None:
    sets = [f"algo.name={algo}", f"algo.baseline={baseline}", "env.num_envs=1"]
    error = failure(*sets)
    assert (
        error.message == f"`algo.baseline: {baseline}` needs more than one trajectory"
    )
    assert error.where == "--set env.num_envs=1"
    assert error.help == "set `rollout.episodes_per_env` to 2 or more"
    assert run(*sets, "rollout.episodes_per_env=2").config


def test_baseline_that_needs_no_other_trajectory_is_accepted_with_one() -> None:
    running = ["algo.name=reinforce-baseline", "algo.baseline=running"]
    assert run(*running, "env.num_envs=1").config
    assert run("algo.name=reward-to-go", "algo.baseline=none", "env.num_envs=1").config
    assert run("algo.name=reinforce", "env.num_envs=1").config
    # one weight less its own mean is 0: nothing would ever be learnt
    standard = "algo.standardize_advantage=true"
    assert failure(*running, "env.num_envs=1", standard).where == f"--set {standard}"


def test_trajectories_must_divide_into_shards() -> None:
    sets = ["algo.name=reinforce", "env.num_envs=3", "rollout.episodes_per_env=2"]
    assert run(*sets).config.parallel.shards == 2  # gcd(3 x 2, 8)
    assert run(*sets, "parallel.shards=6").config
    error = failure(*sets, "parallel.shards=4")
    assert error.message == (
        "num_envs (3) × episodes_per_env (2) = 6 is not divisible by parallel.shards "
        "(4)"
    )
    assert error.help == "set `parallel.shards` to 3 or 6"


def test_trpo_refuses_a_shared_torso() -> None:
    error = failure("algo.name=trpo", "network.shared=true")
    assert error.message.startswith("trpo cannot share the torso: the policy step")
    assert error.where == "--set network.shared=true"
    assert run("algo.name=ppo2", "network.shared=true").config


def test_trpo_batch_must_divide_into_minibatches_of_the_critic() -> None:
    error = failure("algo.name=trpo", "env.num_envs=3", "rollout.num_steps=5")
    assert error.message == (
        "num_envs (3) × num_steps (5) = 15 is not divisible by num_minibatches (8)"
    )


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["kl_target=0.01", "kl_min=0.1", "kl_max=0.2"],
            "`algo.kl_target` and the pair of kl_min and kl_max exclude each other",
        ),
        (["kl_min=0.1"], "`algo.kl_min` is of no use without `algo.kl_max`"),
        (["kl_max=0.1"], "`algo.kl_max` is of no use without `algo.kl_min`"),
        (["kl_min=0.2", "kl_max=0.2"], "kl_min (0.2) must be below kl_max (0.2)"),
    ],
)
def test_kl_bounds_of_ppo1_that_disagree_are_refused(
    sets: list[str], message: str
) -> None:
    error = failure("algo.name=ppo1", *(f"algo.{text}" for text in sets))
    assert messages(error) == [message]
    assert error.where == f"--set algo.{sets[-1]}"


def test_kl_target_of_ppo1_is_derived_unless_bounds_are_given() -> None:
    free = run("algo.name=ppo1")
    assert to_mapping(free.config)["algo"]["kl_target"] == 0.01
    assert free.origins["algo.kl_target"] == "derived"
    bound = run("algo.name=ppo1", "algo.kl_min=0.1", "algo.kl_max=0.2")
    assert to_mapping(bound.config)["algo"]["kl_target"] is None
    assert bound.origins["algo.kl_target"] == "default"
    for resolved in (free, bound):
        tree = to_mapping(resolved.config)
        assert from_mapping(tree) == resolved.config
    given = run("algo.name=ppo1", "algo.kl_target=0.02")
    assert given.origins["algo.kl_target"] == "--set"


def test_checks_of_algorithms_are_reported_together() -> None:
    sets = ["algo.name=ppo1", "algo.kl_min=0.1", "algo.kl_target=1", "env.num_envs=3"]
    assert len(failure(*sets, "rollout.num_steps=5").issues) == 3


def test_reward_normalisation_needs_no_discount() -> None:
    assert run("algo.name=reinforce", "normalize.reward=true").config


def test_text_for_a_list_has_the_list_as_its_remedy() -> None:
    assert failure("log.sinks=csv,wandb").help == "write it as a list: [csv,wandb]"


def test_logger_must_be_known() -> None:
    error = failure("log.sinks=[csv, tensorbord]")
    assert error.message == "`log.sinks[1]`: no logger `tensorbord`"
    assert error.help == "did you mean `tensorboard`?"


@pytest.mark.parametrize(
    ("env_id", "kwargs", "expected"),
    [
        ("ALE/Pong-v5", {}, "native"),
        ("ALE/Pong-v5", {"obs_type": "ram"}, "in_process"),
        ("envpool:Pong-v5", {}, "native"),
        ("func:CartPole-v1", {}, "in_process"),
    ],
)
def test_vectorizer_follows_from_the_environment(
    env_id: str, kwargs: dict[str, str], expected: str
) -> None:
    resolved = run("env.id=" + env_id, f"env.kwargs={json.dumps(kwargs)}")
    assert resolved.config.host.vectorizer == expected
    assert resolved.origins["host.vectorizer"] == "derived"
    assert run("env.id=ALE/Pong-v5", "host.vectorizer=in_process").config


def test_envpool_is_not_stepped_in_process() -> None:
    error = failure("env.id=envpool:Pong-v5", "host.vectorizer=in_process")
    assert "use `Pong-v5`" in str(error.help)


@pytest.mark.parametrize(
    ("algo", "env_id", "said"),
    [
        ("reinforce", "ALE/Pong-v5", "reinforce learns from whole episodes"),
        ("ppo2", "func:CartPole-v1", "runs on the device, which counts no lives"),
    ],
)
def test_life_loss_ends_credit_of_steps_on_the_host(
    algo: str, env_id: str, said: str
) -> None:
    sets = (f"algo.name={algo}", f"env.id={env_id}", "rollout.end_on_life_loss=true")
    assert said in failure(*sets).message


@pytest.mark.parametrize("env_id", ["func:CartPole-v1", "gymnax:CartPole-v1"])
@pytest.mark.parametrize(
    "setting", ["host.vectorizer=native", "host.workers=2", "host.workers=thread"]
)
def test_ways_to_step_are_for_host_environments(setting: str, env_id: str) -> None:
    assert run(setting, "env.id=CartPole-v1").config
    assert run(setting, "env.id=my_module:CartPole-v1").config
    error = failure(setting, f"env.id={env_id}")
    assert error.where == f"--set env.id={env_id}"
    assert "is for host environments" in error.message
    assert setting.partition("=")[0] in (error.help or "")


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (["host.workers=8"], "workers (8) must be below num_envs (8)"),
        (
            ["host.workers=1", "env.num_envs=1"],
            "workers (1) must be below num_envs (1)",
        ),
        (["host.workers=thread", "env.num_envs=1"], "needs two environments"),
        (["host.workers=2", "host.vectorizer=native"], "`host.vectorizer: in_process`"),
        (["host.workers=thread", "host.vectorizer=native"], "`host.workers: thread`"),
        (
            ["host.workers=thred"],
            'at least 0, or one of auto, thread, not the text "thr',
        ),
    ],
)
def test_workers_need_something_to_do(sets: list[str], message: str) -> None:
    error = failure(*sets, "rollout.num_steps=128")
    assert message in error.message
    assert len(error.issues) == 1


def test_workers_are_a_number_or_a_word() -> None:
    for text, value in (("7", 7), ("0", 0), ("thread", "thread"), ("auto", "auto")):
        assert run(f"host.workers={text}").config.host.workers == value
    assert run("host.workers=0", "host.vectorizer=native").config


OLD = """
env:
  id: CartPole-v1
  vectorizer: in_process
  workers: 2
  timeout: 9.0
"""


def test_moved_keys_are_read_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text(OLD)
    resolved = resolve(file=path, flags={}, sets=[])
    host = resolved.config.host
    assert (host.vectorizer, host.workers, host.timeout) == ("in_process", 2, 9.0)
    assert resolved.origins["host.workers"] == f"{path}:5"
    assert resolved.note == (
        "`env.vectorizer` is now `host.vectorizer`; `env.workers` is now "
        "`host.workers`; `env.timeout` is now `host.timeout`"
    )
    stored = {"env": {"workers": 2}}  # as in a checkpoint of then
    assert from_mapping(stored).host.workers == 2
    for old in ("env.workers=3", "env={workers: 3}"):
        assert run(old).config == run("host.workers=3").config
        assert run(old).note == "`env.workers` is now `host.workers`"
    assert run("host.workers=3").note is None


def test_moved_keys_are_checked_where_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_text("env:\n  workers: many\n")
    with pytest.raises(ConfigError, match=r"`host\.workers` must be") as caught:
        resolve(file=path, flags={}, sets=[])
    assert caught.value.where == f"{path}:2"
    error = failure("env.workers=many")
    assert error.where == "--set env.workers=many"


def test_check_across_keys_is_skipped_where_a_key_is_bad_itself() -> None:
    error = failure("env.num_envs=0", "rollout.num_steps=5", "log.sinks=[x]")
    assert len(error.issues) == 2  # num_envs and the logger, not the division


def test_checks_across_keys_run_beside_errors_elsewhere() -> None:
    error = failure("rollout.num_steps=5", "env.num_envs=6", "seed=-1")
    assert len(error.issues) == 2


def test_very_large_numbers_end_in_an_error_or_a_configuration_at_once() -> None:
    huge = "9" * 900
    assert failure(f"steps={huge}").issues
    assert failure(f"optimizer.lr={huge}").issues
    assert failure(f"seed={'9' * 5000}").issues
    # 2⁶¹ − 1 is prime: a search for a divisor near 10¹⁵ must not take for ever.
    assert failure(f"env.num_envs={2**61 - 1}", f"algo.num_minibatches={10**15}").issues
    sets = [f"env.num_envs={2**61}", f"parallel.shards={2**50}"]
    assert failure(*sets, "algo.num_minibatches=4096", "rollout.num_steps=1").issues


def test_errors_take_work_in_proportion_to_their_number(tmp_path: Path) -> None:
    def lines_run(errors: int) -> int:
        """Lines of Python that refusing a file with so many errors executes."""
        path = tmp_path / f"{errors}.yaml"
        path.write_text("env:\n" + "".join(f"  key{n}: 1\n" for n in range(errors)))
        count = 0

        def trace(frame: Any, event: str, argument: Any) -> Any:
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            text = failure(file=path).render()
        finally:
            sys.settrace(before)
        assert text.count("error: unknown key `env.key") == errors
        return count

    lines_run(1)  # imports
    one, some, twice = lines_run(1), lines_run(400), lines_run(800)
    # as much again for as many again; squares would take three times as much
    assert twice - some < 1.5 * (some - one)
