"""schemathesis: requests made from the OpenAPI document, valid and invalid ones, against a server over a socket."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.test_clients import serve

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

# Some rules cannot be said in a schema, such as which pairs of languages there are, or that a glossary has words: what
# is valid by the schema may be refused with status 400. Status 504 is what a deadline of 1 ms asks for.
SETTINGS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 403, 404, 504]
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 504]
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    file = tmp_path_factory.mktemp("suggestions") / "suggestions.jsonl"
    yield from serve(suggestions=str(file), max_file_bytes=100_000)


def test_all_checks(url: str, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    main = "from schemathesis.cli import schemathesis; schemathesis()"
    options = ["--checks", "all", "--max-examples", "50", "--seed", "1", "--max-failures", "5"]
    command = [sys.executable, "-c", main, "run", f"{url}/openapi.json", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
