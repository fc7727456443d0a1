"""The directory of named runs: `PGCLI_RUNS` if it is set, else `runs/`."""

import os
from pathlib import Path

RUNS_DIR = Path(os.environ.get("PGCLI_RUNS") or "runs")
