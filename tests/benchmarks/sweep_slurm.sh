#!/bin/bash
# A sweep as a job of a real Slurm on this machine, left alone and with its tasks stopped
# (scancel --signal=TERM) and requeued: the logs of all trials must be byte-equal.
#
#   sudo bash tests/benchmarks/sweep_slurm.sh [PYTHON]
#
# Needs root and Debian: packages of Slurm and munge are downloaded and unpacked into a
# temporary directory, not installed. Takes about ten minutes, since Slurm lets a requeued
# task wait for two. Exits with 77 where it cannot run.

set -eu
python=$(command -v "${1:-python3}")
[ "$(id -u)" -eq 0 ] || { echo "skipped: needs root" >&2; exit 77; }
"$python" -c 'import pgcli, optuna' || { echo "skipped: no pgcli or optuna" >&2; exit 77; }
dir=$(mktemp -d)
cd "$dir"
apt-get download -qq slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge \
    libmunge2 libhwloc15 || { echo "skipped: no Debian packages" >&2; exit 77; }
for package in *.deb; do dpkg -x "$package" root; done

lib=$dir/root/usr/lib/x86_64-linux-gnu
export LD_LIBRARY_PATH=$lib:$lib/slurm-wlm SLURM_CONF=$dir/slurm.conf
export PATH=$dir/bin:$dir/root/usr/bin:$PATH
mkdir run state spool bin
head -c 1024 /dev/urandom >munge.key
chmod 600 munge.key
printf '#!/bin/sh\nexec %s -m pgcli "$@"\n' "$python" >bin/pgcli
chmod +x bin/pgcli
cat >slurm.conf <<EOF
ClusterName=test
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$dir/run/munge.sock
PluginDir=$lib/slurm-wlm
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmdPidFile=$dir/run/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
SlurmctldPort=16827
SlurmdPort=16828
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES State=UP
EOF
stop() {
    for name in slurmd slurmctld munged; do
        kill "$(cat "$dir/run/$name.pid")" || true
    done 2>/dev/null
    sleep 2
    rm -rf "$dir"
}
trap stop EXIT
root/usr/sbin/munged --force --socket run/munge.sock --key-file "$dir/munge.key" \
    --pid-file "$dir/run/munged.pid" --log-file "$dir/munged.log" --seed-file run/seed
sleep 1
root/usr/sbin/slurmctld-wlm
sleep 1
root/usr/sbin/slurmd-wlm -d "$dir/root/usr/sbin/slurmstepd-wlm"
sleep 3

for name in calm torn; do
    cat >$name.yaml <<EOF
config:
  env: {id: "func:CartPole-v1", num_envs: 8}
  rollout.num_steps: 32
  network.hidden: [16]
  steps: 40000
  seeds: 3
sampler: random
trials: 6
space:
  optimizer.lr: {log_uniform: [1e-4, 1e-2]}
  algo.gae_lambda: [0.9, 0.95]
EOF
    job=$(pgcli sweep $name.yaml --launcher slurm --workers 2 | sed 's/job //')
    if [ $name = torn ]; then
        until ls runs/sweeps/torn/runs/trial-*/checkpoints/0* >/dev/null 2>&1; do
            sleep 0.5
        done
        scancel --signal=TERM "${job}_1"
        sleep 5
        scontrol requeue "${job}_0"
    fi
    while [ -n "$(squeue --noheader)" ]; do sleep 2; done
    pgcli sweep status $name
done
cd runs/sweeps
for file in calm/runs/trial-*/{metrics,eval}.jsonl; do
    cmp "$file" "torn/${file#calm/}"
done
echo "all logs are equal"
