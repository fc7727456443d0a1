"""Programs lowered for GPUs and TPUs, in the form that they have there."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.programs import Program, device_programs, host_programs, member_programs
from support.small_runs import config
from support.toys import spec_of

from pgcli.algos import ALGORITHMS
from pgcli.envs.base import Box, Discrete, EnvSpec
from pgcli.envs.make import make_device_env
from pgcli.envs.registry import DEVICE_BACKENDS
from pgcli.training.backend.layout import Layout, make_mesh

ACCELERATORS = "cuda", "tpu"
# QR decompositions of initial weights, random numbers by JAX's plugin, and the
# Cholesky decompositions of Brax
CUDA = {
    *("cusolver_geqrf_ffi", "cusolver_orgqr_ffi"),
    *("cu_threefry2x32_ffi", "cusolver_potrf_ffi"),
}
TPU = {"Qr", "ProductOfElementaryHouseholderReflectors"}


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs are traced as on an accelerator."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")


def check(programs: Mapping[str, Program], *names: str) -> None:
    """Programs lower for every accelerator, without callbacks, f64 or calls of CPUs."""
    for name in names or programs:
        text = programs[name].lowered(*ACCELERATORS)
        calls = set(re.findall(r"custom_call @(\w+)", text))
        assert calls <= CUDA | TPU, name
        assert not re.search(r"xf64|<f64>|callback|infeed|outfeed", text), name


def operations(jaxpr: Any) -> tuple[int, list[Any]]:
    """(operations of a jaxpr outside of its loops, the same of each loop's body)."""
    count, loops = 0, []
    for equation in jaxpr.eqns:
        name, inner = equation.primitive.name, equation.params
        if name in ("scan", "while"):
            loops.append(operations(inner["jaxpr" if name == "scan" else "body_jaxpr"]))
            continue
        count += 1
        for value in jax.tree.leaves(list(inner.values()), is_leaf=is_jaxpr):
            if is_jaxpr(value):
                more, nested = operations(value)
                count, loops = count + more, loops + nested
    return count, loops


def is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def with_callback(x: jax.Array) -> jax.Array:
    return jax.pure_callback(lambda x: x, x, x)


def in_64_bits(x: jax.Array) -> jax.Array:
    with jax.enable_x64(True):
        return x.astype(jnp.float64).astype(jnp.float32)


@pytest.mark.parametrize("function", [with_callback, in_64_bits, jnp.linalg.eigvalsh])
def test_programs_for_cpus_do_not_pass(function: Callable[..., Any]) -> None:
    program = Program(jax.jit(function), (np.zeros((2, 2), np.float32),))
    with pytest.raises((AssertionError, NotImplementedError)):  # the latter by JAX
        check({"program": program})


def on_device(algo: str, *sets: str, env_id: str = "func:CartPole-v1") -> Any:
    cfg = config(env_id, *sets, algo=algo)
    return cfg, make_device_env(cfg.env)


def test_training_on_the_device_lowers_with_a_bounded_number_of_operations() -> None:
    """A fifth more than there are may be added before this fails."""
    program = device_programs(*on_device("ppo2"))["training"]
    check({"training": program})
    traced = program.function.trace(*program.arguments).jaxpr
    ((iteration, loops),) = operations(traced)[1]
    step, (epoch, ((minibatch, _),)) = loops[0][0], next(x for x in loops if x[1])
    found = {"step": step, "minibatch": minibatch, "epoch": epoch, "all": iteration}
    most = {"step": 215, "minibatch": 385, "epoch": 33, "all": 1260}
    assert all(found[name] <= most[name] for name in most), found


def test_an_update_from_the_host_lowers() -> None:
    spec = EnvSpec("toy", Box((4, 4, 2), "uint8", 0, 255), Discrete(3), 5)
    cfg = config("CartPole-v1", "network.torso=grid_cnn", algo="trpo")
    check(host_programs(cfg, spec), "update")


def test_evaluation_on_the_device_lowers() -> None:
    check(device_programs(*on_device("ppo2")), "evaluation")


NETWORKS = {
    "mlp": ("network.layer_norm=true",),
    "gru": ("network.memory=gru", "env.num_envs=8", "network.dtype=bfloat16"),
    "lstm": ("network.memory=lstm", "env.num_envs=8", "network.hidden=[512]"),
    "grid_cnn": ("network.torso=grid_cnn",),
    "nature_cnn": ("network.torso=nature_cnn", "network.hidden=[512]"),
    "impala_cnn": ("network.torso=impala_cnn", "network.dtype=bfloat16"),
}
ACTIONS = {
    "func:CartPole-v1": (),
    "func:Pendulum-v1": (
        "network.distribution=squashed_gaussian",
        "network.log_std=state",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("env_id", ACTIONS)
@pytest.mark.parametrize("network", ["mlp", "gru", "lstm"])
def test_every_program_on_the_device_lowers(
    algo: str, env_id: str, network: str
) -> None:
    sets = (*ACTIONS[env_id], *NETWORKS[network])
    cfg, env = on_device(algo, *sets, env_id=env_id)
    # the other programs are those of any algorithm
    names = () if algo == "ppo2" else ("training",)
    check(device_programs(cfg, env), *names)
    check(member_programs(cfg, env, 3), *names)


@pytest.mark.slow
@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_update_from_the_host_lowers(algo: str, network: str) -> None:
    images = "cnn" in network
    obs = Box((84, 84, 4), "uint8", 0, 255) if images else spec_of().obs
    spec = EnvSpec("toy", obs, Discrete(3), 5)
    programs = host_programs(config("CartPole-v1", *NETWORKS[network], algo=algo), spec)
    check(programs, *(() if algo == "ppo2" else ("update",)))


@pytest.mark.slow
@pytest.mark.parametrize("algo", ["ppo2", "trpo", "reinforce"])
def test_a_run_on_two_devices_lowers(algo: str) -> None:
    mesh = make_mesh(Layout(1, 2))
    cfg, env = on_device(algo)
    with jax.set_mesh(mesh):
        check(device_programs(cfg, env, mesh), "training", "initialisation")
    check(member_programs(cfg, env, 4, make_mesh(Layout(2, 1))))


LIBRARIES = (
    "gymnax:CartPole-v1",
    "brax:inverted_pendulum",
    "playground:CartpoleBalance",
    "xminigrid:MiniGrid-Empty-5x5",
    "pgx:minatar-breakout",
)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", LIBRARIES)
def test_every_back_end_lowers(env_id: str) -> None:
    backend = DEVICE_BACKENDS[env_id.partition(":")[0]]
    if not backend.installed:
        pytest.skip(f"needs the extra {backend.extra}")
    check(device_programs(*on_device("ppo2", env_id=env_id)), "training", "evaluation")
