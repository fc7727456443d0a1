"""Names in other libraries and papers: of keys that are ours, and of algorithms."""

from collections.abc import Mapping

_KEYS: Mapping[str, str] = {
    "algo.clip_eps": "clip_coef clip_param clip_range clip_ratio cliprange",
    "algo.entropy_coef": "ent_coef ent_coeff entropy entropy_coeff entropy_weight",
    "algo.gae_lambda": "gae_lam lam lambda lambda_",
    "algo.gamma": "discount discount_factor",
    "algo.kl_stop": "target_kl",
    "algo.num_epochs": "n_epochs noptepochs num_epoch num_sgd_iter update_epochs",
    "algo.num_minibatches": "batch_size minibatch_size n_minibatches nminibatches",
    "algo.value_coef": "value_loss_coef vf_coef vf_loss_coeff",
    "checkpoint.every": "checkpoint_freq checkpoint_frequency save_freq save_interval",
    "env.id": "env_id env_name gym_id",
    "env.max_episode_steps": "max_ep_len max_episode_length time_limit",
    "env.num_envs": "n_envs num_env num_envs_per_worker",
    "env.obs_keys": "cnn_keys mlp_keys observation_keys",
    "eval.episodes": "eval_episodes n_eval_episodes",
    "eval.every": "eval_freq eval_frequency eval_interval",
    "log.every": "log_freq log_interval",
    "network.activation": "activation_fn",
    "network.hidden": "hidden_size hidden_sizes net_arch",
    "network.init": "ortho_init orthogonal_init",
    "network.layer_norm": "layer_normalization layernorm use_layer_norm",
    "network.torso": "features_extractor features_extractor_class",
    "normalize.obs": "norm_obs normalize_obs normalize_observation",
    "normalize.reward": "norm_reward normalize_reward",
    "optimizer.eps": "adam_eps",
    "optimizer.lr": "alpha learning_rate step_size",
    "optimizer.max_grad_norm": "clip_grad_norm grad_clip max_gradient_norm",
    "optimizer.schedule": "lr_schedule",
    "rollout.num_steps": "n_steps nsteps rollout_length unroll_length",
    "steps": "n_timesteps timesteps total_timesteps",
}
OTHER_NAMES: Mapping[str, str] = {
    name: key for key, names in _KEYS.items() for name in names.split()
}
"""Name in another library -> our key."""

SIZES = frozenset(
    {
        *("activation_fn", "batch_size", "hidden_size", "hidden_sizes", "lr_schedule"),
        *("minibatch_size", "n_minibatches", "net_arch", "features_extractor"),
        *("features_extractor_class", "ortho_init", "orthogonal_init"),
    }
)
"""Those of `OTHER_NAMES` whose values are not those of our key."""

_OFF_POLICY = (
    "it is off-policy, and pgcli trains by policy gradient; its nearest is `ppo2`. "
    "Stable-Baselines3 and SBX have SAC, TD3 and DQN"
)
_ALGORITHMS: Mapping[str, str] = {
    _OFF_POLICY: "c51 crossq d4pg ddpg ddqn dqn dqn-atari dreamer droq her iqn mpo "
    "qr-dqn qrdqn r2d2 rainbow redq sac td3 td7 tqc",
    "`ppo2` takes action masks by `env.action_mask`": "maskable-ppo maskableppo "
    "ppomask",
    "`ppo2` with --set network.memory=lstm": "ppo-lstm ppo-recurrent ppolstm "
    "recurrent-ppo recurrentppo rppo",
    "`a2c` is its synchronous form": "a3c",
    "`a2c` learns from advantages over a critic": "ac actor-critic",
    "`ppo2` is the nearest": "appo ddppo dppo impala pg-ppo ppg rpo spo v-mpo vmpo",
    "`ppo2` is PPO with clipping": "clip-ppo ppo-clip ppo-clipped",
    "`ppo1` is PPO with a KL penalty": "ppo-kl ppo-penalty",
    "`reinforce`, or `reinforce-baseline` with a baseline": "pg policy-gradient",
    "`reinforce` for episodes, or `a2c`": "ars es cma-es cmaes",
    "`npg` or `trpo` steps along the natural gradient": "acer acktr k-fac natural-pg",
    "imitation is not part of pgcli; the package `imitation` has it": "airl bc gail",
}
OTHER_ALGORITHMS: Mapping[str, str] = {
    name: remedy for remedy, names in _ALGORITHMS.items() for name in names.split()
}
"""Algorithm that pgcli does not have -> what to take instead."""
