"""The terminal: one object that owns stdout and stderr."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pgcli.cli.terminal.streams import BackgroundWriter, ResultStream
from pgcli.envs.waiting import Waited
from pgcli.errors import ExitCode, PgcliError
from pgcli.storage.json_files import jsonable

_STYLES = {"error": "1;31", "warning": "1;33", "help": "1;32", "bold": "1", "dim": "2"}


class Terminal:
    """Writer of results to stdout and of everything else to stderr.

    Attributes:
      err: stderr; writes neither block nor raise, regardless of the reader.
      quiet, verbose, json, debug, no_color: the global flags.
      print_above: prints a message above the live view; None without a live view.
      run_path: run directory that this command writes to, or None.
    """

    def __init__(
        self, stdout: IO[str] | None, stderr: IO[str] | None, environ: Mapping[str, str]
    ) -> None:
        self._results = ResultStream(stdout)
        self.err = BackgroundWriter(stderr)
        self.quiet = self.verbose = self.json = self.debug = False
        self._dumb = environ.get("TERM", "") == "dumb"
        self.no_color = bool(environ.get("NO_COLOR"))
        self._answered = False
        # paths are absolute, since an environment may change the working directory
        self._here = _start_of_paths()
        self.print_above: Callable[[str], None] | None = None
        self.run_path: Path | None = None

    def configure(
        self, *, quiet: bool, verbose: bool, no_color: bool, json: bool, debug: bool
    ) -> None:
        """Switches global flags on; flags given before the command stay on."""
        self.quiet |= quiet
        self.verbose |= verbose
        self.json |= json
        self.debug |= debug
        self.no_color |= no_color

    @property
    def color(self) -> bool:
        """Whether stderr shows colours."""
        return self.err.isatty() and not (self._dumb or self.no_color)

    @property
    def redraws(self) -> bool:
        """Whether stderr is a terminal on which a view can be redrawn in place."""
        return self.err.isatty() and not (self._dumb or self.quiet)

    @property
    def formats(self) -> bool:
        """Whether results are formatted: only on a terminal, and not with `--json`."""
        return self._results.isatty() and not (self._dumb or self.json)

    @property
    def unicode(self) -> bool:
        """Whether stderr can show bars and sparklines."""
        return self.err.encoding.lower().replace("-", "") in ("utf8", "utf16", "utf32")

    def style(self, text: str, style: str) -> str:
        """`text` in a style of `_STYLES`; unchanged if colours are off."""
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.color else text

    @contextmanager
    def reserved_stdout(self) -> Iterator[None]:
        """Redirects the output of environments and libraries away from stdout."""
        self._results.reserve(self.note, self.say)
        try:
            yield
        finally:
            self._results.release()

    def short(self, text: str) -> str:
        """`text` with paths relative to the directory where pgcli was started."""
        return self._here.sub("", text)

    def say(self, text: str) -> None:
        """Writes one message to stderr, above the live view if there is one."""
        text = self.short(text)
        if self.print_above is not None:
            self.print_above(text)
        else:
            self.err.write(text + "\n")

    def note(self, text: str) -> None:
        """Writes a message, except with `--quiet`."""
        if not self.quiet:
            self.say(text)

    def detail(self, text: str) -> None:
        """Writes a message, only with `--verbose`."""
        if self.verbose and not self.quiet:
            self.say(text)

    def warn(self, text: str) -> None:
        """Writes a warning, also with `--quiet`."""
        self.say(f"{self.style('warning', 'warning')}: {text}")

    def warn_late(self, call: Waited, seconds: float) -> None:
        """Warns of an environment that has not answered."""
        where = call.whereabouts()
        self.warn(
            f"{where} has not answered for {seconds:g} s; Ctrl-C ends the command"
        )

    def abandon(self, error: PgcliError) -> None:
        """Reports an error and ends the process, while its main thread is stuck."""
        os._exit(self.close(self.fail(error)))

    def answer(self, text: str, data: Mapping[str, Any]) -> None:
        """Writes the command's result: `text`, or `data` with `--json`."""
        if self._answered:
            raise RuntimeError("a command answers once")
        self._answered = True
        self.err.drain()
        text = to_json(data) if self.json else self.short(text)
        if text:
            self._results.write(text + "\n")

    def fail(self, error: PgcliError) -> int:
        """Writes an error as text or JSON; returns the exit code."""
        self.say(render_error(error, self))
        if self.json and not self._answered:
            described = {"ok": False, "error": describe_error(error)}
            self.answer("", {**(error.result or {}), **described})
        return int(error.exit_code)

    def close(self, exit_code: int) -> int:
        """Writes pending output; returns the exit code, or 1 if the result was lost."""
        failure = self._results.failure
        if failure is not None:
            self.warn(f"the result could not be written: {failure.strerror}")
        self.err.drain()
        return int(ExitCode.UNEXPECTED) if failure and exit_code == 0 else exit_code


def _start_of_paths() -> re.Pattern[str]:
    """A pattern of the working directory at the start of a path."""
    try:
        return re.compile(rf"(?<![\w./~-]){re.escape(os.getcwd())}/(?=\w)")
    except FileNotFoundError:
        return re.compile(r"(?!)")


def to_json(value: Any) -> str:
    """`value` as strict JSON on one line; numbers that are not finite become null."""
    return json.dumps(jsonable(value), ensure_ascii=False, allow_nan=False, default=str)


def describe_error(error: PgcliError) -> dict[str, Any]:
    """The `error` object of `--json`; several errors are listed under `errors`."""
    described: dict[str, Any] = {
        "code": ExitCode(error.exit_code).name.lower(),
        "exit_code": int(error.exit_code),
        "message": error.message,
        "where": error.where,
        "help": error.help,
    }
    to_list = getattr(error, "to_list", None)
    if to_list is not None:
        described["errors"] = to_list()
    return described


def render_error(error: PgcliError, terminal: Terminal) -> str:
    """An error as text, with its words in colour."""
    text = error.render().rstrip("\n")
    for word in ("error", "help"):
        pattern = rf"^( *){word}(?=: )"
        text = re.sub(pattern, rf"\1{terminal.style(word, word)}", text, flags=re.M)
    return text


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Rows as aligned columns, two spaces apart."""
    lines = [list(header), *map(list, rows)] if header else [list(row) for row in rows]
    if not lines:
        return ""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
