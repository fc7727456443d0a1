"""The rungs that hold θ near θ': trpo, ppo1, ppo2."""

from pgcli.cli.explanations.form import (
    ADVANTAGE,
    ASCENT,
    BONUS,
    CRITIC,
    DISTANCE,
    EARLY_ENTROPY,
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

PPO = "arXiv 1707.06347"
ACTOR_CRITIC_REST = "    − c_v·½ mean[ (V − R̂)² ] + c_e·mean[ H(π_θ) ]"

TRPO = Explanation(
    name="trpo",
    title="trust region policy optimisation, the KL of a step is bounded",
    new="a bound on the KL",
    formula="r(θ)·Â_t,  KL ≤ δ",
    objective=(
        "max_θ  J^{θ'}(θ) = mean[ r_t(θ)·Â_t ],   r_t = π_θ(a_t|s_t)/π_θ'(a_t|s_t)",
        "subject to   mean KL(π_θ'(·|s_t)‖π_θ(·|s_t)) ≤ δ",
    ),
    update=(
        "g = ∇J^{θ'}(θ'),   H = ∇² mean KL at θ',   (H + cI)·x = g",
        "θ ← θ' + αʲ·√(2δ/xᵀ(H + cI)x)·x   for the first j = 0, 1, … with",
        "        mean KL ≤ δ and J^{θ'}(θ) > J^{θ'}(θ'); if there is none, θ ← θ'",
        "V:  several epochs of ½ mean[ (V − R̂)² ] by Adam, apart from the policy",
    ),
    idea=(
        "Against is-pg: the ratio is trusted only where θ and θ' behave alike. "
        "The best θ is sought among those whose mean KL from θ' is at most δ, a "
        "distance between action distributions in the same states, not between "
        "parameters. To first order in J and second order in the KL the answer is the "
        "natural gradient, x = H⁻¹g, with a step whose KL is δ. H is never "
        "formed: conjugate gradients need only products with it. A line search then "
        "tests the true KL and the true surrogate. One policy step per rollout, the "
        "longest that is safe, without a learning rate."
    ),
    notes=(
        "Rejection: if no step of the line search passes, if g vanishes, or if the "
        "curvature xᵀ(H + cI)x is not positive and finite, the old policy comes "
        "back bit for bit. step_fraction and both improvements are then 0. It is "
        "no error and never a NaN: the critic is still fitted, and the next rollout "
        "brings another gradient.",
        "lr, grad_norm, skipped and value_loss are the critic's: the policy step uses "
        "no optimiser. Policy and value networks must not share a torso.",
        "The bound on the mean KL is checked on the samples of the rollout. It is a "
        "practical form of the paper's bound, without its guarantee.",
    ),
    lecture="§6 PPO: TRPO, its predecessor, with the KL as a constraint",
    papers=(
        Paper(
            "Schulman et al.",
            2015,
            "arXiv 1502.05477",
            "eq. 14 and §6; appendix C for the step",
        ),
        Paper("Kakade", 2001, "NIPS 14", "the natural policy gradient"),
    ),
    terms=(
        RETURN,
        Term(
            "mean KL ≤ δ",
            "the trust region, in nats; kl is that of the step taken, over all states "
            "of the rollout. ratio_max and ess tell of single samples, which the mean "
            "does not bound",
            ("algo.max_kl",),
            ("kl", "ratio_max", "ess"),
        ),
        Term(
            "x, c",
            "the direction: conjugate gradients on the damped Hessian; cg_residual is "
            "‖g − (H + cI)x‖ after the last iteration",
            ("algo.cg_iterations", "algo.cg_damping"),
            ("cg_residual",),
        ),
        Term(
            "αʲ",
            "what the line search left of the full step; 0 is a rejection",
            ("algo.backtrack_factor", "algo.max_backtracks"),
            ("step_fraction",),
        ),
        Term(
            "J^{θ'}(θ)",
            "the surrogate: gain by its linear model, and gain as measured; "
            "policy_loss is minus the latter",
            metrics=("predicted_improvement", "improvement", "policy_loss"),
        ),
        Term(
            "Â",
            "advantage of the action under θ', by GAE as in a2c; standardised over the "
            "batch if asked",
            ("algo.gamma", "algo.gae_lambda", "algo.standardize_advantage"),
        ),
        Term(
            "V, R̂",
            "the critic, fitted apart; explained_variance is its share of the variance "
            "of R̂ before the update: 1 all, 0 no more than a constant",
            (
                "algo.num_epochs",
                "algo.num_minibatches",
                "optimizer.lr",
                "optimizer.schedule",
                "optimizer.max_grad_norm",
            ),
            ("value_loss", "explained_variance", "lr", "grad_norm", "skipped"),
        ),
        Term(
            "H(π_θ)",
            "not in the objective. Entropy in nats; a density's may be negative",
            metrics=("entropy",),
        ),
        STEPS,
    ),
    failures=(
        Failure(
            "step_fraction 0 in many rows",
            "rejections: the quadratic model fails within δ, or the gradient is noise "
            "that the surrogate does not improve along",
            "rollout.num_steps or env.num_envs up; algo.cg_damping up; algo.max_kl "
            "down; algo.max_backtracks up",
        ),
        Failure(
            "improvement far below predicted_improvement",
            "the linear model does not reach to the edge of the trust region",
            "algo.max_kl down",
        ),
        Failure(
            "step_fraction 1 and kl far below algo.max_kl",
            "the damping c outweighs H, so that steps are shorter than allowed",
            "algo.cg_damping down",
        ),
        Failure(
            "cg_residual hardly smaller with more algo.cg_iterations",
            "H is ill conditioned: some directions hardly change the policy",
            "algo.cg_damping up; normalize.obs=true",
        ),
        Failure(
            "kl at algo.max_kl in every row, return_mean slow",
            "the bound decides the pace",
            "algo.max_kl up to 0.05; smaller rollouts, hence more steps",
        ),
        Failure(
            "explained_variance at or below 0 for long, value_loss large",
            "V does not fit the returns: Â is noisier than without V",
            "algo.num_epochs or optimizer.lr up; normalize.reward=true",
        ),
    ),
)

PPO1 = Explanation(
    name="ppo1",
    title="proximal policy optimisation with an adaptive KL penalty",
    new="a penalty on the KL",
    formula="r(θ)·Â_t − β·KL",
    objective=(
        "J = mean[ r_t(θ)·Â_t − β·KL(π_θ'(·|s_t)‖π_θ(·|s_t)) ]",
        ACTOR_CRITIC_REST,
        "r_t(θ) = π_θ(a_t|s_t)/π_θ'(a_t|s_t)",
    ),
    update=(
        "several epochs of shuffled minibatches:   θ ← θ + η·∇J",
        "then once, with the mean KL of the whole rollout:",
        "    KL > KL_max:  β ← 2β        KL_max = 1.5·d     (2 is algo.beta_factor)",
        "    KL < KL_min:  β ← β/2       KL_min = d/1.5",
    ),
    idea=(
        "Against trpo: a constraint is hard to handle, a penalty is not. The KL moves "
        "into the objective with a weight β, and a stochastic gradient is all that is "
        "needed: no Hessian, no line search, several epochs as in is-pg. No one β is "
        "right for all tasks, nor for all of a run, so it adapts: if an update went "
        "too far it is doubled for the next, if it went not far enough it is halved. "
        "As in the lecture, the KL is a distance between behaviours, the action "
        "distributions in the same states, not between parameters."
    ),
    notes=(
        "The penalty acts late. At θ = θ' the KL and its gradient are 0, so the first "
        "step of an update is that of is-pg; and β answers only after the update that "
        "went too far. An update may well exceed KL_max.",
        "Names: the folder `ppo1` of openai/baselines is *clipped* PPO, as is its "
        "`ppo2`. Here ppo1 is the KL penalty and ppo2 the clip, as in the lecture.",
        "Give algo.kl_target (d), or algo.kl_min and algo.kl_max as in the lecture, "
        "not both. β stays within 1e-4 and 1e4; algo.beta_factor=1 keeps it as it is, "
        "and β = 0 is is-pg. The lecture's θᵏ is θ' here.",
    ),
    lecture="§6 PPO, KL divergence, PPO1 algorithm",
    papers=(
        Paper("Schulman et al.", 2017, PPO, "§4, eq. 8"),
        Paper("Heess et al.", 2017, "arXiv 1707.02286", "a like rule, distributed"),
    ),
    terms=(
        RETURN,
        RATIO,
        Term(
            "β",
            "weight of the penalty, as used in this update",
            ("algo.beta_init", "algo.beta_factor"),
            ("beta",),
        ),
        Term(
            "KL",
            "exact mean over the rollout's states, in nats; kl is measured after the "
            "last step and drives β. ratio_max and ess tell of single samples",
            ("algo.kl_target", "algo.kl_min", "algo.kl_max"),
            ("kl", "ratio_max", "ess"),
        ),
        Term(
            "r(θ)·Â − β·KL",
            "the objective per sample; policy_loss is minus its mean over the steps",
            metrics=("policy_loss",),
        ),
        ADVANTAGE,
        CRITIC,
        BONUS,
        STEPS,
        ASCENT,
    ),
    failures=(
        Failure(
            "beta doubles row after row and kl stays above KL_max",
            "the steps within an update are so many or so long that θ is gone before "
            "the penalty pulls",
            "optimizer.lr or algo.num_epochs down",
        ),
        Failure(
            "kl far above KL_max in the first rows only, return_mean drops with it",
            "β starts too low and needs an update for every doubling",
            "algo.beta_init up",
        ),
        Failure(
            "beta halves row after row down to 1e-4, kl below KL_min",
            "updates are too short to reach the target: the penalty is as good as "
            "off, and this is is-pg",
            "optimizer.lr or algo.num_epochs up; or algo.kl_target down",
        ),
        Failure(
            "beta doubles and halves in turn, kl swings around the target",
            "the rule overshoots: a factor of 2 is coarse, the band between KL_min "
            "and KL_max narrow",
            "algo.beta_factor=1.5; or algo.kl_min and algo.kl_max further apart",
        ),
        WEAK_CRITIC,
        EARLY_ENTROPY,
    ),
)

PPO2 = Explanation(
    name="ppo2",
    title="proximal policy optimisation, clipped",
    new="a clip, and no KL",
    formula="min(r·Â_t, clip(r)·Â_t)",
    objective=(
        "J = mean[ min( r_t(θ)·Â_t,  clip(r_t(θ), 1 − ε, 1 + ε)·Â_t ) ]",
        ACTOR_CRITIC_REST,
        "r_t(θ) = π_θ(a_t|s_t)/π_θ'(a_t|s_t)",
    ),
    update=("several epochs of shuffled minibatches:   θ ← θ + η·∇J",),
    idea=(
        "Against ppo1: no KL in the objective and no β to adapt. Where moving further "
        "from θ' would still look like a gain, the objective is made flat: r > 1 + ε "
        "where Â > 0, r < 1 − ε where Â < 0. Elsewhere it is r·Â. Because of the min a "
        "sample that has moved the wrong way keeps its full gradient and can come "
        "back: the objective is never above r·Â, a pessimistic estimate."
    ),
    notes=(
        "The clip is a switch for gradients, not a bound on the policy. A sample "
        "beyond the clip is no longer pushed, but steps for other samples, and Adam's "
        "momentum, go on moving it: ratio_max above 1 + ε is usual. What bounds an "
        "update is algo.kl_stop: once a minibatch's exact KL passes it, nothing moves "
        "for the rest of the update.",
        "The critic can be clipped as well (algo.value_clip_eps). Its range is in "
        "units of the return: best together with normalize.reward=true.",
        "Names: `ppo` is an alias. In openai/baselines `ppo1` and `ppo2` are both this "
        "rung.",
    ),
    lecture="§6 PPO2",
    papers=(
        Paper("Schulman et al.", 2017, PPO, "§3, eq. 7; §5, eq. 9"),
        Paper("Wang, He, Tan", 2019, "arXiv 1903.07940", "the clip bounds no ratio"),
        Paper(
            "Engstrom et al.",
            2020,
            "arXiv 2005.12729",
            "how much is owed to details of the code",
        ),
    ),
    terms=(
        RETURN,
        RATIO,
        Term(
            "ε",
            "clip range; clip_fraction is the share of ratios outside 1 ± ε after the "
            "last step",
            ("algo.clip_eps", "algo.clip_schedule"),
            ("clip_fraction",),
        ),
        Term(
            "min(r·Â, clip(r)·Â)",
            "the objective per sample; policy_loss is minus its mean over the steps "
            "taken",
            metrics=("policy_loss",),
        ),
        Term(
            ADVANTAGE.symbol,
            ADVANTAGE.meaning + "; computed anew from the current V at every epoch "
            "with recompute_advantage",
            (*ADVANTAGE.config, "algo.recompute_advantage"),
        ),
        Term(
            DISTANCE.symbol,
            DISTANCE.meaning,
            ("algo.kl_stop",),
            DISTANCE.metrics,
        ),
        Term(
            CRITIC.symbol,
            CRITIC.meaning,
            (*CRITIC.config, "algo.value_clip_eps"),
            CRITIC.metrics,
        ),
        Term(
            BONUS.symbol,
            BONUS.meaning,
            (*BONUS.config, "algo.entropy_schedule"),
            BONUS.metrics,
        ),
        STEPS,
        ASCENT,
    ),
    failures=(
        Failure(
            "clip_fraction above about 0.3, kl above about 0.05",
            "too many or too long steps: most of an update is spent beyond the clip, "
            "where only momentum and the other samples move a ratio",
            "optimizer.lr or algo.num_epochs down; algo.kl_stop=0.03",
        ),
        Failure(
            "clip_fraction 0 in every row, kl around 1e-4",
            "ratios never reach the clip: this is is-pg with short steps",
            "optimizer.lr or algo.num_epochs up",
        ),
        Failure(
            "ratio_max in the tens while clip_fraction is small",
            "a few samples have run far beyond the clip, which does not pull them back",
            "algo.kl_stop; optimizer.max_grad_norm or optimizer.lr down",
        ),
        Failure(
            "return_mean good, then worse late in the run, kl as before",
            "updates of the same length disturb a policy that needs small corrections",
            "optimizer.schedule=linear and algo.clip_schedule=linear",
        ),
        Failure(
            "explained_variance at or below 0 for long, value_loss large",
            "V does not fit the returns, or algo.value_clip_eps is small against "
            "their scale and holds V back",
            "normalize.reward=true; algo.value_clip_eps=null; algo.value_coef up",
        ),
        EARLY_ENTROPY,
        OVERFLOW,
    ),
)
