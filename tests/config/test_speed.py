import subprocess
import sys

HEAVY = ("numpy", "jax", "jaxlib", "flax", "gymnasium", "typer", "rich")

PROGRAM = f"""
import sys
from pgcli.config.load import ConfigError, resolve
try:
    resolve(file=None, flags={{}}, sets=["optimizer.lr=fast", "lr=1"])
except ConfigError as error:
    error.render()
    found = [name for name in {HEAVY!r} if name in sys.modules]
    sys.exit(f"imported {{found}}" if found else 0)
sys.exit("no error")
"""


def test_bad_configuration_is_refused_without_arrays_or_environments() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_every_logger_that_may_be_named_is_registered() -> None:
    import pgcli.storage.loggers
    from pgcli.config.checks import SINKS

    assert set(SINKS) == set(pgcli.storage.loggers.LOGGERS) - {"jsonl"}
