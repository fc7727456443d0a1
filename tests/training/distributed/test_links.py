"""Processes of a run: flags, joining, commands, refusals and losses; without JAX."""

import os
import signal
import socket
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest
from support.processes import HERE, RUN, a_follower, a_leader, joined

from pgcli import versions
from pgcli.envs.workers.messages import encode
from pgcli.errors import ExitCode, UsageError
from pgcli.training.distributed import follow, leader, link
from pgcli.training.distributed.greeting import hello
from pgcli.training.distributed.leader import Leader
from pgcli.training.distributed.processes import Processes, from_flags
from pgcli.training.reporter import Reporter
from pgcli.training.stop_signals import StopFlag

PROCESS = Processes(HERE, 1, 1, 2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("maybe", None, None), "--distributed maybe"),
        (("auto", "h:1", "0/2"), "use either"),
        ((None, "h:1", None), "needs `--process I/N`"),
        ((None, None, "0/2"), "needs `--coordinator"),
        ((None, "h", "0/2"), "expected HOST:PORT"),
        ((None, "h:0", "0/2"), "from 1 to 65535"),
        ((None, "h:70000", "0/2"), "from 1 to 65535"),
        ((None, "h:1", "2/2"), "numbered from 0"),
        ((None, "h:1", "1"), "expected I/N"),
        ((None, "h:1", "-1/2"), "expected I/N"),
    ],
)
def test_flags_that_are_wrong_are_refused(
    flags: tuple[str | None, ...], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        from_flags(*flags)
    assert message in error.value.message


def test_flags_name_the_processes() -> None:
    assert from_flags(None, "[fe80::1]:77", "1/3") == Processes("fe80::1", 77, 1, 3)
    assert Processes("fe80::1", 77, 1, 3).address == "[fe80::1]:77"
    assert from_flags(None, None, None) is None
    assert from_flags(None, "h:1", "0/1") is None


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        (
            {
                "SLURM_JOB_ID": "4100",
                "SLURM_STEP_NODELIST": "node[07-09]",
                "SLURM_NTASKS": "3",
                "SLURM_PROCID": "2",
                "SLURM_LOCALID": "0",
            },
            Processes("node07", 61444, 2, 3, (0,)),
        ),
        (
            {
                "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911",
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_RANK": "1",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
            },
            Processes("10.96.0.1", 62624, 1, 2, (1,)),
        ),
    ],
)
def test_clusters_are_detected(
    variables: Mapping[str, str], found: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert from_flags("auto", None, None) == found


def test_without_a_cluster_the_error_names_the_other_flags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(versions, "detect_cluster", lambda: None)
    with pytest.raises(UsageError) as error:
        from_flags("auto", None, None)
    assert "--coordinator HOST:PORT" in str(error.value.help)


def test_commands_are_computed_by_both() -> None:
    commands = {"add": lambda a, b: {"sum": a + b}}
    with (
        a_leader() as lead,
        a_follower(lead, commands) as ends,
        lead.together("add", a=1, b=2) as replies,
    ):
        assert replies() == {1: {"number": 2, "sum": 3}}
    assert ends == [None]


def test_replies_are_in_the_order_of_processes_not_of_joining() -> None:
    with (
        a_leader(3) as lead,
        closing(joined(lead, 2, 3)) as second,
        closing(joined(lead, 1, 3)) as first,
    ):
        lead.wait_for_all()
        with lead.together("x") as replies:
            for connection in (second, first):
                connection.send("done", number=1)
            assert list(replies()) == [1, 2]


def fail() -> None:
    raise UsageError("no such package", help="install it")


def test_an_error_of_a_process_ends_all_with_its_exit_code() -> None:
    with (
        pytest.raises(UsageError) as error,
        a_leader() as lead,
        a_follower(lead, {"fail": fail}),
        lead.together("fail"),
    ):
        pass
    assert error.value.message == "process 1: no such package"


def test_a_signal_to_any_process_stops_process_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = threading.Event()
    received: list[int] = []

    def kill(process: int, number: int) -> None:
        received.append(number)
        sent.set()

    monkeypatch.setattr(os, "kill", kill)
    flag = StopFlag()
    with a_leader() as lead, a_follower(lead, {}, flag):
        flag.code = ExitCode.TERMINATED
        assert sent.wait(10)
    assert received == [signal.SIGTERM]


def test_a_lost_process_ends_a_command() -> None:
    with a_leader() as lead:
        connection = joined(lead)
        lead.wait_for_all()
        connection.close()  # as by a kill: without a word
        with pytest.raises(link.ProcessLostError) as error, lead.together("add"):
            pass
    assert error.value.exit_code == ExitCode.ACCELERATOR
    assert "process 1 is lost" in error.value.message


def test_silence_counts_as_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "SILENCE_SECONDS", 0.2)
    with a_leader() as lead, closing(joined(lead)):
        lead.wait_for_all()
        with pytest.raises(link.ProcessLostError) as error:
            lead.receive()
    assert "no sign of life" in error.value.message


@pytest.mark.parametrize(
    ("index", "count", "given", "message"),
    [
        (1, 3, RUN, "as one of 3, and process 0 as one of 2"),
        (1, 2, None, "another command"),
        (1, 2, RUN.with_values({"seed": 4}), "seed is 4 there and 0 here"),
    ],
)
def test_a_process_that_was_started_otherwise_ends_all(
    index: int, count: int, given: Any, message: str
) -> None:
    with a_leader() as lead:
        with pytest.raises(UsageError) as theirs:
            joined(lead, index, count, given)
        with pytest.raises(UsageError) as ours:
            lead.wait_for_all()
    assert message in theirs.value.message
    assert message in ours.value.message


def test_other_versions_end_all(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = dict(versions.recorded())
    answers = iter([{**ours, "jax": "0.9.1"}, ours])
    monkeypatch.setattr(versions, "recorded", lambda: next(answers))
    with a_leader() as lead, pytest.raises(UsageError) as error:
        joined(lead)
    assert f"jax 0.9.1 there and {ours['jax']} here" in error.value.message


def test_a_process_that_is_started_twice_is_refused_and_the_run_is_not() -> None:
    with a_leader() as lead, closing(joined(lead)):
        lead.wait_for_all()
        with pytest.raises(UsageError, match="is running already"):
            joined(lead)
        lead.wait_for_all()


def test_a_port_that_is_taken_is_a_usage_error() -> None:
    with a_leader() as lead, pytest.raises(UsageError, match="is taken"):
        Leader(lead.processes, RUN, Reporter(), StopFlag())


def test_an_address_of_another_machine_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="cannot listen"):
        Leader(Processes("192.0.2.1", 7777, 0, 2), RUN, Reporter(), StopFlag())


def test_missing_processes_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader, "JOIN_SECONDS", 0.1)
    monkeypatch.setattr(follow, "JOIN_SECONDS", 0.1)
    with a_leader(3) as lead:
        with pytest.raises(link.ProcessLostError) as error:
            lead.wait_for_all()
        port = lead.processes.port
    assert "2 of 3 processes did not join within 0.1 s: 1, 2" in error.value.message
    with pytest.raises(link.ProcessLostError, match="process 0 did not answer"):
        follow.join(Processes(HERE, port, 1, 2), RUN, Reporter(), StopFlag())


def framed(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "noise",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(8),
        framed(b"hello"),
        framed(b"[" * 100_000),
        framed(b'["hello", {"process": 1, "processes": 2, "versions": []}]'),
        framed(encode(["hello", {**hello(PROCESS, RUN), "config": {"algo": 3}}])),
    ],
    ids=range(7),
)
def test_noise_on_the_port_is_ignored(noise: bytes) -> None:
    with a_leader() as lead:
        with socket.create_connection((HERE, lead.processes.port)) as other:
            other.sendall(noise)
        with closing(joined(lead)):
            lead.wait_for_all()
