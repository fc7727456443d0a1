"""How programs of `performance.py` are measured: warm, in rounds, one at a time.

A program is a process. It prints a line once everything is compiled; then, for each
number of seconds it reads, it trains about that long and prints its steps per second
and the largest memory of the process. Nothing here needs a package.
"""

import json
import resource
import sys
import time


def settings():
    """The JSON of the command line."""
    return json.loads(sys.argv[1])


def chunks(train):
    """A function that measures `train`, which trains a while and returns its steps."""

    def measure(seconds):
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            steps += train()
        return steps / (time.perf_counter() - start)

    return measure


def requests():
    """Yields the seconds of each round, once the program is warm."""
    print("ready", flush=True)
    for line in sys.stdin:
        yield float(line)


def answer(rate):
    """Sends the rate of a round."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"rate": rate, "bytes": 1024 * kilobytes}), flush=True)


def serve(train):
    """Measures `train` for every request; its first call compiles."""
    train()
    for seconds in requests():
        answer(chunks(train)(seconds))
