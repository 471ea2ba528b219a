"""What importing the packages does: little, and before torch is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_nmt_is_cheap() -> None:
    code = "import sys, nmt; print(*[m for m in ('torch', 'numpy', 'pydantic', 'sentencepiece') if m in sys.modules])"
    assert run(code) == ""


def test_every_public_name_can_be_imported() -> None:
    assert run("import nmt; print(all(getattr(nmt, name) for name in nmt.__all__))") == "True"


def test_an_unknown_name_is_an_attribute_error() -> None:
    import nmt

    with pytest.raises(AttributeError, match="no attribute 'Transformer'"):
        nmt.Transformer  # noqa: B018
