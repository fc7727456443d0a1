"""Stable-Baselines3, sb3-contrib and SBX on Gymnasium environments, on the CPU.

`{"algo": "PPO", "env": ID, "num_envs": N, "num_steps": T, …}`; further keys are
arguments of the algorithm. "SBX" is PPO of SBX; `normalize` adds VecNormalize.
"""

import importlib

from serve import serve, settings
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

MODULES = {
    "PPO": "stable_baselines3",
    "A2C": "stable_baselines3",
    "SBX": "sbx",
    "TRPO": "sb3_contrib",
    "RecurrentPPO": "sb3_contrib",
}


def main():
    """Trains a few rollouts at a time."""
    given = settings()
    algo, policy = given.pop("algo"), "MlpPolicy"
    if algo != "SBX":
        import torch

        torch.set_num_threads(given.pop("threads", 1))
    if algo == "RecurrentPPO":
        policy = "MlpLstmPolicy"
    normalize, num_steps = given.pop("normalize", False), given.pop("num_steps")
    env = make_vec_env(given.pop("env"), n_envs=given.pop("num_envs"), seed=0)
    if normalize:
        env = VecNormalize(env)
    hidden = given.pop("hidden", [64, 64])
    network = {"net_arch": {"pi": hidden, "vf": hidden}, **given.pop("network", {})}
    kind = getattr(importlib.import_module(MODULES[algo]), algo.replace("SBX", "PPO"))
    model = kind(
        policy, env, n_steps=num_steps, policy_kwargs=network, device="cpu", **given
    )
    steps = num_steps * env.num_envs
    steps *= max(1, 2048 // steps)

    def train():
        before = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False)
        return model.num_timesteps - before

    serve(train)


if __name__ == "__main__":
    main()
