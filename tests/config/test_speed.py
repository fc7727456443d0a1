import subprocess
import sys
import time

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


def seconds() -> float:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - start


def test_bad_configuration_ends_quickly_without_arrays_or_environments() -> None:
    # 0.2 s on one idle core; the best of five, because other tests share the machine.
    assert min(seconds() for _ in range(5)) < 0.5


def test_every_logger_that_may_be_named_is_registered() -> None:
    import pgcli.loggers
    from pgcli.config.checks import SINKS

    assert set(SINKS) == set(pgcli.loggers.LOGGERS) - {"jsonl"}
