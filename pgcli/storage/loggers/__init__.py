"""Where metrics go. `JsonlWriter` is the record; the others may be switched on.

One file per logger. May import `pgcli.storage.files`.
"""

from pgcli.storage.loggers.base import Logger
from pgcli.storage.loggers.csv_file import CsvLogger
from pgcli.storage.loggers.jsonl import JsonlWriter
from pgcli.storage.loggers.tensorboard import TensorBoardLogger

LOGGERS: dict[str, type[Logger]] = {
    "csv": CsvLogger,
    "tensorboard": TensorBoardLogger,
}

__all__ = ["LOGGERS", "CsvLogger", "JsonlWriter", "Logger", "TensorBoardLogger"]
