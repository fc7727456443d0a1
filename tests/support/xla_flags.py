"""Options of XLA for a process."""

from pgcli.versions import compiler_options


def xla_flags(**options: bool | int | str) -> str:
    """The accepted options as a value of the variable XLA_FLAGS.

    XLA ends the process on an unknown flag.
    """
    known = compiler_options(**options)
    return " ".join(f"--{name}={str(value).lower()}" for name, value in known.items())
