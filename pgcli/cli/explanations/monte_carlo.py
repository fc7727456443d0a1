"""The rungs that learn from whole episodes."""

from pgcli.cli.explanations.form import (
    ASCENT,
    ENTROPY,
    EPISODES,
    ONE_STEP,
    RETURN,
    Explanation,
    Failure,
    Paper,
    Term,
)

WILLIAMS = "Machine Learning 8"
LONG_STEP = Failure(
    "kl of a single step above about 0.05, or ess below about 0.9",
    "the step is so long that the gradient no longer describes where it leads",
    "optimizer.lr down, or more episodes per batch: env.num_envs, "
    "rollout.episodes_per_env",
)
STANDARDIZE = (
    "standardising the weights subtracts their mean, which is a baseline, and "
    "divides by their standard deviation, which is a step length: off by default, "
    "so that a rung differs from the next by its idea alone"
)

REINFORCE = Explanation(
    name="reinforce",
    title="REINFORCE, every action is paid the whole return",
    new="play, then weigh each action",
    formula="R(τ)",
    objective=(
        "J(θ)  = E[ R(τ) ],   τ ~ p_θ,   R(τ) = Σ_t r_t",
        "∇J(θ) = E[ Σ_t R(τ) ∇log π_θ(a_t|s_t) ]",
    ),
    update=("θ ← θ + η · (1/N) Σ_n Σ_t R(τⁿ) ∇log π_θ(aⁿ_t|sⁿ_t)",),
    idea=(
        "The lowest rung. log p_θ(τ) is the sum of log π_θ(a_t|s_t) and of terms of "
        "the environment, which do not depend on θ: the gradient of the expected "
        "return needs no model. Play N episodes, raise the log-probability of every "
        "action taken in proportion to the return of its episode, throw the episodes "
        "away, play again. The estimate is unbiased. It is also noisy, because an "
        "action is paid for all that happened in its episode, before it and after it, "
        "and because the size of the returns counts, not only how they differ."
    ),
    notes=(
        "Positive rewards (Tip 1's reason): every action sampled is pushed up, and "
        "probabilities sum to 1, so an action that was not sampled loses probability "
        "on average, however good it is. Over all batches this evens out; in the "
        "batch at hand it does not. `reinforce-baseline` answers it.",
        "Finite horizon: a time limit ends the episode, and nothing after it counts. "
        "What is maximised is the return up to env.max_episode_steps. There is no γ.",
        "Names: `vpg` is an alias of this rung. The algorithm that Spinning Up calls "
        "VPG learns a value function and uses GAE: that is `a2c` here.",
    ),
    lecture="§3 (from the derivation in §1 and §2): weight = the return of the game",
    papers=(Paper("Williams", 1992, WILLIAMS, "episodic REINFORCE, without baseline"),),
    terms=(
        RETURN,
        Term(
            "R(τ)",
            "sum of the rewards of an episode, the same weight for each of its steps; "
            "policy_loss is −(1/N) Σ_n Σ_t R(τⁿ) log π_θ, whose value means nothing "
            "by itself: only its gradient is used",
            ("normalize.reward",),
            ("policy_loss",),
        ),
        EPISODES,
        ASCENT,
        ONE_STEP,
        ENTROPY,
    ),
    failures=(
        Failure(
            "return_mean hardly rises, grad_norm large and different in every row",
            "variance: each weight is a whole return, mostly made of what all "
            "episodes have in common",
            "more episodes per batch: rollout.episodes_per_env, env.num_envs; or the "
            "next rung, reinforce-baseline",
        ),
        Failure(
            "entropy falls to almost nothing while return_mean is still poor",
            "with positive returns whatever is sampled is pushed up: the policy "
            "settles on what it happened to try first",
            "reinforce-baseline; or optimizer.lr down and more episodes per batch",
        ),
        LONG_STEP,
        Failure(
            "fewer and fewer rows per steps as length_mean grows",
            "a batch is a number of episodes: the longer they are, the more steps "
            "one gradient step costs",
            "fewer episodes per batch, or a rung that collects steps (a2c and above)",
        ),
    ),
)

REINFORCE_BASELINE = Explanation(
    name="reinforce-baseline",
    title="REINFORCE, less what is usual",
    new="a baseline b",
    formula="R(τ) − b",
    objective=(
        "J(θ)  = E[ R(τ) ],   τ ~ p_θ",
        "∇J(θ) = E[ Σ_t (R(τ) − b) ∇log π_θ(a_t|s_t) ],   as E[ ∇log π_θ ] = 0",
    ),
    update=(
        "θ ← θ + η · (1/N) Σ_n Σ_t (R(τⁿ) − b) ∇log π_θ(aⁿ_t|sⁿ_t)",
        "    b = (1/N) Σ_m R(τᵐ)             baseline: mean (the lecture's)",
        "    b = (1/(N−1)) Σ_{m≠n} R(τᵐ)     baseline: leave_one_out",
        "    b = average of earlier batches  baseline: running (decay 0.9)",
    ),
    idea=(
        "Against reinforce: the weight of an episode is its return less what is "
        "usual, so that weights have both signs. With positive rewards and no "
        "baseline every action sampled is pushed up, and one that was not sampled "
        "loses probability for no fault of its own; with a baseline it need not: "
        "those of an episode below average are pushed down instead. Because "
        "E[∇log π_θ] = 0, subtracting a b that does not depend on the episode's own "
        "actions changes nothing in expectation, and where returns are far from 0 it "
        "removes most of the variance."
    ),
    notes=(
        "The factor of the batch mean: it contains the episode's own return, so the "
        "estimate has expectation exactly (1 − 1/N)·∇J, the right direction and "
        "shorter. On one batch `mean` and `leave_one_out` differ by the factor "
        "1 − 1/N alone; `leave_one_out` and `running` have expectation ∇J.",
        "Variance is lower in practice, by no theorem. Where the policy is nearly "
        "uniform and rewards are positive and independent between the steps (five, in "
        "the test that shows it), it falls up the ladder: reinforce, baseline, "
        "reward-to-go, true V. A counterexample is a good and nearly deterministic "
        "policy. One step, reward 1 for the right action "
        "and 0 for the other, the right one taken with p = 0.99; in its logit the "
        "estimate has variance p(1−p)³ = 9.9e-7 for b = 0, but 9.5e-3 for b = E[R] = "
        "0.99: the rare mistake, weighed by 0 before, now is weighed by −0.99. The "
        "best constant is E[R·‖∇log π‖²]/E[‖∇log π‖²], here 0.01.",
        "A baseline from the batch needs N ≥ 2: one episode cannot be compared.",
    ),
    lecture="§4 Tips1: add a baseline, so that rewards are positive and negative",
    papers=(
        Paper("Williams", 1992, WILLIAMS, "the reinforcement baseline"),
        Paper(
            "Greensmith, Bartlett, Baxter",
            2004,
            "JMLR 5",
            "the baseline of least variance, which is not E[R]",
        ),
        Paper(
            "Kool, van Hoof, Welling",
            2019,
            "ICLR workshop",
            "the mean of the other samples as baseline",
        ),
    ),
    terms=(
        RETURN,
        Term(
            "R(τ) − b",
            "return of the episode less the baseline, the same for each of its steps; "
            + STANDARDIZE,
            ("algo.baseline", "algo.standardize_advantage", "normalize.reward"),
            ("policy_loss",),
        ),
        EPISODES,
        ASCENT,
        ONE_STEP,
        ENTROPY,
    ),
    failures=(
        Failure(
            "grad_norm and policy_loss exactly 0",
            "all episodes of the batch have the same return: none is better than "
            "another, and nothing can be learned from them",
            "more episodes per batch; a reward that tells episodes apart",
        ),
        Failure(
            "return_mean high, then grad_norm leaps and return_mean falls",
            "the counterexample above: one rare bad episode of a good policy has by "
            "far the largest weight of its batch",
            "more episodes per batch; optimizer.schedule=linear or optimizer.lr down",
        ),
        Failure(
            "with baseline running: learning starts like reinforce, and lags",
            "b is 0 in the first batch and an average of old ones later, so it is too "
            "low while return_mean rises",
            "algo.baseline=mean or leave_one_out",
        ),
        LONG_STEP,
    ),
)

REWARD_TO_GO = Explanation(
    name="reward-to-go",
    title="an action is paid only for what comes after it",
    new="only rewards after the action",
    formula="G_t − b",
    objective=(
        "J(θ)  = E[ R(τ) ],   τ ~ p_θ",
        "∇J(θ) = E[ Σ_t (G_t − b) ∇log π_θ(a_t|s_t) ],   exact for γ = 1",
        "G_t   = Σ_{t'≥t} γ^{t'−t} r_{t'}",
    ),
    update=(
        "θ ← θ + η · (1/N) Σ_n Σ_t (Gⁿ_t − b) ∇log π_θ(aⁿ_t|sⁿ_t)",
        "    b = mean of G over the batch's steps           baseline: mean",
        "    b = mean of G over the other episodes' steps   baseline: leave_one_out",
        "    b = 0                                          baseline: none",
    ),
    idea=(
        "Against reinforce-baseline: credit for each action instead of for each "
        "episode. An action cannot change rewards from before it; in expectation they "
        "contribute 0 to its gradient, in a batch they are noise. They are left out. "
        "Rewards long after an action depend on it less and less and mostly add noise "
        "as well: γ < 1 discounts them, which buys less variance for some bias."
    ),
    notes=(
        "γ^t is dropped, here and on every rung above. For γ < 1 the exact gradient of "
        "the discounted return weighs step t by another γ^t, so that late steps would "
        "hardly count. The lecture leaves it out, as nearly everybody does: what is "
        "estimated is Σ_t E[G_t ∇log π_θ(a_t|s_t)], which is no gradient of the "
        "discounted return, and which treats all steps of an episode alike.",
        "b is one number for all times. `mean` contains the episode's own rewards and "
        "has a bias of order 1/N; `leave_one_out` has none; both need N ≥ 2.",
        "Finite horizon, as in reinforce: a time limit ends the episode and nothing "
        "is added for what would have followed.",
    ),
    lecture="§5 Tips2: a suitable credit for each action, and the discount γ",
    papers=(
        Paper("Sutton et al.", 2000, "NIPS 12", "theorem 1, the policy gradient"),
        Paper("Baxter, Bartlett", 2001, "JAIR 15", "GPOMDP, with a discount"),
        Paper("Thomas", 2014, "ICML", "what dropping γ^t does"),
    ),
    terms=(
        RETURN,
        Term(
            "G_t",
            "discounted reward from step t on; only 1/(1 − γ) steps count for much",
            ("algo.gamma", "normalize.reward"),
            ("policy_loss",),
        ),
        Term(
            "b",
            "the baseline; " + STANDARDIZE,
            ("algo.baseline", "algo.standardize_advantage"),
        ),
        EPISODES,
        ASCENT,
        ONE_STEP,
        ENTROPY,
    ),
    failures=(
        Failure(
            "return_mean rises and stays low, with grad_norm as healthy as ever",
            "1/(1 − γ) is much shorter than length_mean: what is earned late is not "
            "credited to the actions that led there",
            "algo.gamma up",
        ),
        Failure(
            "grad_norm different in every row, length_mean in the hundreds",
            "G_t sums the noise of all steps that follow",
            "algo.gamma down; more episodes per batch: rollout.episodes_per_env, "
            "env.num_envs",
        ),
        Failure(
            "return_mean stands still although episodes end at different lengths",
            "one b for all times: with a reward per step, early steps are always above "
            "it and late ones below, whatever the action",
            "a2c, whose baseline depends on the state",
        ),
        LONG_STEP,
    ),
)
