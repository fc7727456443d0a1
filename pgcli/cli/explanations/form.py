"""What an explanation is made of, and the terms that several rungs share."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One symbol of the formula.

    Attributes:
      symbol: as in the formula.
      meaning: what it is.
      config: dotted paths of the keys that set it.
      metrics: keys of `metrics.jsonl` that show it.
    """

    symbol: str
    meaning: str
    config: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Something that goes wrong: what is seen, why, and what to change."""

    symptom: str
    cause: str
    remedy: str


@dataclass(frozen=True)
class Paper:
    """Where a paper says it; `source` is an arXiv number, a journal or a meeting."""

    authors: str
    year: int
    source: str
    part: str

    def __str__(self) -> str:
        """The paper as one line of text."""
        return f"{self.authors}, {self.year}, {self.source}: {self.part}"


@dataclass(frozen=True)
class Explanation:
    """All that is said of one rung; texts are not wrapped.

    Attributes:
      name: as `--algo` takes it.
      title: in words.
      new: what is new against the rung below, in a few words.
      formula: the weight or objective, short.
      objective: lines of mathematics.
      update: lines of mathematics.
      idea: what the rung changes, and why.
      notes: what is easily taken wrong: bias, names, conditions.
      lecture: section of the lecture notes, then what it is called there.
      papers: where it is from.
      terms: what each symbol is, with its keys and metrics.
      failures: what goes wrong.
    """

    name: str
    title: str
    new: str
    formula: str
    objective: tuple[str, ...]
    update: tuple[str, ...]
    idea: str
    notes: tuple[str, ...]
    lecture: str
    papers: tuple[Paper, ...]
    terms: tuple[Term, ...]
    failures: tuple[Failure, ...]

    @property
    def section(self) -> str:
        """The section of the lecture notes alone."""
        return self.lecture.split()[0]


RETURN = Term(
    "J(θ)",
    "the expected return, seen as the mean over the last 100 finished episodes: raw "
    "and undiscounted, whatever is normalised",
    metrics=("return_mean", "length_mean", "episodes"),
)
EPISODES = Term(
    "N",
    "complete episodes per batch, num_envs × episodes_per_env; a time limit is needed",
    ("env.num_envs", "rollout.episodes_per_env", "env.max_episode_steps"),
    ("iteration", "steps"),
)
STEPS = Term(
    "mean",
    "over the B = num_envs × num_steps samples of a rollout",
    ("env.num_envs", "rollout.num_steps"),
    ("iteration", "steps"),
)
ASCENT = Term(
    "η",
    "the step, by Adam. grad_norm is taken before the global norm is clipped; a "
    "gradient that is not finite is skipped and counted",
    ("optimizer.lr", "optimizer.schedule", "optimizer.max_grad_norm"),
    ("lr", "grad_norm", "skipped"),
)
ONE_STEP = Term(
    "θ before → after",
    "what the step did to the policy: exact mean KL(before‖after) in nats, the largest "
    "ratio r = π_after/π_before of an action taken, and the effective sample size "
    "(Σr)²/(B·Σr²) of these ratios. All three tell of a step too long",
    metrics=("kl", "ratio_max", "ess"),
)
DISTANCE = Term(
    "θ' → θ",
    "how far an update went, on its whole batch after the last step: exact mean "
    "KL(π_θ'‖π_θ) in nats, the largest ratio, and the effective sample size "
    "(Σr)²/(B·Σr²), which is 1 at θ = θ' and 1/B where one sample carries all",
    metrics=("kl", "ratio_max", "ess"),
)
ENTROPY = Term(
    "H(π_θ)",
    "not in the objective. Entropy of the action distributions in nats: how much is "
    "still tried out; a density's may be negative",
    metrics=("entropy",),
)
BONUS = Term(
    "c_e·H",
    "entropy bonus, against a policy that stops trying things out too early",
    ("algo.entropy_coef",),
    ("entropy",),
)
CRITIC = Term(
    "c_v·½(V − R̂)²",
    "the critic's loss; explained_variance is the share of the variance of R̂ that V "
    "explained before the update: 1 all, 0 no more than a constant, below 0 less",
    ("algo.value_coef", "network.shared", "normalize.reward"),
    ("value_loss", "explained_variance"),
)
RATIO = Term(
    "r(θ)",
    "π_θ(a|s)/π_θ'(a|s): how much more probable an action is now than for the θ' that "
    "took it; 1 in the first step after a rollout, and further off with every step of "
    "every epoch",
    ("algo.num_epochs", "algo.num_minibatches"),
)
ADVANTAGE = Term(
    "Â",
    "advantage of the action under θ', by GAE as in a2c; standardised over each "
    "minibatch if asked",
    ("algo.gamma", "algo.gae_lambda", "algo.standardize_advantage"),
)

WEAK_CRITIC = Failure(
    "explained_variance at or below 0 for long, value_loss large",
    "V does not fit the returns, often because these are large or of changing scale; "
    "Â is then noisier than without V",
    "normalize.reward=true; another optimizer.lr; a longer rollout.num_steps",
)
EARLY_ENTROPY = Failure(
    "entropy falls early to almost nothing, return_mean stands still",
    "the policy has become nearly deterministic before it saw anything better, and "
    "actions that are not sampled are not learned about",
    "algo.entropy_coef up (0.001 to 0.01); optimizer.lr down",
)
OVERFLOW = Failure(
    "skipped above 0; ten such rows in a row end the run with exit code 5",
    "a ratio exp(log π_θ − log π_θ') or a value overflowed, so that the gradient was "
    "not finite and was not applied",
    "optimizer.lr or algo.num_epochs down; normalize.obs=true, normalize.reward=true",
)
