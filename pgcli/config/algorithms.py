"""Hyperparameters and rules of each algorithm, as data: no JAX is imported here.

One class per algorithm; its docstring is the algorithm in one sentence. What the rest
of the package needs to know about an algorithm is an attribute of its class, so nothing
else asks for one by name. `AlgoConfig` lists the classes in order.

A float field is a traced leaf of the update: changing its value never recompiles.
Ints, bools and strings are static. The string in each annotation is the field's
documentation, shown by `pgcli config explain`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from annotated_types import Ge, Gt, Le, Lt

from pgcli.config import bounds

Collects = Literal["steps", "episodes"]
Schedule = Literal["constant", "linear"]
Relation = Literal["<", "<="]

Complaint = tuple[Sequence[tuple[str | int, ...]], str, str | None]
"""The paths of the keys involved, the conflict between them, and a remedy."""

Discount = Annotated[float, Ge(0), Le(1), "discount γ of the return, per step"]
GaeLambda = Annotated[
    float, Ge(0), Le(1), "λ of GAE: 0 is the TD error, 1 the return minus V"
]
NumEpochs = Annotated[int, Ge(1), bounds.PASSES, "passes over each rollout"]
NumMinibatches = Annotated[int, Ge(1), bounds.MINIBATCHES, "gradient steps per pass"]
Standardize = Annotated[bool, "standardise Â within each minibatch"]
StandardizeBatch = Annotated[bool, "standardise Â over the batch"]
CGIterations = Annotated[int, Ge(1), bounds.PASSES, "iterations of conjugate gradients"]
CGDamping = Annotated[float, Ge(0), bounds.REAL, "added to the diagonal of the Hessian"]
CriticEpochs = Annotated[
    int, Ge(1), bounds.PASSES, "passes of the critic over each rollout"
]
CriticMinibatches = Annotated[int, Ge(1), bounds.MINIBATCHES, "critic steps per pass"]
ValueCoef = Annotated[
    float, Ge(0), bounds.REAL, "weight c_v of the value loss ½(V − R̂)²"
]
EntropyCoef = Annotated[float, Ge(0), bounds.REAL, "weight c_e of the entropy bonus"]


class AlgorithmConfig:
    """Base of all algorithms: the values of options that an algorithm does not have.

    A subclass that declares one of the options as a field makes it configurable.

    Attributes:
      collects: fixed numbers of steps or whole episodes.
      equation: what is maximised, in the symbols of the docs.
      defaults: defaults for keys outside `algo`, by dotted path.
      aliases: other names on the command line.
      metrics: names of the metrics that not every algorithm reports.
      claims: algorithms whose area under the learning curve this one should exceed, by
        the lectures.
      separate_policy_step: whether the optimiser trains the critic only, and the policy
        takes one step of another kind per rollout. They cannot share layers.
    """

    collects: ClassVar[Collects] = "steps"
    equation: ClassVar[str]
    defaults: ClassVar[Mapping[str, Any]] = {}
    aliases: ClassVar[tuple[str, ...]] = ()
    metrics: ClassVar[tuple[str, ...]] = ()
    claims: ClassVar[Mapping[str, Relation]] = {}
    separate_policy_step: ClassVar[bool] = False

    name: str
    num_epochs: int = 1
    num_minibatches: int = 1
    standardize_advantage: bool = False
    entropy_coef: float = 0.0
    entropy_schedule: Schedule = "constant"
    clip_eps: float | None = None
    clip_schedule: Schedule = "constant"
    value_clip_eps: float | None = None
    kl_stop: float | None = None
    recompute_advantage: bool = False

    def complaints(self, num_columns: int) -> Iterator[Complaint]:
        """Conflicts between the algorithm's options, or with the size of its batch.

        Args:
          num_columns: environments of a rollout; trajectories, where whole episodes
            are collected.
        """
        yield from ()

    def derived(self) -> Self:
        """The configuration with nulls replaced by values that follow from others."""
        return self


def _one_trajectory(key: str, option: str) -> Complaint:
    """The complaint about an option that compares trajectories if there is only one."""
    keys = [("algo", key), ("env", "num_envs"), ("rollout", "episodes_per_env")]
    message = f"`algo.{option}` needs more than one trajectory"
    return keys, message, "set `rollout.episodes_per_env` to 2 or more"


@dataclass(frozen=True)
class ReinforceConfig(AlgorithmConfig):
    """Credits each action with its trajectory's whole return."""

    collects = "episodes"
    equation = "(1/N) Σ_n Σ_t R(τⁿ)·log π,  R(τ) = Σ_t r_t"
    defaults: ClassVar[Mapping[str, Any]] = {"optimizer.lr": 3e-3}
    aliases = ("vpg",)

    name: Literal["reinforce"] = "reinforce"


@dataclass(frozen=True)
class ReinforceBaselineConfig(AlgorithmConfig):
    """Credits each action with the whole return less a baseline."""

    collects = "episodes"
    equation = "(1/N) Σ_n Σ_t (R(τⁿ) − b)·log π"
    defaults: ClassVar[Mapping[str, Any]] = {"optimizer.lr": 3e-3}
    claims: ClassVar[Mapping[str, Relation]] = {"reinforce": "<"}

    name: Literal["reinforce-baseline"] = "reinforce-baseline"
    baseline: Annotated[
        Literal["mean", "leave_one_out", "running"],
        "b: mean return of the batch, of its other trajectories, or of earlier batches",
    ] = "mean"
    standardize_advantage: Annotated[
        bool, "standardise the weights, which is a baseline and a scale"
    ] = False

    def complaints(self, num_columns: int) -> Iterator[Complaint]:
        """See `AlgorithmConfig.complaints`."""
        if num_columns == 1 and self.baseline != "running":
            yield _one_trajectory("baseline", f"baseline: {self.baseline}")
        elif num_columns == 1 and self.standardize_advantage:
            yield _one_trajectory("standardize_advantage", "standardize_advantage")


@dataclass(frozen=True)
class RewardToGoConfig(AlgorithmConfig):
    """Credits each action with the reward that came after it."""

    collects = "episodes"
    equation = "(1/N) Σ_n Σ_t (G_t − b)·log π,  G_t = r_t + γ·G_{t+1}"
    defaults: ClassVar[Mapping[str, Any]] = {"optimizer.lr": 3e-3}
    claims: ClassVar[Mapping[str, Relation]] = {"reinforce-baseline": "<="}

    name: Literal["reward-to-go"] = "reward-to-go"
    gamma: Discount = 0.99
    baseline: Annotated[
        Literal["mean", "leave_one_out", "none"],
        "b: mean of G over the batch's steps, over those of other trajectories, or 0",
    ] = "mean"
    standardize_advantage: Annotated[
        bool, "standardise the weights, which is a baseline and a scale"
    ] = False

    def complaints(self, num_columns: int) -> Iterator[Complaint]:
        """See `AlgorithmConfig.complaints`."""
        if num_columns == 1 and self.baseline != "none":
            yield _one_trajectory("baseline", f"baseline: {self.baseline}")


@dataclass(frozen=True)
class A2CConfig(AlgorithmConfig):
    """Credits each action with its advantage Â over a critic V."""

    equation = "mean of log π·Â − c_v·½(V − R̂)² + c_e·entropy, one step"
    defaults: ClassVar[Mapping[str, Any]] = {"rollout.num_steps": 8}
    claims: ClassVar[Mapping[str, Relation]] = {"reward-to-go": "<"}

    name: Literal["a2c"] = "a2c"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    value_coef: ValueCoef = 0.5
    entropy_coef: EntropyCoef = 0.0
    standardize_advantage: Annotated[
        bool, "standardise Â over the batch before the step"
    ] = False


@dataclass(frozen=True)
class ISPGConfig(AlgorithmConfig):
    """Learns for several epochs; nothing keeps θ near θ'."""

    equation = "mean of r·Â,  r = π_θ(a|s) / π_θ'(a|s)"

    name: Literal["is-pg"] = "is-pg"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    num_epochs: NumEpochs = 10
    num_minibatches: NumMinibatches = 4
    value_coef: ValueCoef = 0.5
    entropy_coef: EntropyCoef = 0.0
    standardize_advantage: Standardize = True


@dataclass(frozen=True)
class NPGConfig(AlgorithmConfig):
    """Takes a step of a fixed KL along the natural gradient."""

    equation = "θ + √(2δ/gᵀF⁻¹g)·F⁻¹g,  g = ∇ mean of r·Â"
    defaults: ClassVar[Mapping[str, Any]] = {"optimizer.lr": 1e-3}
    metrics = ("cg_residual", "predicted_improvement", "improvement")
    separate_policy_step = True

    name: Literal["npg"] = "npg"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    max_kl: Annotated[
        float, Gt(0), bounds.REAL, "δ: KL of a step, to second order, nats"
    ] = 0.01
    cg_iterations: CGIterations = 15
    cg_damping: CGDamping = 0.1
    num_epochs: CriticEpochs = 10
    num_minibatches: CriticMinibatches = 8
    standardize_advantage: StandardizeBatch = True


@dataclass(frozen=True)
class TRPOConfig(AlgorithmConfig):
    """Takes the best step inside a trust region around θ'."""

    equation = "max mean of r·Â  subject to  mean KL(π_θ'‖π_θ) ≤ δ"
    defaults: ClassVar[Mapping[str, Any]] = {"optimizer.lr": 1e-3}
    claims: ClassVar[Mapping[str, Relation]] = {"a2c": "<="}
    metrics = ("step_fraction", "cg_residual", "predicted_improvement", "improvement")
    separate_policy_step = True

    name: Literal["trpo"] = "trpo"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    max_kl: Annotated[
        float, Gt(0), bounds.REAL, "δ: bound on the mean KL of a step, nats"
    ] = 0.01
    cg_iterations: CGIterations = 15
    cg_damping: CGDamping = 0.1
    max_backtracks: Annotated[int, Ge(1), bounds.PASSES, "steps of the line search"] = (
        10
    )
    backtrack_factor: Annotated[
        float, Gt(0), Lt(1), "factor that shortens a rejected step"
    ] = 0.8
    num_epochs: CriticEpochs = 10
    num_minibatches: CriticMinibatches = 8
    standardize_advantage: StandardizeBatch = True


@dataclass(frozen=True)
class PPO1Config(AlgorithmConfig):
    """Keeps θ near θ' by a penalty; β adapts after each update."""

    equation = "mean of r·Â − β·KL(π_θ'‖π_θ), several epochs"
    claims: ClassVar[Mapping[str, Relation]] = {"a2c": "<="}
    metrics = ("beta",)

    name: Literal["ppo1"] = "ppo1"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    num_epochs: NumEpochs = 10
    num_minibatches: NumMinibatches = 4
    kl_target: Annotated[
        float | None,
        Gt(0),
        bounds.REAL,
        "d: β doubles above 1.5·d and halves below d/1.5, nats; null: 0.01, unless "
        "kl_min and kl_max are given",
    ] = None
    kl_min: Annotated[
        float | None, Gt(0), bounds.REAL, "β is divided below this KL, nats"
    ] = None
    kl_max: Annotated[
        float | None, Gt(0), bounds.REAL, "β is multiplied above this KL, nats"
    ] = None
    beta_init: Annotated[float, Ge(0), bounds.REAL, "penalty β at the start"] = 1.0
    beta_factor: Annotated[
        float, Ge(1), bounds.REAL, "factor that changes β; 1 keeps it"
    ] = 2.0
    value_coef: ValueCoef = 0.5
    entropy_coef: EntropyCoef = 0.0
    standardize_advantage: Standardize = True

    def complaints(self, num_columns: int) -> Iterator[Complaint]:
        """See `AlgorithmConfig.complaints`."""
        low, high = self.kl_min, self.kl_max
        bounds = [("algo", "kl_min"), ("algo", "kl_max")]
        if (low is None) != (high is None):
            given, other = ("kl_max", "kl_min") if low is None else ("kl_min", "kl_max")
            message = f"`algo.{given}` is of no use without `algo.{other}`"
            help = f"set `algo.{other}` too, or `algo.kl_target`"
            yield [("algo", given)], message, help
        if self.kl_target is not None and not (low is None and high is None):
            message = (
                "`algo.kl_target` and the pair of kl_min and kl_max exclude each other"
            )
            help = "keep one of the two; null removes a key that a file or preset sets"
            yield [("algo", "kl_target"), *bounds], message, help
        if low is not None and high is not None and low >= high:
            message = f"kl_min ({low}) must be below kl_max ({high})"
            yield bounds, message, "β falls below kl_min and rises above kl_max"

    def derived(self) -> Self:
        """With a target unless it or the bounds are given: the paper's 0.01."""
        if self.kl_target is None and self.kl_min is None and self.kl_max is None:
            return replace(self, kl_target=0.01)
        return self


@dataclass(frozen=True)
class PPO2Config(AlgorithmConfig):
    """Keeps θ near θ' by clipping the gain from the ratio r."""

    equation = "mean of min(r·Â, clip(r, 1−ε, 1+ε)·Â), several epochs"
    aliases = ("ppo",)
    claims: ClassVar[Mapping[str, Relation]] = {"a2c": "<="}
    metrics = ("clip_fraction",)

    name: Literal["ppo2"] = "ppo2"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    num_epochs: NumEpochs = 10
    num_minibatches: NumMinibatches = 4
    clip_eps: Annotated[
        float,
        Gt(0),
        bounds.REAL,
        "clip range ε: the ratio gains nothing outside 1 ± ε (eq. 7)",
    ] = 0.2
    clip_schedule: Annotated[Schedule, "ε over training; linear falls to 0"] = (
        "constant"
    )
    value_coef: ValueCoef = 0.5
    value_clip_eps: Annotated[
        float | None,
        Gt(0),
        bounds.REAL,
        "clip range of V around its value at collection, max form; null: off",
    ] = None
    entropy_coef: EntropyCoef = 0.0
    entropy_schedule: Annotated[Schedule, "c_e over training; linear falls to 0"] = (
        "constant"
    )
    standardize_advantage: Standardize = True
    kl_stop: Annotated[
        float | None,
        Gt(0),
        bounds.REAL,
        "freeze the rest of an update once a minibatch's exact KL passes this, nats",
    ] = None
    recompute_advantage: Annotated[
        bool, "compute Â and R̂ again from the current critic at every epoch"
    ] = False


AlgoConfig = (
    ReinforceConfig
    | ReinforceBaselineConfig
    | RewardToGoConfig
    | A2CConfig
    | ISPGConfig
    | NPGConfig
    | TRPOConfig
    | PPO1Config
    | PPO2Config
)

DEFAULT_ALGORITHM = PPO2Config

ALGORITHM_CONFIGS: dict[str, type[AlgoConfig]] = {
    cls.name: cls for cls in get_args(AlgoConfig)
}
ALGORITHM_ALIASES: dict[str, str] = {
    alias: cls.name for cls in ALGORITHM_CONFIGS.values() for alias in cls.aliases
}
