"""Writers of metrics: `JsonlWriter` writes the record, `LOGGERS` are optional.

One file per logger. May import `pgcli.errors` and `pgcli.storage.files`.
"""

import importlib.util
from collections.abc import Iterable

from pgcli.errors import UsageError
from pgcli.extras import pip_install
from pgcli.storage.loggers.base import Logger
from pgcli.storage.loggers.csv_file import CsvLogger
from pgcli.storage.loggers.jsonl import JsonlWriter
from pgcli.storage.loggers.tensorboard import TensorBoardLogger

LOGGERS: dict[str, type[Logger]] = {"csv": CsvLogger, "tensorboard": TensorBoardLogger}

PACKAGES = {"tensorboard": "tensorboardX"}
"""Loggers that need a package, installed by the extra of the same name."""


def require_packages(names: Iterable[str]) -> None:
    """Checks that the packages of loggers are installed.

    Raises:
      UsageError: one is missing.
    """
    for name in names:
        package = PACKAGES.get(name)
        if package is not None and importlib.util.find_spec(package) is None:
            raise UsageError(
                f"the logger `{name}` needs {package}, which is not installed",
                help=f"{pip_install(name)}, or leave `{name}` out of log.sinks",
            )


__all__ = [
    "LOGGERS",
    "CsvLogger",
    "JsonlWriter",
    "Logger",
    "TensorBoardLogger",
    "require_packages",
]
