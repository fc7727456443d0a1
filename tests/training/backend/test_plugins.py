"""Accelerators that cannot be used, and why."""

import logging

import jax
import pytest

from pgcli.errors import AcceleratorError
from pgcli.training.backend import accelerator, plugins


def refused(requested: str, monkeypatch: pytest.MonkeyPatch, *, plugin: bool) -> str:
    """The help for an accelerator that JAX does not find."""

    def devices(platform: str | None) -> None:
        raise RuntimeError(f"Unknown backend {platform}")

    monkeypatch.setattr(plugins, "installed", lambda platform: plugin)
    monkeypatch.setattr(jax, "devices", devices)
    with pytest.raises(AcceleratorError) as caught:
        accelerator.start(requested, host_envs=False, cpu_threads=1)
    return str(caught.value.help)


@pytest.mark.parametrize("requested", ["gpu", "tpu"])
def test_help_names_the_plugin_the_driver_or_the_variable(
    requested: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAX_PLATFORMS")
    assert "pip install" in refused(requested, monkeypatch, plugin=False)
    text = refused(requested, monkeypatch, plugin=True)
    assert f"finds no {requested.upper()}" in text
    assert "pip install" not in text
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    text = refused(requested, monkeypatch, plugin=True)
    assert text == "JAX_PLATFORMS=cpu is set and excludes it; unset JAX_PLATFORMS"


def test_plugin_that_does_not_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def devices(platform: str | None) -> list[str]:
        try:
            raise RuntimeError("no cuDNN\nmore")
        except RuntimeError:  # as JAX does
            log = logging.getLogger("jax._src.xla_bridge")
            log.exception("Exception when calling %s", "xla_cuda12")
        return ["cpu"]

    monkeypatch.setattr(jax, "devices", devices)
    assert accelerator.find_devices() == ["cpu"]
    (record,) = caplog.records
    text = logging.Formatter().format(record)
    assert text == "warning: Exception when calling xla_cuda12: no cuDNN"
