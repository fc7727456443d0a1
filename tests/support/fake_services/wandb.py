"""As much of `wandb` as pgcli uses; FAKE_WANDB makes it fail."""

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def record(**event: Any) -> None:
    with Path(os.environ["FAKE_SERVICES"]).open("a") as stream:
        stream.write(json.dumps(event) + "\n")


class Error(Exception):
    pass


def misbehave(place: str) -> None:
    match os.environ.get("FAKE_WANDB", "").partition("-"):
        case ("raise", _, at) if at == place:
            raise RuntimeError(f"in {place}\nand more")
        case ("offline", _, at) if at == place:
            os.environ["FAKE_WANDB"] = ""
            raise Error("no network")
        case ("hang", _, at) if at == place:
            time.sleep(600)
        case ("crash", _, at) if at == place:
            os.kill(os.getpid(), signal.SIGKILL)


misbehave("import")
Settings = SimpleNamespace


def Html(text: str, inject: bool) -> str:  # noqa: N802
    return text[:4]


class Run:
    def __init__(self, id: str, url: str | None) -> None:
        self.id, self.url = id, url
        self.config = SimpleNamespace(update=self._configure)

    def _configure(self, tree: Any, allow_val_change: bool) -> None:
        record(config=self.id, seed=tree["seed"], lr=tree["optimizer"]["lr"])

    def define_metric(self, name: str, step_metric: str) -> None:
        record(axis=step_metric, of=name)

    def log(self, values: Any) -> None:
        misbehave("log")
        record(log=self.id, values=values)

    def finish(self, exit_code: int) -> None:
        misbehave("finish")
        record(finish=self.id, exit_code=exit_code)


def init(*, id: str, mode: str | None, **given: Any) -> Run:
    misbehave("init")
    kept = {key: given[key] for key in ("project", "group", "name", "resume")}
    record(init=id, mode=mode, **kept)
    return Run(id, None if mode == "offline" else f"https://wandb.test/{id}")


def teardown() -> None:
    record(teardown=True)
