"""Where metrics go. `JsonlWriter` is the record; these may be switched on."""

from pgcli.loggers.base import Logger
from pgcli.loggers.csv_file import CsvLogger
from pgcli.loggers.jsonl import JsonlWriter
from pgcli.loggers.tensorboard import TensorBoardLogger

LOGGERS: dict[str, type[Logger]] = {
    "csv": CsvLogger,
    "tensorboard": TensorBoardLogger,
}

__all__ = ["LOGGERS", "CsvLogger", "JsonlWriter", "Logger", "TensorBoardLogger"]
