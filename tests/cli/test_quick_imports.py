"""Imports without the garbage collector."""

import gc
import sys

import jax  # noqa: F401
import pytest

from pgcli.cli.quick_imports import quick_imports


def test_first_import_of_jax_is_without_the_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    monkeypatch.delitem(sys.modules, "jax")
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert frozen == [False]


def test_process_that_has_imported_jax_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: pytest.fail("frozen"))
    with quick_imports():
        assert gc.isenabled()
