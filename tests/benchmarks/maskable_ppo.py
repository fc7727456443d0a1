"""MaskablePPO of sb3-contrib on Taxi-v4, with the shapes of pgcli's preset.

Run it in an environment with sb3-contrib: python maskable_ppo.py SEED STEPS
"""

import json
import sys
import time

import gymnasium
import numpy as np
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize


def masks(env):
    """The mask that Taxi returns in its info."""
    return env.unwrapped.action_mask(env.unwrapped.s).astype(bool)


def evaluate(model):
    """Mean return of 100 deterministic episodes."""
    env, returns = ActionMasker(gymnasium.make("Taxi-v4"), masks), []
    for episode in range(100):
        obs, _ = env.reset(seed=10_000 + episode)
        done, total = False, 0.0
        while not done:
            valid = env.action_masks()
            action, _ = model.predict(obs, action_masks=valid, deterministic=True)
            obs, reward, *ends, _ = env.step(int(action))
            total, done = total + reward, any(ends)
        returns.append(total)
    return float(np.mean(returns))


def main(seed, steps):
    """Trains and prints the return and the processor time."""
    torch.set_num_threads(1)
    envs = make_vec_env(
        "Taxi-v4",
        n_envs=16,
        seed=seed,
        wrapper_class=lambda env: ActionMasker(env, masks),
    )
    model = MaskablePPO(
        "MlpPolicy",
        VecNormalize(envs, norm_obs=False, norm_reward=True, gamma=0.99),
        n_steps=64,
        batch_size=64,
        n_epochs=10,
        gamma=0.99,
        gae_lambda=0.95,
        clip_range=0.2,
        ent_coef=0.01,
        learning_rate=lambda left: 1e-3 * left,
        policy_kwargs={"net_arch": [64, 64]},
        seed=seed,
        device="cpu",
    )
    start = time.process_time()
    model.learn(steps)
    seconds = time.process_time() - start
    result = {
        "return": evaluate(model),
        "processor_ms_per_step": 1e3 * seconds / model.num_timesteps,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
