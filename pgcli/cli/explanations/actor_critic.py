"""The rungs on fixed rollouts that nothing holds back: a2c and is-pg."""

from pgcli.cli.explanations.form import (
    ADVANTAGE,
    ASCENT,
    BONUS,
    CRITIC,
    DISTANCE,
    EARLY_ENTROPY,
    ONE_STEP,
    OVERFLOW,
    RATIO,
    RETURN,
    STEPS,
    WEAK_CRITIC,
    Explanation,
    Failure,
    Paper,
    Term,
)

A2C = Explanation(
    name="a2c",
    title="advantage actor-critic, the baseline is learned",
    new="a learned baseline V(s)",
    formula="Â_t",
    objective=(
        "J = mean[ log π_θ(a_t|s_t)·Â_t ]",
        "    − c_v·½ mean[ (V(s_t) − R̂_t)² ] + c_e·mean[ H(π_θ(·|s_t)) ]",
        "δ_t = r_t + γ(1 − terminated_t)·V(s'_t) − V(s_t)",
        "Â_t = δ_t + γλ(1 − done_t)·Â_{t+1},     R̂_t = Â_t + V(s_t)",
    ),
    update=("θ ← θ + η·∇J     one step per rollout, on all of it; Â and R̂ are fixed",),
    idea=(
        "Against reward-to-go: b depends on the state and is learned. V(s) is what is "
        "usual from s on, so Â says how much better the action was than the others in "
        "the same state, early and late in an episode alike. V also stands in for the "
        "rewards that have not been seen yet: learning no longer waits for the end of "
        "an episode, and batches are T steps of each environment. λ weighs the two "
        "against each other: λ = 1 is the return, continued by V where the rollout "
        "ends, minus V (more variance); λ = 0 is δ (more bias, as far as V is wrong)."
    ),
    notes=(
        "`terminated` ends the MDP and V after it is 0. A time limit only truncates: "
        "δ then uses V of the final observation, before the reset. Nothing crosses "
        "the end of an episode. So the objective is no longer that of a finite "
        "horizon, as it is on the episode rungs below.",
        "The mean runs over steps, where the rungs below sum over an episode's steps: "
        "gradients are smaller by about the length of an episode.",
        "Names: the algorithm that Spinning Up calls VPG is this rung (it fits V in "
        "steps of its own). A3C is the same with asynchronous workers.",
    ),
    lecture="§5 Tips2, last part: a state-dependent b from a network; Aᶿ(s_t, a_t)",
    papers=(
        Paper("Mnih et al.", 2016, "arXiv 1602.01783", "§4, A3C; here synchronous"),
        Paper("Schulman et al.", 2015, "arXiv 1506.02438", "eq. 16, GAE"),
    ),
    terms=(
        RETURN,
        Term(
            "Â_t",
            "advantage by GAE; standardised over the batch if asked. policy_loss is "
            "−mean[log π_θ·Â]",
            ("algo.gamma", "algo.gae_lambda", "algo.standardize_advantage"),
            ("policy_loss",),
        ),
        CRITIC,
        BONUS,
        STEPS,
        ASCENT,
        ONE_STEP,
    ),
    failures=(
        WEAK_CRITIC,
        EARLY_ENTROPY,
        Failure(
            "grad_norm far above optimizer.max_grad_norm, value_loss large",
            "the norm is clipped over policy and critic together: a large critic "
            "gradient takes nearly all of the step",
            "normalize.reward=true; algo.value_coef down",
        ),
        Failure(
            "kl around 1e-5 or less and return_mean rises slowly",
            "one step per rollout, and that a short one",
            "optimizer.lr up; rollout.num_steps down; or is-pg and above, which use "
            "a rollout more than once",
        ),
        Failure(
            "return_mean stands still below what is possible, explained_variance fine",
            "1/(1 − γ) is shorter than the task needs, or λ trusts a biased V",
            "algo.gamma up; algo.gae_lambda towards 1",
        ),
    ),
)

IS_PG = Explanation(
    name="is-pg",
    title="importance sampling, a rollout is used more than once",
    new="several epochs per rollout",
    formula="r(θ)·Â_t",
    objective=(
        "J^{θ'}(θ) = mean[ r_t(θ)·Â_t ],   r_t(θ) = π_θ(a_t|s_t)/π_θ'(a_t|s_t)",
        "    − c_v·½ mean[ (V(s_t) − R̂_t)² ] + c_e·mean[ H(π_θ(·|s_t)) ]",
        "∇mean[ r·Â ] = mean[ r·Â·∇log π_θ ],   that of a2c at θ = θ'",
    ),
    update=(
        "several epochs of shuffled minibatches:   θ ← θ + η·∇J^{θ'}(θ)",
        "then θ' ← θ acts in the next rollout",
    ),
    idea=(
        "Against a2c: on-policy learning throws a rollout away after one step, and "
        "collecting takes most of the time. Here θ' acts and θ learns from its data "
        "for several epochs, every sample weighed by the ratio of the two policies: "
        "E over p of f is E over q of (p/q)·f. Taking the log away from the weighted "
        "gradient leaves an objective, J^{θ'}(θ). Nothing holds θ near θ'. That is "
        "the point of this rung: p and q must not be far apart, since the variance of "
        "the weighted estimate grows without bound as they part, and the rungs above "
        "are three ways to keep them together."
    ),
    notes=(
        "The per-step form is biased. The exact weight of a step would be "
        "p_θ(s_t)/p_θ'(s_t) · π_θ(a_t|s_t)/π_θ'(a_t|s_t). The first factor is dropped: "
        "the lecture takes the states to be about equally likely under both, and it "
        "could not be computed anyway. As soon as θ leaves θ' the states are those of "
        "the wrong policy, and Â too is that of θ'. In an MDP of one step the form has "
        "the right mean for any θ, and only its variance grows; with more steps there "
        "is bias, however many samples are taken. At θ = θ' value and gradient are "
        "right.",
        "That a weighted sample has lost its worth is seen in ess: the number of "
        "unweighted samples, as a share of B, that would tell as much.",
    ),
    lecture="§6 PPO, importance sampling and “on policy to off policy”",
    papers=(
        Paper("Kakade, Langford", 2002, "ICML", "the objective, and how far it holds"),
        Paper("Schulman et al.", 2017, "arXiv 1707.06347", "§3, eq. 6 (CPI)"),
    ),
    terms=(
        RETURN,
        RATIO,
        Term(
            "r(θ)·Â",
            "the objective per sample; policy_loss is −mean[r·Â] over the steps of the "
            "update: what θ believes to have gained on old data",
            metrics=("policy_loss",),
        ),
        ADVANTAGE,
        DISTANCE,
        CRITIC,
        BONUS,
        STEPS,
        ASCENT,
    ),
    failures=(
        Failure(
            "ess falls below about 0.5, ratio_max above 10, kl above 0.1; then "
            "return_mean collapses",
            "θ has left θ': a few samples carry the whole estimate, and their states "
            "are no longer those that θ visits",
            "algo.num_epochs or optimizer.lr down; or trpo, ppo1, ppo2, which hold θ",
        ),
        Failure(
            "policy_loss more and more negative while return_mean falls",
            "the surrogate is raised on a rollout that no longer says anything about θ",
            "algo.num_epochs down",
        ),
        OVERFLOW,
        Failure(
            "ess above 0.999 and return_mean rises no faster than with a2c",
            "θ hardly moves within an update: rollouts are used often to no effect",
            "optimizer.lr or algo.num_epochs up",
        ),
        WEAK_CRITIC,
        EARLY_ENTROPY,
    ),
)
