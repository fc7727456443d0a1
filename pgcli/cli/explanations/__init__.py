"""What `pgcli explain` says of each algorithm: plain data, no JAX is imported here."""

from pgcli.cli.explanations.actor_critic import A2C, IS_PG
from pgcli.cli.explanations.form import Explanation, Failure, Paper, Term
from pgcli.cli.explanations.monte_carlo import (
    REINFORCE,
    REINFORCE_BASELINE,
    REWARD_TO_GO,
)
from pgcli.cli.explanations.proximal import PPO1, PPO2, TRPO

__all__ = ["EXPLANATIONS", "Explanation", "Failure", "Paper", "Term"]

EXPLANATIONS: dict[str, Explanation] = {
    rung.name: rung
    for rung in (
        REINFORCE,
        REINFORCE_BASELINE,
        REWARD_TO_GO,
        A2C,
        IS_PG,
        TRPO,
        PPO1,
        PPO2,
    )
}
"""By name, from the lowest rung up."""
