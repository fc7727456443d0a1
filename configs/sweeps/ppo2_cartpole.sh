#!/bin/sh
# Learning rates × seeds: PPO (clipped) on CartPole-v1, one run after the other, and a
# table at the end: learning rate, seeds, and the mean, minimum and maximum over the seeds of
# the return of the final evaluation.
#
#   sh configs/sweeps/ppo2_cartpole.sh
#   LRS="1e-3 3e-3" SEEDS="0 1 2" ENV=func:CartPole-v1 sh configs/sweeps/ppo2_cartpole.sh
#
# Repeat the command after an interruption: finished runs are not repeated, and the
# interrupted run continues from its last checkpoint. Change only LRS and SEEDS, because
# `pgcli train --resume auto` refuses a run that was started with other settings.

set -u

PGCLI=${PGCLI:-pgcli}                    # may have arguments: "python -m pgcli"
ENV=${ENV:-CartPole-v1}
LRS=${LRS:-"1e-4 3e-4 1e-3 3e-3"}
SEEDS=${SEEDS:-"0 1 2 3 4"}
STEPS=${STEPS:-}                         # empty: the preset's
RUNS_DIR=${RUNS_DIR:-runs/sweeps/ppo2_cartpole}

mkdir -p "$RUNS_DIR" || exit 1
answer=$(mktemp) || exit 1
scores=$(mktemp) || exit 1
child=
trap 'rm -f "$answer" "$scores"' EXIT
trap 'stop 130' INT
trap 'stop 143' TERM HUP

# Passes a signal to the run, which commits a checkpoint; $1 is the exit code.
stop() {
    trap '' INT TERM HUP
    if [ -n "$child" ]; then
        kill -TERM "$child" 2>/dev/null
        wait "$child"
    fi
    echo "stopped; run this script again to go on" >&2
    exit "$1"
}

# Trains or continues one run, or reads its result; $1 is the learning rate, $2 the seed.
train() {
    set -- train --algo ppo2 --env "$ENV" --set "optimizer.lr=$1" --seed "$2" \
        --name "$(echo "$ENV-lr$1-seed$2" | tr -c 'A-Za-z0-9._\n-' _)" \
        --runs-dir "$RUNS_DIR" --resume auto -q --json
    if [ -n "$STEPS" ]; then
        set -- "$@" --steps "$STEPS"
    fi
    while :; do
        $PGCLI "$@" >"$answer" &         # PGCLI is split into words on purpose
        child=$!
        wait "$child"
        code=$?
        child=
        if [ "$code" -ne 7 ]; then
            return "$code"
        fi
        echo "another process is writing this run; waiting for it" >&2
        sleep 2
    done
}

failed=0
for lr in $LRS; do
    for seed in $SEEDS; do
        train "$lr" "$seed"
        code=$?
        case $code in
        0) ;;
        130 | 143) stop "$code" ;;
        *)
            failed=$((failed + 1))
            echo "lr $lr, seed $seed: failed with exit code $code" >&2
            continue
            ;;
        esac
        # the last "eval" of the answer is the final evaluation; the first one is a
        # section of the configuration
        score=$(sed -n 's/.*"eval": {[^}]*"return_mean": \([-+.0-9e]*\).*/\1/p' "$answer")
        echo "lr $lr, seed $seed: return $score" >&2
        echo "$lr $score" >>"$scores"
    done
done

for lr in $LRS; do
    awk -v lr="$lr" '
        $1 == lr && NF == 2 {
            if (n == 0 || $2 < low) low = $2
            if (n == 0 || $2 > high) high = $2
            sum += $2
            n += 1
        }
        END {
            if (n) printf "%s %d %.1f %.1f %.1f\n", lr, n, sum / n, low, high
            else printf "%s 0 - - -\n", lr
        }' "$scores"
done | awk '
    BEGIN { printf "%-10s %5s %10s %10s %10s\n", "lr", "seeds", "mean", "min", "max" }
    { printf "%-10s %5s %10s %10s %10s\n", $1, $2, $3, $4, $5 }'

[ "$failed" -eq 0 ]
