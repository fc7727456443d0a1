"""Workers as the tasks of a Slurm array job."""

import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pgcli.errors import ExitCode, UsageError
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.launchers.base import worker_command

GRACE_SECONDS = 120
"""Time before the limit of a job at which its workers save and end."""

SCRIPT = """\
#!/bin/sh
# Workers of a sweep, written by pgcli. A task that is stopped or out of time saves its
# trial, ends with {stopped}, and is put back into Slurm's queue.
{options}

srun --ntasks=1 {command}
code=$?
if [ "$code" -eq {stopped} ]; then
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit "$code"
"""


def script(directory: SweepDirectory, tasks: int, options: Mapping[str, str]) -> str:
    """The script of the array job.

    `options` of `sbatch` from the sweep file, by name, replace pgcli's own.
    """
    path = directory.path.resolve()
    own = {
        "job-name": f"pgcli-{path.name}",
        "array": f"0-{tasks - 1}",
        "output": str(path / "workers" / "slurm-%A_%a.log"),
        "open-mode": "append",
        "signal": f"TERM@{GRACE_SECONDS}",
    }
    lines = [f"#SBATCH --{key}={value}" for key, value in {**own, **options}.items()]
    return SCRIPT.format(
        stopped=int(ExitCode.TERMINATED),
        options="\n".join([*lines, "#SBATCH --requeue"]),
        command=shlex.join(worker_command(str(path))),
    )


def submit(directory: SweepDirectory, text: str) -> str:
    """Writes the script and submits it; the id of the job, or a UsageError."""
    path: Path = directory.path / "slurm.sh"
    path.write_text(text, encoding="utf-8")
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise UsageError(
            "`sbatch` is not on the PATH: this machine submits no Slurm jobs",
            where=str(path),
            help="submit this script where Slurm is installed",
        )
    done = subprocess.run(
        [sbatch, "--parsable", str(path)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise UsageError(
            f"sbatch refused the job: {done.stderr.strip() or done.returncode}",
            where=str(path),
            help="options of sbatch are keys of `slurm` in the sweep file",
        )
    return done.stdout.strip().partition(";")[0]
