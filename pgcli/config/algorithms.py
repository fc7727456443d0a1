"""Hyperparameters of each algorithm, as data: no JAX is imported here.

The first line of each class is the algorithm in one sentence, and beside it stand its
`equation` (what is ascended, in the symbols of the docs), what it `collects`, and the
`defaults` that it brings for keys outside `algo`, by dotted path.

A float field is a traced leaf of the update: changing its value never recompiles.
Ints, bools and strings are structure. The string in each annotation is the field's
documentation, shown by `pgcli config explain`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt

Collects = Literal["steps", "episodes"]
Defaults = Mapping[str, Any]
Schedule = Literal["constant", "linear"]
Discount = Annotated[float, Ge(0), Le(1), "discount γ of the return, per step"]
GaeLambda = Annotated[
    float, Ge(0), Le(1), "λ of GAE: 0 is the TD error, 1 the return minus V"
]
NumEpochs = Annotated[int, Ge(1), "passes over each rollout"]
NumMinibatches = Annotated[int, Ge(1), "gradient steps per pass"]
Standardize = Annotated[bool, "standardise Â within each minibatch"]
ValueCoef = Annotated[float, Ge(0), "weight c_v of the value loss ½(V − R̂)²"]
EntropyCoef = Annotated[float, Ge(0), "weight c_e of the entropy bonus"]


@dataclass(frozen=True)
class ReinforceConfig:
    """Credits each action with its trajectory's whole return."""

    collects: ClassVar[Collects] = "episodes"
    equation: ClassVar[str] = "(1/N) Σ_n Σ_t R(τⁿ)·log π,  R(τ) = Σ_t r_t"
    defaults: ClassVar[Defaults] = {"optimizer.lr": 3e-3}

    name: Literal["reinforce"] = "reinforce"


@dataclass(frozen=True)
class ReinforceBaselineConfig:
    """Credits each action with the whole return less a baseline."""

    collects: ClassVar[Collects] = "episodes"
    equation: ClassVar[str] = "(1/N) Σ_n Σ_t (R(τⁿ) − b)·log π"
    defaults: ClassVar[Defaults] = {"optimizer.lr": 3e-3}

    name: Literal["reinforce-baseline"] = "reinforce-baseline"
    baseline: Annotated[
        Literal["mean", "leave_one_out", "running"],
        "b: mean return of the batch, of its other trajectories, or of earlier batches",
    ] = "mean"
    standardize_advantage: Annotated[
        bool, "standardise the weights, which is a baseline and a scale"
    ] = False


@dataclass(frozen=True)
class RewardToGoConfig:
    """Credits each action with the reward that came after it."""

    collects: ClassVar[Collects] = "episodes"
    equation: ClassVar[str] = "(1/N) Σ_n Σ_t (G_t − b)·log π,  G_t = r_t + γ·G_{t+1}"
    defaults: ClassVar[Defaults] = {"optimizer.lr": 3e-3}

    name: Literal["reward-to-go"] = "reward-to-go"
    gamma: Discount = 0.99
    baseline: Annotated[
        Literal["mean", "leave_one_out", "none"],
        "b: mean of G over the batch's steps, over those of other trajectories, or 0",
    ] = "mean"
    standardize_advantage: Annotated[
        bool, "standardise the weights, which is a baseline and a scale"
    ] = False


@dataclass(frozen=True)
class A2CConfig:
    """Credits each action with its advantage Â over a critic V."""

    collects: ClassVar[Collects] = "steps"
    equation: ClassVar[str] = "mean of log π·Â − c_v·½(V − R̂)² + c_e·entropy, one step"
    defaults: ClassVar[Defaults] = {"rollout.num_steps": 8}

    name: Literal["a2c"] = "a2c"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    value_coef: ValueCoef = 0.5
    entropy_coef: EntropyCoef = 0.0
    standardize_advantage: Annotated[
        bool, "standardise Â over the batch before the step"
    ] = False


@dataclass(frozen=True)
class ISPGConfig:
    """Learns for several epochs; nothing holds θ near θ'."""

    collects: ClassVar[Collects] = "steps"
    equation: ClassVar[str] = "mean of r·Â,  r = π_θ(a|s) / π_θ'(a|s)"
    defaults: ClassVar[Defaults] = {}

    name: Literal["is-pg"] = "is-pg"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    num_epochs: NumEpochs = 10
    num_minibatches: NumMinibatches = 4
    value_coef: ValueCoef = 0.5
    entropy_coef: EntropyCoef = 0.0
    standardize_advantage: Standardize = True


@dataclass(frozen=True)
class TRPOConfig:
    """Takes the best step inside a trust region around θ'."""

    collects: ClassVar[Collects] = "steps"
    equation: ClassVar[str] = "max mean of r·Â  subject to  mean KL(π_θ'‖π_θ) ≤ δ"
    defaults: ClassVar[Defaults] = {"optimizer.lr": 1e-3}

    name: Literal["trpo"] = "trpo"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    max_kl: Annotated[float, Gt(0), "δ: bound on the mean KL of a step, nats"] = 0.01
    cg_iterations: Annotated[int, Ge(1), "iterations of conjugate gradients"] = 15
    cg_damping: Annotated[float, Ge(0), "added to the diagonal of the Hessian"] = 0.1
    max_backtracks: Annotated[int, Ge(1), "steps of the line search"] = 10
    backtrack_factor: Annotated[
        float, Gt(0), Lt(1), "what a rejected step is shortened by"
    ] = 0.8
    num_epochs: Annotated[int, Ge(1), "passes of the critic over each rollout"] = 10
    num_minibatches: Annotated[int, Ge(1), "critic steps per pass"] = 8
    standardize_advantage: Annotated[bool, "standardise Â over the batch"] = True


DEFAULT_KL_TARGET = 0.01
"""`kl_target` of ppo1 where neither it nor its bounds are given (the paper's)."""


@dataclass(frozen=True)
class PPO1Config:
    """Holds θ near θ' by a penalty; β adapts after each update."""

    collects: ClassVar[Collects] = "steps"
    equation: ClassVar[str] = "mean of r·Â − β·KL(π_θ'‖π_θ), several epochs"
    defaults: ClassVar[Defaults] = {}

    name: Literal["ppo1"] = "ppo1"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    num_epochs: NumEpochs = 10
    num_minibatches: NumMinibatches = 4
    kl_target: Annotated[
        float | None,
        Gt(0),
        "d: β doubles above 1.5·d and halves below d/1.5, nats; null: 0.01, unless "
        "kl_min and kl_max are given",
    ] = None
    kl_min: Annotated[float | None, Gt(0), "β is divided below this KL, nats"] = None
    kl_max: Annotated[float | None, Gt(0), "β is multiplied above this KL, nats"] = None
    beta_init: Annotated[float, Ge(0), "penalty β at the start"] = 1.0
    beta_factor: Annotated[float, Ge(1), "what β is changed by; 1 keeps it"] = 2.0
    value_coef: ValueCoef = 0.5
    entropy_coef: EntropyCoef = 0.0
    standardize_advantage: Standardize = True


@dataclass(frozen=True)
class PPO2Config:
    """Holds θ near θ' by clipping what the ratio r can gain."""

    collects: ClassVar[Collects] = "steps"
    equation: ClassVar[str] = "mean of min(r·Â, clip(r, 1−ε, 1+ε)·Â), several epochs"
    defaults: ClassVar[Defaults] = {}

    name: Literal["ppo2"] = "ppo2"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    num_epochs: NumEpochs = 10
    num_minibatches: NumMinibatches = 4
    clip_eps: Annotated[
        float, Gt(0), "clip range ε: the ratio gains nothing outside 1 ± ε (eq. 7)"
    ] = 0.2
    clip_schedule: Annotated[Schedule, "ε over training; linear falls to 0"] = (
        "constant"
    )
    value_coef: ValueCoef = 0.5
    value_clip_eps: Annotated[
        float | None,
        Gt(0),
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
        "freeze the rest of an update once a minibatch's exact KL passes this, nats",
    ] = None
    recompute_advantage: Annotated[
        bool, "compute Â and R̂ anew from the current critic at every epoch"
    ] = False


AlgoConfig = (
    ReinforceConfig
    | ReinforceBaselineConfig
    | RewardToGoConfig
    | A2CConfig
    | ISPGConfig
    | TRPOConfig
    | PPO1Config
    | PPO2Config
)

ALGORITHM_CONFIGS: dict[str, type[AlgoConfig]] = {
    "reinforce": ReinforceConfig,
    "reinforce-baseline": ReinforceBaselineConfig,
    "reward-to-go": RewardToGoConfig,
    "a2c": A2CConfig,
    "is-pg": ISPGConfig,
    "trpo": TRPOConfig,
    "ppo1": PPO1Config,
    "ppo2": PPO2Config,
}
ALGORITHM_ALIASES: dict[str, str] = {"vpg": "reinforce", "ppo": "ppo2"}
