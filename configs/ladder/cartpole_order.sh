#!/bin/sh
# The order of the ladder on CartPole: every rung takes its learning rate by seeds 100 to 104
# and is compared on seeds 0 to 19. 320 runs; run again, it goes on where it was.
set -eu
exec pgcli ladder --env func:CartPole-v1 --steps 200000 --seeds 20 \
  --tune 3e-4,1e-3,3e-3,1e-2 --tune-seeds 100:105 \
  --out runs/ladder-cartpole-order "$@"
