"""What importing the packages does: little, and before torch is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def run(code: str, **environment: str) -> str:
    inherited = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=inherited | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("package", ["nmt", "service"])
@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "passive"}, "None")],
)
def test_openmp_waits_briefly_unless_the_user_chose(package: str, environment: dict[str, str], expected: str) -> None:
    code = f"import os, sys, {package}; print(os.environ.get('GOMP_SPINCOUNT')); assert 'torch' not in sys.modules"
    assert run(code, **environment) == expected


def test_importing_nmt_is_cheap() -> None:
    code = "import sys, nmt; print(*[m for m in ('torch', 'numpy', 'pydantic', 'sentencepiece') if m in sys.modules])"
    assert run(code) == ""


def test_every_public_name_can_be_imported() -> None:
    assert run("import nmt; print(all(getattr(nmt, name) for name in nmt.__all__))") == "True"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import nmt

    with pytest.raises(AttributeError, match="no attribute 'Transformer'"):
        nmt.Transformer  # noqa: B018
