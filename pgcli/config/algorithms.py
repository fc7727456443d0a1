"""Hyperparameters of each algorithm, as data: no JAX is imported here.

A float field is a traced leaf of the update: changing its value never recompiles.
Ints, bools and strings are structure. The string in each annotation is the field's
documentation, shown by `pgcli config explain`.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

Schedule = Literal["constant", "linear"]
Discount = Annotated[float, Ge(0), Le(1), "discount γ of the return, per step"]
GaeLambda = Annotated[
    float, Ge(0), Le(1), "λ of GAE: 0 is the TD error, 1 the return minus V"
]
ValueCoef = Annotated[float, Ge(0), "weight c_v of the value loss ½(V − R̂)²"]
EntropyCoef = Annotated[float, Ge(0), "weight c_e of the entropy bonus"]


@dataclass(frozen=True)
class A2CConfig:
    """Advantage actor-critic: one full-batch step on log π · Â per rollout."""

    collects: ClassVar[Literal["steps", "episodes"]] = "steps"

    name: Literal["a2c"] = "a2c"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    value_coef: ValueCoef = 0.5
    entropy_coef: EntropyCoef = 0.0
    standardize_advantage: Annotated[
        bool, "standardise Â over the batch before the step"
    ] = False


@dataclass(frozen=True)
class PPO2Config:
    """Proximal policy optimisation, clipped: several epochs on min(r·Â, clip(r)·Â)."""

    collects: ClassVar[Literal["steps", "episodes"]] = "steps"

    name: Literal["ppo2"] = "ppo2"
    gamma: Discount = 0.99
    gae_lambda: GaeLambda = 0.95
    num_epochs: Annotated[int, Ge(1), "passes over each rollout"] = 10
    num_minibatches: Annotated[int, Ge(1), "gradient steps per pass"] = 4
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
    standardize_advantage: Annotated[bool, "standardise Â within each minibatch"] = True
    kl_stop: Annotated[
        float | None,
        Gt(0),
        "freeze the rest of an update once a minibatch's exact KL passes this, nats",
    ] = None
    recompute_advantage: Annotated[
        bool, "compute Â and R̂ anew from the current critic at every epoch"
    ] = False


AlgoConfig = A2CConfig | PPO2Config

ALGORITHM_CONFIGS: dict[str, type[AlgoConfig]] = {"a2c": A2CConfig, "ppo2": PPO2Config}
ALGORITHM_ALIASES: dict[str, str] = {"ppo": "ppo2"}
