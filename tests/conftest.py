"""What all tests share: the option `--device cuda` and the fixture `device`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device",
        default="cpu",
        choices=("cpu", "cuda"),
        help="device of the tests that take one; cuda also runs those that need a GPU (default: cpu)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--device") == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda was asked for, but torch finds no CUDA device")
    if config.getoption("--device") == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # asked when triton is imported, by whomever


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """The device asked for with `--device`."""
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(scope="session")
def gpu(device: torch.device) -> torch.device:
    """The CUDA device; tests that take it are skipped unless `--device cuda` is given."""
    if device.type != "cuda":
        pytest.skip("needs a GPU: run with --device cuda")
    return device


@pytest.fixture(scope="session")
def triton_device(device: torch.device) -> torch.device:
    """Where Triton's programs run: on the GPU, or where there is none on the CPU in Triton's interpreter."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs triton, which comes with torch for CUDA")
    version = tuple(map(int, importlib.metadata.version("triton").split(".")[:2]))
    if device.type == "cpu" and version < (3, 7):
        pytest.skip("the interpreter of triton below 3.7 does not know today's NumPy")
    return device
