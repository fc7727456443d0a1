"""The configuration of a run, as frozen dataclasses: no JAX is imported here.

This tree is the YAML schema, its defaults and its documentation at once. The string
in each annotation documents the field.
"""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Self, get_args

from annotated_types import Ge, Gt, Lt, MinLen

from pgcli.config import bounds
from pgcli.config.algorithms import DEFAULT_ALGORITHM, AlgoConfig, Schedule

MAX_STEPS = bounds.STEPS.value + 1

Torso = Literal["mlp", "grid_cnn", "nature_cnn", "impala_cnn"]
TORSOS: tuple[str, ...] = get_args(Torso)
"""Networks for observations, and for images among their parts."""


def is_own_network(name: str) -> bool:
    """Whether a network is a user's class: `MyNet`, or `my_net:MyNet`."""
    module, _, cls = name.rpartition(":")
    return cls[:1].isupper() and all(
        part.isidentifier() for part in (cls, *module.split(".") * bool(module))
    )


STOPS = ("until_return", "patience", "max_seconds")
"""Keys that end a run before its budget of steps is used."""

DEVICE_MODULES: Mapping[str, str | None] = {
    "func": None,
    "gymnax": "gymnax",
    "brax": "brax",
    "playground": "mujoco_playground",
    "xminigrid": "xminigrid",
    "pgx": "pgx",
}
"""Prefix of ids of an on-device back end -> module of the library it requires, if
any."""


AUTO_MASK, NO_MASK = "auto", "off"
"""Values of `env.action_mask` that are no source of masks."""


@dataclass(frozen=True)
class EnvConfig:
    """The environment, and its number of copies."""

    id: Annotated[
        str, MinLen(1), "Gymnasium id, or PREFIX:ID of an on-device back end (func:)"
    ] = "CartPole-v1"
    num_envs: Annotated[
        int, Ge(1), bounds.ENVS, "environments stepped side by side"
    ] = 8
    kwargs: Annotated[Mapping[str, Any], "keyword arguments for the environment"] = (
        field(default_factory=dict)
    )
    max_episode_steps: Annotated[
        int | None,
        Ge(1),
        bounds.INT32,
        "time limit of an episode; null: the environment's own",
    ] = None
    wrappers: Annotated[
        tuple[Any, ...] | None,
        "wrappers around a host environment, the innermost first: names, {NAME: "
        "{argument: value}} or {name: NAME, kwargs: {…}}, your own as MODULE:NAME; "
        "null: what its family needs (MiniGrid: ImgObsWrapper, unless env.obs_keys is "
        "set)",
    ] = None

    obs_keys: Annotated[
        tuple[str, ...] | None,
        MinLen(1),
        "parts of a Dict or Tuple observation that the policy gets, such as [image, "
        "direction]; a part of a part is key/part; null: all",
    ] = None
    action_mask: Annotated[
        str,
        MinLen(1),
        "source of the valid actions: a key of the observations or else of info, or a "
        "method as NAME(); auto: action_mask or action_masks() if there is one; off: "
        "none",
    ] = AUTO_MASK

    @property
    def backend(self) -> str:
        """The back end: a key of `DEVICE_MODULES`, `envpool`, `atari` or `gymnasium`.

        `atari` is a game with the usual preprocessing. A game with `obs_type` among its
        keyword arguments is made by `gymnasium`, without preprocessing.
        """
        # a prefix such as `func:`
        prefix, colon, _ = self.id.partition(":")
        if colon and (prefix in DEVICE_MODULES or prefix == "envpool"):
            return prefix

        # no prefix: an id of Gymnasium
        atari = self.id.startswith("ALE/") and "obs_type" not in self.kwargs
        return "atari" if atari else "gymnasium"

    @property
    def on_device(self) -> bool:
        """Whether the environment is part of the compiled program."""
        return self.backend in DEVICE_MODULES

    @property
    def default_vectorizer(self) -> Literal["in_process", "native"]:
        """The vectoriser if `host.vectorizer` is null."""
        native = self.backend == "envpool" or (
            self.backend == "atari" and not (self.wrappers or self.obs_keys)
        )
        return "native" if native else "in_process"


@dataclass(frozen=True)
class RolloutConfig:
    """Amount of data per update."""

    num_steps: Annotated[
        int,
        Ge(1),
        bounds.INT32,
        "steps T per environment and iteration, if steps are collected",
    ] = 128
    episodes_per_env: Annotated[
        int,
        Ge(1),
        bounds.ENVS,
        "episodes per environment and iteration, if episodes are collected",
    ] = 1
    end_on_life_loss: Annotated[
        bool,
        "a lost life ends the credit like the end of an episode; returns and lengths "
        "still cover whole games",
    ] = False


@dataclass(frozen=True)
class OptimizerConfig:
    """Adam with the gradient clipped by its global norm."""

    lr: Annotated[float, Gt(0), bounds.REAL, "learning rate at the start"] = 3e-4
    schedule: Annotated[Schedule, "learning rate over training; linear falls to 0"] = (
        "constant"
    )
    max_grad_norm: Annotated[
        float | None,
        Gt(0),
        bounds.REAL,
        "clip the global norm of the gradient; null: off",
    ] = 0.5
    beta1: Annotated[float, Ge(0), Lt(1), "Adam's decay of the mean"] = 0.9
    beta2: Annotated[float, Ge(0), Lt(1), "Adam's decay of the square"] = 0.999
    eps: Annotated[float, Gt(0), bounds.REAL, "Adam's ε, added to the root"] = 1e-5


@dataclass(frozen=True)
class NetworkConfig:
    """The policy and value networks."""

    torso: Annotated[
        Torso | str,
        "network below the heads: dense layers on the flattened observation (mlp), "
        "after 16 filters of 3 × 3 on a small image (grid_cnn), after the three usual "
        "convolutional layers for Atari frames (nature_cnn), or after the residual "
        "network of IMPALA (impala_cnn). Of a Dict, each image has its own. MyNet: a "
        "class of a module given by --network-module, in place of all layers below "
        "the heads and the memory",
    ] = "mlp"
    hidden: Annotated[
        tuple[Annotated[int, Ge(1), bounds.WIDTH], ...], "widths of the hidden layers"
    ] = (64, 64)
    activation: Annotated[
        Literal["tanh", "relu", "swish", "gelu", "elu"],
        "of the hidden and convolutional layers",
    ] = "tanh"
    encoders: Annotated[
        Mapping[str, str],
        "{key: network} for parts of a Dict: one of the torsos for an image, mlp to "
        "flatten it, or a class of your own for any part; all others have the torso "
        "if they are images, and are flattened (integers one-hot) if not",
    ] = field(default_factory=dict, hash=False)
    channels: Annotated[
        Literal["auto", "first", "last"],
        "axis of the channels of images; auto: the first if it is the shortest, else "
        "the last",
    ] = "auto"
    layer_norm: Annotated[
        bool, "normalise the outputs of each hidden layer before the activation"
    ] = False
    init: Annotated[
        Literal["orthogonal", "lecun"],
        "initial weights of the torso: orthogonal with gain √2, or normal with "
        "variance 1/inputs; heads and memory are always orthogonal",
    ] = "orthogonal"
    memory: Annotated[
        Literal["gru", "lstm"] | None,
        "recurrent layer after the torso, reset at the start of every episode; null: "
        "none. Minibatches are then whole environments",
    ] = None
    memory_size: Annotated[int, Ge(1), bounds.WIDTH, "width of the recurrent layer"] = (
        64
    )
    shared: Annotated[bool, "policy and value share the torso and the memory"] = False
    distribution: Annotated[
        Literal["gaussian", "squashed_gaussian"],
        "of continuous actions: a Gaussian whose samples are clipped to the bounds of "
        "the action space, or one that a tanh maps into them",
    ] = "gaussian"
    log_std: Annotated[
        Literal["free", "state"],
        "log standard deviation of continuous actions: a parameter, or an output of "
        "the network for each observation",
    ] = "free"
    log_std_init: Annotated[
        float,
        bounds.LOG_STD,
        "log standard deviation of continuous actions at the start",
    ] = 0.0
    dtype: Annotated[
        Literal["float32", "bfloat16"],
        "dtype of the torso's computation; parameters, heads, losses and optimiser "
        "always use float32. bfloat16 is for accelerators, and slower on most CPUs",
    ] = "float32"


@dataclass(frozen=True)
class NormalizeConfig:
    """Running normalisation, with statistics updated once per rollout."""

    obs: Annotated[bool, "subtract the mean, divide by the standard deviation"] = False
    reward: Annotated[
        bool, "divide by the standard deviation of the discounted return"
    ] = False
    reward_sign: Annotated[
        bool, "learn only from the sign of each reward; logged returns stay unscaled"
    ] = False
    clip: Annotated[
        float, Gt(0), bounds.REAL, "bound on normalised values, both sides"
    ] = 10.0


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation during training, on separate seeds; chooses the best checkpoint."""

    every: Annotated[
        int | None,
        Ge(0),
        bounds.STEPS,
        "training steps between evaluations; null: a tenth of the budget; 0: never",
    ] = None
    episodes: Annotated[
        int, Ge(1), bounds.EPISODES, "episodes of each periodic evaluation"
    ] = 20
    final_episodes: Annotated[
        int, Ge(0), bounds.EPISODES, "episodes of the evaluation at the end; 0: none"
    ] = 100


@dataclass(frozen=True)
class CheckpointConfig:
    """Interval of checkpoints, and number of checkpoints to keep."""

    every: Annotated[
        int | None,
        Ge(1),
        bounds.STEPS,
        "training steps between checkpoints; null: a tenth of the budget",
    ] = None
    keep: Annotated[
        int, Ge(2), bounds.KEPT, "newest checkpoints to keep, besides the best"
    ] = 2


@dataclass(frozen=True)
class LogConfig:
    """Loggers of metrics; `metrics.jsonl` is always written."""

    every: Annotated[
        int, Ge(1), bounds.INT32, "iterations between rows of metrics.jsonl"
    ] = 1
    sinks: Annotated[
        tuple[str, ...], "additional loggers, by name (tensorboard, csv, wandb, mlflow)"
    ] = ()
    project: Annotated[
        str | None,
        MinLen(1),
        "project of wandb, experiment of mlflow; null: WANDB_PROJECT or "
        "MLFLOW_EXPERIMENT_NAME, else pgcli",
    ] = None
    group: Annotated[
        str | None,
        MinLen(1),
        "group of the run in wandb, tag in mlflow; null: WANDB_RUN_GROUP, else a run "
        "with several members is a group",
    ] = None


@dataclass(frozen=True)
class ParallelConfig:
    """Layout of a batch over several devices."""

    shards: Annotated[
        int | None,
        Ge(1),
        bounds.ENVS,
        "rows S of the batch, which is shuffled within rows; null: gcd of the columns "
        "of a rollout (environments or trajectories) and 8",
    ] = None
    devices: Annotated[
        int | None,
        Ge(1),
        bounds.DEVICES,
        "number of devices; null: as many available ones as shorten the work (on the "
        "CPU its cores, if minibatches are large, 1,024 samples with layers of 64, or "
        "if there are several members)",
    ] = None


@dataclass(frozen=True)
class HostConfig:
    """Stepping of host environments, and computation of their actions."""

    act: Annotated[
        Literal["jit", "numpy"] | None,
        "the forward pass at every step: a compiled call, or plain NumPy, which takes "
        "half the time for a few environments and dense layers; null: numpy for the "
        "torso mlp in float32 without memory. Its rounding is its own, so a run keeps "
        "to one",
    ] = None
    vectorizer: Annotated[
        Literal["in_process", "native"] | None,
        "step environments one by one, or by their own vector entry point; null: "
        "native for ALE/ and envpool:, else in_process",
    ] = None
    workers: Annotated[
        Annotated[int, Ge(0), bounds.WORKERS] | Literal["auto", "thread"],
        "child processes that each step a share of the environments, besides this "
        "process; thread: one helper thread; auto: none, or one for each further core "
        "if that is faster",
    ] = "auto"
    timeout: Annotated[
        float,
        Gt(0),
        bounds.TIMEOUT,
        "seconds that a worker or the helper thread may take for a step of its share",
    ] = 60.0


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run."""

    # sections
    algo: AlgoConfig = field(default_factory=DEFAULT_ALGORITHM)
    env: EnvConfig = field(default_factory=EnvConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    normalize: NormalizeConfig = field(default_factory=NormalizeConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    log: LogConfig = field(default_factory=LogConfig)
    host: HostConfig = field(default_factory=HostConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)

    # device and random streams
    accelerator: Annotated[
        Literal["auto", "cpu", "gpu", "tpu"], "device of the learner"
    ] = "auto"
    seed: Annotated[int, Ge(0), Lt(2**32), "seed of every random stream"] = 0

    # members
    seeds: Annotated[
        int,
        Ge(1),
        bounds.MEMBERS,
        "independent members of one run, with seeds seed, seed + 1, …",
    ] = 1
    grid: Annotated[
        Mapping[str, tuple[float, ...]],
        "values of numbers such as optimizer.lr, trained in one run: each combination "
        "with every seed",
    ] = field(default_factory=dict)

    # end of training
    steps: Annotated[int, Ge(1), Lt(MAX_STEPS), "budget of training steps"] = 100_000
    until_return: Annotated[
        float | None,
        bounds.RETURN,
        "stop when the mean return of a periodic evaluation reaches this; null: never",
    ] = None
    patience: Annotated[
        int | None,
        Ge(1),
        bounds.INT32,
        "stop after this many periodic evaluations in a row without a new best; null: "
        "never",
    ] = None
    max_seconds: Annotated[
        float | None,
        Gt(0),
        bounds.SECONDS,
        "stop after this many seconds of the run, those before a resume included; "
        "null: never",
    ] = None

    def value(self, path: str) -> Any:
        """The value of a key, by its dotted path."""
        return operator.attrgetter(path)(self)

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """The configuration with other values of some keys, by dotted path."""
        changes: dict[str, Any] = {}
        for path, value in values.items():
            section, _, key = path.rpartition(".")
            if section:
                part = changes.get(section, getattr(self, section))
                value = replace(part, **{key: value})
            changes[section or key] = value
        return replace(self, **changes)

    @property
    def num_members(self) -> int:
        """Number of members: seeds × combinations of the grid."""
        return self.seeds * math.prod(len(values) for values in self.grid.values())

    @property
    def has_members(self) -> bool:
        """Whether the run consists of members, even of a single one."""
        return self.seeds > 1 or bool(self.grid)
