"""Rows of `performance.py`: settings of pgcli, and peers with the same shapes."""

from typing import Any, NamedTuple

LARGE = {"env.num_envs": 64, "rollout.num_steps": 128}
FOUR = {"algo.num_epochs": 4, "algo.num_minibatches": 4}
MUJOCO = {
    **{"env.id": "HalfCheetah-v5", "algo.num_epochs": 10, "algo.num_minibatches": 32},
    **{"normalize.obs": "true", "normalize.reward": "true"},
}
CHEETAH = {"env": "HalfCheetah-v5", "batch_size": 64, "n_epochs": 10, "normalize": True}
ZOO = {"env": "CartPole-v1", "num_envs": 8, "num_steps": 32, "batch_size": 256}
GYMNAX = {"env.id": "gymnax:CartPole-v1"}


class Peer(NamedTuple):
    """A program to compare with: its adapter, packages and arguments."""

    name: str
    script: str
    needs: tuple[str, ...]
    arguments: dict[str, Any]


class Row(NamedTuple):
    """A row of the table."""

    sets: dict[str, Any]
    peers: tuple[Peer, ...] = ()
    target: float | None = None
    one_core: bool = False


def sb3(algo: str, **arguments: Any) -> Peer:
    """An algorithm of the family of Stable-Baselines3."""
    module = {"PPO": "stable_baselines3", "A2C": "stable_baselines3", "SBX": "sbx"}
    name = {"SBX": "SBX", "PPO": "SB3", "A2C": "SB3"}.get(algo, "sb3-contrib")
    needs = ("stable_baselines3", module.get(algo, "sb3_contrib"))
    if "HalfCheetah" in arguments["env"]:
        needs += ("mujoco",)
    if "LunarLander" in arguments["env"]:
        needs += ("Box2D",)
    return Peer(name, "sb3", needs, {"algo": algo, **arguments})


def pure(num_envs: int, steps: int = 2**18, script: str = "ppo", **more: Any) -> Peer:
    """PureJaxRL, `steps` steps per call."""
    arguments = {"script": script, "NUM_ENVS": num_envs, "steps": steps, **more}
    return Peer("PureJaxRL", "purejaxrl", ("gymnax", "distrax", "flax"), arguments)


def rejax(num_envs: int) -> Peer:
    """Rejax on CartPole, 4 epochs × 4 minibatches."""
    arguments = {"env": "CartPole-v1", "steps": 2**18, "num_envs": num_envs}
    arguments |= {"num_steps": 128, "num_epochs": 4, "num_minibatches": 4}
    return Peer("Rejax", "rejax_ppo", ("rejax",), arguments)


def shape(num_envs: int, num_steps: int, **more: Any) -> dict[str, Any]:
    """Settings of a rollout; `__` in a further name is a dot."""
    sets = {key.replace("__", "."): value for key, value in more.items()}
    return {"env.num_envs": num_envs, "rollout.num_steps": num_steps, **sets}


def algorithm(name: str, env: str, epochs: int, minibatches: int) -> dict[str, Any]:
    """Settings of an algorithm with epochs, on an environment."""
    head = {"algo.name": name, "env.id": env}
    return {**head, "algo.num_epochs": epochs, "algo.num_minibatches": minibatches}


BREAKOUT = {"env.id": "gymnax:Breakout-MinAtar", **LARGE, **FOUR}
TEN = {"algo.num_epochs": 10, "algo.num_minibatches": 4}
LSTM = {"network.memory": "lstm", "network.memory_size": 64}
GRU = {
    **{"network.memory": "gru", "network.memory_size": 128},
    **{"network.hidden": "[128]", "network.shared": "true"},
    "network.activation": "relu",
}
ROWS: dict[str, Row] = {
    "device, 64 × 128, two CPU devices": Row(
        {**GYMNAX, **LARGE, **FOUR}, (pure(64), rejax(64)), 2
    ),
    "device, 64 × 128, one core": Row(
        {**GYMNAX, **LARGE, **FOUR}, (pure(64),), 1.8, one_core=True
    ),
    "device, 4 × 128": Row(
        {**GYMNAX, **shape(4, 128), **FOUR}, (pure(4), rejax(4)), 1.6
    ),
    "device, 2048 × 128": Row(
        {**GYMNAX, **shape(2048, 128), **FOUR}, (pure(2048, 2**19), rejax(2048)), 2
    ),
    "device, 64 × 128, layers of 256": Row(
        {**GYMNAX, **LARGE, **FOUR, "network.hidden": "[256, 256]"},
        (
            Peer(
                "Rejax",
                "rejax_ppo",
                ("rejax",),
                {**rejax(64).arguments, "hidden": [256, 256], "steps": 2**16},
            ),
        ),
        1.5,
    ),
    "device, 16 seeds at once, 4 × 128": Row(
        {**GYMNAX, **shape(4, 128), **FOUR, "seeds": 16},
        (pure(4, 2**15, members=16),),
        2,
    ),
    "device, 16 seeds at once, 64 × 128": Row(
        {**GYMNAX, **LARGE, **FOUR, "seeds": 16}, (pure(64, 2**15, members=16),), 2
    ),
    "device, 5 seeds at once, 64 × 128": Row(
        {**GYMNAX, **LARGE, **FOUR, "seeds": 5}, (pure(64, 2**16, members=5),), 2
    ),
    "device, Breakout-MinAtar, dense layers, 64 × 128": Row(
        BREAKOUT, (pure(64, 2**15, ENV_NAME="Breakout-MinAtar"),), 1.5
    ),
    "device, GRU of 128, 4 × 128, 4 × 4": Row(
        {**GYMNAX, **shape(4, 128), **FOUR, **GRU},
        (pure(4, 2**13, "ppo_rnn"),),
        1.5,
    ),
    "device, brax:inverted_pendulum, 64 × 128": Row(
        {
            **{
                "env.id": "brax:inverted_pendulum",
                "env.kwargs": "{backend: generalized}",
            },
            **{**LARGE, **FOUR, "normalize.obs": "true"},
        },
        (
            Peer(
                "Brax",
                "brax_ppo",
                ("brax",),
                {
                    **{"env": "inverted_pendulum", "backend": "generalized"},
                    **{"num_envs": 64, "num_steps": 128, "batch_size": 16},
                    **{"num_minibatches": 4, "num_updates_per_batch": 4},
                    "normalize_observations": True,
                },
            ),
        ),
        1.2,
    ),
    "host CartPole, 8 × 32, 20 epochs × 1": Row(
        {**algorithm("ppo2", "CartPole-v1", 20, 1), **shape(8, 32)},
        (sb3("SBX", **ZOO, n_epochs=20), sb3("PPO", **ZOO, n_epochs=20)),
        5,
    ),
    "host CartPole, 4 × 128, 4 × 4": Row(
        {"env.id": "CartPole-v1", **shape(4, 128), **FOUR},
        (
            sb3(
                "PPO",
                env="CartPole-v1",
                num_envs=4,
                num_steps=128,
                batch_size=128,
                n_epochs=4,
            ),
        ),
        4,
    ),
    "host CartPole, native vector, 64 × 128, 4 × 4": Row(
        {"env.id": "CartPole-v1", "host.vectorizer": "native", **LARGE, **FOUR}
    ),
    "host CartPole, a2c, 8 × 5": Row(
        {"algo.name": "a2c", "env.id": "CartPole-v1", **shape(8, 5)},
        (sb3("A2C", env="CartPole-v1", num_envs=8, num_steps=5),),
        5,
    ),
    "host CartPole, trpo, 8 × 128, 10 × 8": Row(
        {**algorithm("trpo", "CartPole-v1", 10, 8), **shape(8, 128)},
        (sb3("TRPO", env="CartPole-v1", num_envs=8, num_steps=128, batch_size=128),),
        4,
    ),
    "host MountainCar-v0, reinforce, 8 episodes": Row(
        {"algo.name": "reinforce", "env.id": "MountainCar-v0", "env.num_envs": 8},
        (
            Peer(
                "PyTorch loop",
                "torch_reinforce",
                ("torch", "gymnasium"),
                {"env": "MountainCar-v0", "num_envs": 8},
            ),
        ),
    ),
    "host CartPole, LSTM of 64, 8 × 128, 10 × 4": Row(
        {"env.id": "CartPole-v1", **shape(8, 128), **TEN, **LSTM},
        (
            sb3(
                "RecurrentPPO",
                **{**ZOO, "num_steps": 128},
                n_epochs=10,
                network={"lstm_hidden_size": 64},
            ),
        ),
        4,
    ),
    "host LunarLander-v3, 16 × 1024, 4 × 256": Row(
        {**algorithm("ppo2", "LunarLander-v3", 4, 256), **shape(16, 1024)},
        tuple(
            sb3(
                name,
                env="LunarLander-v3",
                num_envs=16,
                num_steps=1024,
                batch_size=64,
                n_epochs=4,
            )
            for name in ("SBX", "PPO")
        ),
    ),
    "host HalfCheetah-v5, 1 × 2048, 10 × 32": Row(
        {**MUJOCO, **shape(1, 2048)},
        (sb3("SBX", **CHEETAH, num_envs=1, num_steps=2048),),
        4.5,
    ),
    "host HalfCheetah-v5, 8 × 256, 10 × 32, in process": Row(
        {**MUJOCO, **shape(8, 256), "host.workers": 0},
        (sb3("SBX", **CHEETAH, num_envs=8, num_steps=256),),
        4,
    ),
    "the same, `host.workers=thread`": Row(
        {**MUJOCO, **shape(8, 256), "host.workers": "thread"}
    ),
    "the same, `host.workers=1`": Row({**MUJOCO, **shape(8, 256), "host.workers": 1}),
    "the same, EnvPool (HalfCheetah-v4)": Row(
        {**MUJOCO, **shape(8, 256), "env.id": "envpool:HalfCheetah-v4"}
    ),
    "host HalfCheetah-v5, trpo, 2 × 1024, 10 × 16": Row(
        {
            **algorithm("trpo", "HalfCheetah-v5", 10, 16),
            **shape(2, 1024, normalize__obs="true", normalize__reward="true"),
        },
        (
            sb3(
                "TRPO",
                env="HalfCheetah-v5",
                num_envs=2,
                num_steps=1024,
                batch_size=128,
                normalize=True,
            ),
        ),
        4,
    ),
    "host Pong, 8 × 128, 4 × 4, Nature CNN": Row(
        {
            **algorithm("ppo2", "ALE/Pong-v5", 4, 4),
            **shape(8, 128, network__torso="nature_cnn", network__hidden="[512]"),
            "network.shared": "true",
        }
    ),
}
