"""Writers of metrics: `JsonlWriter` writes the record, `LOGGERS` are optional.

One file per logger. `sinks` passes the rows of a run to all of them; those that talk to
a service do so in a process of their own (`follow`). May import `pgcli.config`,
`pgcli.errors` and the other modules of `pgcli.storage`.
"""

import importlib.util
from collections.abc import Iterable

from pgcli.errors import UsageError
from pgcli.extras import pip_install
from pgcli.storage.loggers.base import Logger
from pgcli.storage.loggers.csv_file import CsvLogger
from pgcli.storage.loggers.jsonl import JsonlWriter
from pgcli.storage.loggers.mlflow import MlflowLogger
from pgcli.storage.loggers.tensorboard import TensorBoardLogger
from pgcli.storage.loggers.wandb import WandbLogger

LOGGERS: dict[str, type[Logger]] = {
    "csv": CsvLogger,
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "mlflow": MlflowLogger,
}

IN_BACKGROUND = ("wandb", "mlflow")
"""Loggers of services, which may block; each runs in a process of its own."""

PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}
"""Loggers that need a package, installed by the extra of the same name."""


def require_packages(names: Iterable[str]) -> None:
    """Raises a UsageError if the package of a logger is not installed."""
    for name in names:
        package = PACKAGES.get(name)
        spec = package and importlib.util.find_spec(package)
        # a directory of that name, such as `wandb/`, has a specification without origin
        if package and (not spec or not spec.origin):
            raise UsageError(
                f"the logger `{name}` needs {package}, which is not installed",
                help=f"{pip_install(name)}, or leave `{name}` out of log.sinks",
            )


__all__ = [
    "LOGGERS",
    "CsvLogger",
    "JsonlWriter",
    "Logger",
    "MlflowLogger",
    "TensorBoardLogger",
    "WandbLogger",
    "require_packages",
]
