"""Compiled programs that are kept for later processes."""

import dataclasses
import platform
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import struct
from jax.sharding import NamedSharding
from support.shared_loops import ENV, advance
from support.small_runs import config

from pgcli import versions
from pgcli.arrays import shared as sharing
from pgcli.arrays.device_mesh import EVERYWHERE, ROWS
from pgcli.config.schema import RunConfig
from pgcli.envs import user_modules
from pgcli.envs.base import ActionMask, Box, Discrete, EnvSpec
from pgcli.envs.make import make_device_env
from pgcli.training.backend.layout import Layout, make_mesh
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.programs import key, results, store
from pgcli.training.programs.kept import Kept
from pgcli.training.programs.key import (
    description,
    learner_description,
    machine,
    placed,
    program_key,
    sources,
)
from pgcli.training.step import make_knobs

MESH: Any = make_mesh(Layout(1, 2))
WHOLE, HALVES = NamedSharding(MESH, EVERYWHERE), NamedSharding(MESH, ROWS)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the programs, empty."""
    monkeypatch.setenv("PGCLI_CACHE", str(tmp_path))
    jax.clear_caches()  # as in another process
    return tmp_path / "programs"


def key_of(cfg: RunConfig, name: str = "training") -> str:
    described = description(cfg, make_device_env(cfg.env))
    assert described is not None
    about = name, described, []
    return program_key(about, (make_knobs(cfg), np.zeros(2, np.float32)))


def test_key_is_that_of_every_run_with_the_same_structure() -> None:
    other = config(ENV, "optimizer.lr=0.5", "algo.gamma=0.5", "steps=9", seed=1)
    assert key_of(other) == key_of(config(ENV))


@pytest.mark.parametrize(
    "changed",
    [
        "network.hidden=[9]",
        "network.log_std_init=1",
        "rollout.num_steps=16",
        "env.num_envs=8",
        "env.max_episode_steps=6",
        "env.kwargs={length: 0.4}",
        "normalize.obs=false",
        "eval.episodes=5",
        "algo.num_epochs=3",
        "optimizer.max_grad_norm=null",
    ],
)
def test_key_changes_with_the_configuration(changed: str) -> None:
    assert key_of(config(ENV, changed)) != key_of(config(ENV))


def test_key_changes_with_program_algorithm_and_environment() -> None:
    keys = {
        key_of(config(ENV)),
        key_of(config(ENV), "evaluation"),
        key_of(config(ENV, algo="a2c")),
        key_of(config("func:Pendulum-v1")),
    }
    assert len(keys) == 4


def test_key_changes_with_shapes_dtypes_and_structure_of_arguments() -> None:
    x = np.zeros(2, np.float32)
    arguments: list[Any] = [x, x[:1], x.astype(np.int32), [x], {"a": x}, (x, None)]
    keys = {program_key(("p",), (argument,)) for argument in arguments}
    assert len(keys) == len(arguments)
    assert program_key(("p",), (x + 1,)) in keys  # values are no part of it


def test_key_changes_with_whatever_traces_and_compiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cfg, keys = config(ENV), [key_of(config(ENV))]
    monkeypatch.setenv("XLA_FLAGS", "--another")
    keys.append(key_of(cfg))
    monkeypatch.setenv("PJRT_NPROC", "7")
    keys.append(key_of(cfg))
    with jax.debug_nans(True):
        keys.append(key_of(cfg))
    monkeypatch.setattr(versions, "recorded", lambda: {"jax": "0.99"})
    keys.append(key_of(cfg))
    monkeypatch.setattr(key, "sources", lambda: "other sources")
    keys.append(key_of(cfg))
    monkeypatch.setattr(key, "machine", lambda: "another processor")
    keys.append(key_of(cfg))
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    keys.append(key_of(cfg))
    assert len(set(keys)) == len(keys)


def test_key_changes_with_the_options_of_the_program() -> None:
    options = [[], [("donate_argnums", 1)], [("donate_argnums", 0)]]
    assert len({program_key(("p", (), each), ()) for each in options}) == 3


def test_key_changes_with_the_devices_and_the_places_of_arguments() -> None:
    meshes = None, MESH, make_mesh(Layout(2, 1))
    places = [np.zeros(2, np.float32)]
    places += [jax.device_put(np.zeros(2, np.float32), at) for at in (WHOLE, HALVES)]
    keys = [program_key(("p", placed(mesh)), (x,)) for mesh in meshes for x in places]
    assert len(set(keys)) == len(keys)


SPEC = EnvSpec("A-v0", Box((2,), "float32", -1.0, 1.0), Discrete(3), 9)


def learner_key(*sets: str, spec: EnvSpec = SPEC, **options: Any) -> str | None:
    return learner_description(config("CartPole-v1", *sets, **options), spec)


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "B-v0"},
        {"obs": Box((2,), "float32", -1.0, 1.5)},
        {"obs": {"a": SPEC.obs, "b": ActionMask((3,), (3,))}},
        {"action": Discrete(3, 1)},
        {"max_episode_steps": 8},
        {"action_dtype": "int8"},
        {"action_structure": ["a"]},
    ],
)
def test_key_of_a_learner_changes_with_the_spaces(changed: dict[str, Any]) -> None:
    assert learner_key(spec=dataclasses.replace(SPEC, **changed)) != learner_key()


def test_key_of_a_learner_changes_with_what_shapes_it() -> None:
    structure = (
        "env.num_envs=8",
        "rollout.num_steps=16",
        "network.memory=gru",
        "normalize.obs=false",
    )
    keys = {learner_key(text) for text in structure}
    assert len(keys | {learner_key(), learner_key(algo="a2c")}) == 6
    assert learner_key("network.torso=my_net:Net") is None


def test_key_of_a_learner_is_that_of_any_environment_with_its_spaces() -> None:
    other = "env.kwargs={sutton_barto_reward: true}", "optimizer.lr=1", "host.workers=2"
    assert learner_key(*other, seed=1) == learner_key()


def test_machine_is_model_and_instructions_of_its_first_core(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key, "CPU_INFO", tmp_path / "cpuinfo")
    core = "model name: A\ncpu MHz: {}\nflags: avx\n\n"
    key.CPU_INFO.write_text(core.format(1) + core.format(2))
    assert machine.__wrapped__() == "model name: A\nflags: avx\n"
    key.CPU_INFO.unlink()
    assert machine.__wrapped__() == platform.processor() or platform.machine()


def test_sources_are_names_and_contents_of_all_modules(tmp_path: Path) -> None:
    seen = []
    for name, text in (("a.py", "1"), ("a.py", "2"), ("b/c.py", "1"), ("x.txt", "")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        sources.cache_clear()
        seen.append(sources(tmp_path))
    sources.cache_clear()
    assert len(set(seen)) == 3
    assert seen[2] == seen[3]  # no module


def test_code_outside_of_pgcli_has_no_key() -> None:
    cfg = config(ENV)
    env = make_device_env(cfg.env)
    theirs = dataclasses.replace(cfg.env, id="brax:ant")
    assert description(dataclasses.replace(cfg, env=theirs), env) is None
    network = dataclasses.replace(cfg.network, torso="MyNet")
    assert description(dataclasses.replace(cfg, network=network), env) is None
    assert description(cfg, env._replace(cuts_at_limit_only=False)) is None


def test_key_changes_with_the_code_of_gymnax(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gymnax")
    cfg = config("gymnax:CartPole-v1")
    keys = {key_of(cfg), key_of(config("gymnax:CartPole-v1", "env.kwargs={length: 1}"))}
    monkeypatch.setattr(key, "sources", lambda *_: "another version")
    assert len(keys | {key_of(cfg)}) == 3
    # code of the user may replace that of the package
    monkeypatch.setattr(user_modules, "NAMED", ["my_env"])
    assert description(cfg, make_device_env(cfg.env)) is None


def never_traced(*_: Any) -> Any:
    raise AssertionError("traced")


def double(x: Any) -> Any:
    return 2 * x


TWO = np.float32(2)


def test_program_of_an_earlier_process_is_not_traced(files: Path) -> None:
    keys, words = jax.random.split(jax.random.key(0)), np.zeros(2, np.float32)

    def function(keys: Any, x: Any) -> Any:
        return {
            "double": 2 * x,
            "none": None,
            "pair": (x[:1], jax.random.split(keys[1])),
        }

    first = Kept(function, "p", ())(keys, words)
    later = Kept(never_traced, "p", ())
    again = later(keys, words)
    assert jax.tree.structure(again) == jax.tree.structure(first)
    for x, y in zip(jax.tree.leaves(again), jax.tree.leaves(first), strict=True):
        assert (x == y).all()
        assert jax.typeof(x) == jax.typeof(y)
    shapes = later.eval_shape(keys, words)
    assert shapes["pair"][1].dtype == keys.dtype
    assert len(list(files.iterdir())) == 1


def test_program_of_several_devices_is_not_traced(files: Path) -> None:
    def function(x: Any, y: Any) -> Any:
        return {"sum": (x + y).sum(), "halves": 2 * x, "weak": jax.numpy.asarray(1.0)}

    options: Any = {"in_shardings": (HALVES, WHOLE)}
    options["out_shardings"] = {"sum": WHOLE, "halves": HALVES, "weak": WHOLE}
    x, y = np.arange(4, dtype=np.float32), np.ones(4, np.float32)
    first = Kept(function, "p", "", MESH, **options)(x, y)
    later = Kept(never_traced, "p", "", MESH, **options)
    shapes = later.eval_shape(x, y)
    for result in (later(x, y), later(x, y + 1)):  # the second without Python
        assert jax.tree.map(jax.typeof, result) == jax.tree.map(jax.typeof, first)
        assert result["weak"].aval.weak_type
        for name, array in first.items():
            assert result[name].sharding == array.sharding == shapes[name].sharding
    assert float(first["sum"]) == 10
    assert float(result["sum"]) == 14
    assert result["halves"].tolist() == [0, 2, 4, 6]


def test_array_that_is_split_in_an_unknown_way_has_no_description() -> None:
    with pytest.raises(TypeError, match="not kept"):
        results.spec_of(types.SimpleNamespace(is_fully_replicated=False))


def test_program_is_called_with_arguments_of_other_shapes(files: Path) -> None:
    program = Kept(double, "p", "")
    for size in (1, 2, 1, 2):
        assert program(np.ones(size, np.float32)).tolist() == [2] * size
    assert len(list(files.iterdir())) == 2


def test_kept_program_can_be_compiled_by_its_caller() -> None:
    lowered = Kept(double, "p", None).lower(TWO)  # as a run on several processes does
    assert float(lowered.compile()(TWO)) == 4


def test_prepared_program_is_called_with_the_arguments(files: Path) -> None:
    program = Kept(double, "p", ())
    program.prepare(jax.ShapeDtypeStruct((), np.float32))
    assert float(program(TWO)) == 4
    assert len(list(files.iterdir())) == 1


def test_damaged_program_is_compiled_again(files: Path) -> None:
    Kept(double, "p", ())(TWO)
    (file,) = files.iterdir()
    sound = file.read_bytes()
    for bad in (b"", b"x" * 5000, sound[:-1], sound + b"\0"):
        file.write_bytes(bad)
        jax.clear_caches()
        assert float(Kept(double, "p", ())(TWO)) == 4
        assert Kept(never_traced, "p", ())(TWO) == 4


class Unknown(struct.PyTreeNode):
    x: Any


def test_program_that_cannot_be_kept_is_compiled(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = Kept(lambda x: Unknown(2 * x), "p", ())(TWO)
    assert float(result.x) == 4
    monkeypatch.setattr(versions, "executable", missing)
    assert float(Kept(double, "p", ())(TWO)) == 4
    assert list(files.iterdir()) == []


def test_program_in_the_cache_of_jax_is_compiled_to_be_kept(files: Path) -> None:
    jax.jit(double, keep_unused=True).lower(TWO).compile()
    jax.clear_caches()
    Kept(double, "p", ())(TWO)
    assert float(Kept(never_traced, "p", ())(TWO)) == 4


def missing(*_: Any) -> Any:
    raise AttributeError("another version of JAX")


def test_program_that_cannot_be_loaded_is_compiled(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kept(double, "p", ())(TWO)
    monkeypatch.setattr(versions, "load_executable", missing)
    assert float(Kept(double, "p", ())(TWO)) == 4


def test_result_names_no_type_but_the_known_ones() -> None:
    for name in ("Popen", "subprocess:Popen", "gymnax.subprocess:Popen"):
        with pytest.raises(TypeError, match="no type"):
            results.from_json({name: {}})


def test_without_a_description_or_a_directory_nothing_is_kept(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert float(Kept(double, "p", None)(TWO)) == 4
    assert list(files.parent.iterdir()) == []
    files.touch()  # a file where the directory would be
    assert float(Kept(double, "p", ())(TWO)) == 4
    monkeypatch.setenv("PGCLI_CACHE", "")
    assert float(Kept(double, "p", ())(TWO)) == 4


def test_oldest_of_too_many_programs_are_removed(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_FILES", 2)
    for size in (1, 2, 3):
        Kept(double, "p", ())(np.zeros(size, np.float32))
    assert len(list(files.iterdir())) == 2


@pytest.mark.parametrize(
    "env_id", [ENV, pytest.param("gymnax:CartPole-v1", marks=pytest.mark.slow)]
)
def test_programs_compiled_ahead_are_those_that_run(
    env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if env_id.startswith("gymnax:"):
        pytest.importorskip("gymnax")
    monkeypatch.setattr(sharing, "_results", OrderedDict())  # as in another process
    cfg = config(env_id)
    loop = DeviceLoop(cfg, make_device_env(cfg.env), ahead=True)
    advance(loop, 2)
    loop.evaluate(1, "selection", 0)
    programs = loop._begin, loop._chunk, loop._evaluate
    assert [len(each._programs) for each in programs] == [1, 1, 1]
