#!/bin/sh
# The claim of the PPO paper on MuJoCo: ten epochs per rollout without a limit on the policy
# (is-pg) against the KL penalty (ppo1) and the clip (ppo2), all else equal.
# Needs pip install 'pgcli-jax[mujoco]'. ENV=Hopper-v5 chooses another task.
set -eu
exec pgcli ladder --env "${ENV:-HalfCheetah-v5}" --algos is-pg,ppo1,ppo2 \
  --steps 300000 --seeds 3 \
  --set env.num_envs=1 --set rollout.num_steps=2048 \
  --set algo.num_epochs=10 --set algo.num_minibatches=32 \
  --set optimizer.lr=3e-4 --set normalize.obs=true --set normalize.reward=true \
  --out "runs/ladder-sign-${ENV:-HalfCheetah-v5}" "$@"
