#!/bin/sh
# The order of the ladder on CartPole: the learning rate of every rung is chosen on seeds 100 to
# 104, and the rungs are compared on seeds 0 to 19. 360 runs; repeat the command to continue.
set -eu
exec pgcli ladder --env func:CartPole-v1 --steps 200000 --seeds 20 \
  --tune 3e-4,1e-3,3e-3,1e-2 --tune-seeds 100:105 \
  --out runs/ladder-cartpole-order "$@"
