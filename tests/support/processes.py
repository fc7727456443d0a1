"""Process 0 of a run and others, in threads of one process."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from support.small_runs import config

from pgcli.errors import PgcliError
from pgcli.training.distributed import follow, link
from pgcli.training.distributed.leader import Leader
from pgcli.training.distributed.processes import Processes
from pgcli.training.reporter import Reporter
from pgcli.training.stop_signals import StopFlag

RUN = config("func:Pendulum-v1", algo="a2c")
HERE = "127.0.0.1"


@contextmanager
def a_leader(count: int = 2, given: Any = RUN) -> Iterator[Leader]:
    processes = Processes(HERE, link.free_port(HERE), 0, count)
    lead = Leader(processes, given, Reporter(), StopFlag())
    error: BaseException | None = None
    try:
        yield lead
    except BaseException as failure:
        error = failure
        raise
    finally:
        lead.end(error)


def joined(lead: Leader, index: int = 1, count: int = 2, given: Any = RUN) -> link.Link:
    processes = Processes(HERE, lead.processes.port, index, count)
    return follow.join(processes, given, Reporter(), StopFlag())


Results = list[BaseException | None]


@contextmanager
def a_follower(
    lead: Leader, commands: follow.Commands, flag: StopFlag | None = None
) -> Iterator[Results]:
    """Obeys in a thread; the list gets the error that ended it, or None."""
    ends: Results = []

    def obey(connection: link.Link) -> None:
        with closing(connection):
            try:
                follow.obey(
                    connection, lambda *_: commands, Reporter(), flag or StopFlag()
                )
            except PgcliError as error:
                ends.append(error)
            else:
                ends.append(None)

    thread = threading.Thread(target=obey, args=(joined(lead),))
    thread.start()
    lead.wait_for_all()
    with lead.together("prepare", config={}):
        pass
    yield ends
    lead.end(None)
    thread.join(10)
