"""The pages: every shell line runs as printed or has a reason not to, examples run, links lead somewhere."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from nmt import Translator
from nmt.config import known_options, make_config
from tests.copy_model import exported

ROOT = Path(__file__).resolve().parents[1]
README = "README.md"
PAGES = [README, "CONTRIBUTING.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))]

NOT_RUN = {
    "make ": "installs from an index, or runs these tests",
    "python3 -m venv": "would replace the environment of the test by an empty one",
    "pip install": "installs from an index",
    "docker compose": "needs a Docker engine; tests/test_compose.py runs it",
    "MODELS=./models docker compose": "needs a Docker engine",
    "NMT_KEYS=/state/keys.sqlite docker compose": "needs a Docker engine; tests/test_compose.py runs it",
    "torchrun": "needs several GPUs",
    "python -m pytest": "runs these tests",
    "python -m nmt.experiments": "takes minutes; tests/experiments runs it with few steps",
    "python -m nmt.train multi30k-en-de": "needs a corpus that is not in the repository",
    "python -m nmt.train tatoeba-en-de": "needs a corpus that is not in the repository",
    "python -m nmt.train starter --run runs/cosine": "test_the_example_of_contributing trains it",
    "python -m nmt.export runs/NAME": "NAME stands for the reader's own run",
    "python -m nmt.evaluate runs/NAME": "NAME stands for the reader's own run",
}
"""how the shell lines begin that are not run here, and why"""
ALONE = {"python -m nmt.train": "takes minutes as printed; make demo and the containers run it"}
"""whole shell lines that are not run here, and why"""


def text_of(page: str) -> str:
    """A page's text."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text_of(page), re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(block) for _, block in found]


def commands(page: str) -> list[str]:
    """The shell commands of a page as printed; a line that ends in a backslash goes on in the next."""
    lines = "".join(blocks(page, "sh")).replace("\\\n", "\\\0").splitlines()
    return [line.replace("\0", "\n") for line in lines if line.strip()]


def bare(command: str) -> str:
    """A command on one line, without its comment."""
    return " ".join(re.sub(r"\s#.*", "", command.replace("\\\n", " ")).split())


def reason(command: str) -> str | None:
    """Why a command is not run here, or None."""
    return ALONE.get(bare(command)) or next((why for start, why in NOT_RUN.items() if command.startswith(start)), None)


EVERY_COMMAND = [(page, command) for page in PAGES for command in commands(page)]
each_command = pytest.mark.parametrize(
    ("page", "command"), EVERY_COMMAND, ids=[f"{page}-{bare(command)[:60]}" for page, command in EVERY_COMMAND]
)


# --- what can be checked without running anything ---------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert len(text_of(README).splitlines()) <= 150


def test_every_reason_is_still_needed() -> None:
    everything = [command for _, command in EVERY_COMMAND]
    assert not [start for start in NOT_RUN if not any(command.startswith(start) for command in everything)]
    assert not set(ALONE) - {bare(command) for command in everything}


def test_the_environment_is_activated_before_the_first_python() -> None:
    """The first command after `make` once failed: the user's own python knows nothing of the virtual environment."""
    first = next(i for i, command in enumerate(commands(README)) if "python -m" in command)
    assert ". .venv/bin/activate" in commands(README)[:first]


def help_of(module: str, arguments: list[str]) -> str:
    """What a command prints with --help; of a command with commands of its own, that of the one named first."""
    name = f"{module}.__main__" if module in ("service", "nmt.experiments", "nmt.kernels") else module
    subcommand = arguments[:1] if module in ("nmt.data", "nmt.experiments", "service.keys") else []
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        importlib.import_module(name).main([*subcommand, "--help"])
    return out.getvalue()


@each_command
def test_named_commands_and_options_exist(page: str, command: str) -> None:
    words = bare(command).replace("|", " | ").split()
    if "make" in words:
        target = words[words.index("make") + 1]
        assert re.search(rf"^{target}:", text_of("Makefile"), re.MULTILINE), target
    if "-m" not in words or words[words.index("-m") + 1] in ("venv", "pytest", "--"):
        return
    module, *arguments = words[words.index("-m") + 1 :]
    options = [word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)]
    known = help_of(module, arguments)
    assert known, module
    keys = {f"--{key}" for key, _ in known_options()} if module in ("nmt.train", "nmt.experiments") else set()
    for option in options:
        assert option in keys or re.search(rf"(?<![\w-]){re.escape(option)}(?![\w.-])", known), f"{module} {option}"


def test_what_pip_is_told_to_install() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    pinned = next(one for one in project["dependencies"] if one.startswith("torch"))
    for _, command in EVERY_COMMAND:
        for version in re.findall(r"torch==\S+", command):
            assert version == pinned
        for extras in re.findall(r"'\.\[(.*?)\]'", command):
            assert set(extras.split(",")) <= set(project["optional-dependencies"])


def anchors(page: str) -> set[str]:
    """The names that headings get as targets of links."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    found = re.findall(r"\]\(([^)]+)\)", text_of(page)) + re.findall(r'src="([^"]+)"', text_of(page))
    for link in found:
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(str(target.resolve().relative_to(ROOT))), link


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    for name in re.findall(r"`((?:nmt|service|tests|docs|data)/[\w./-]*)`", text_of(page)):
        made_by_the_wheel_or_the_user = name.startswith(("nmt/applications", "data/corpora", "data/cache"))
        assert made_by_the_wheel_or_the_user or (ROOT / name).exists(), name


def make_docs() -> ModuleType:
    """docs/make.py."""
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "docs" / "make.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_parts_are_up_to_date() -> None:
    make = make_docs()
    for page in make.PARTS:
        old, new = make.render(page)
        assert old == new, f"docs/{page} is out of date: make docs"


# --- what is run ------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with a model, text of the user's own and a small `mine.yaml`, like that of the README."""
    folder = tmp_path / "project"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "runs", "models", "build", "*.egg-info", "corpora", "cache")
    shutil.copytree(ROOT, folder, ignore=left_out)
    (folder / "models").mkdir()
    (folder / "models" / "starter.pt").write_bytes(exported())
    for language in ("en", "de"):
        lines = (ROOT / "data" / "starter" / f"train.{language}").read_text("utf-8").splitlines(keepends=True)
        (folder / f"my.{language}").write_text("".join(lines[:3000]), "utf-8")
    mine: dict[str, Any] = yaml.safe_load(blocks(README, "yaml")[0])
    mine["data"]["vocabulary"] = 400
    mine["model"] = {"embedding": 16, "encoder": {"hidden": 16}, "decoder": {"hidden": 16, "attention_size": 16}}
    mine["training"] |= {"max_steps": 30, "validate_every": 30}
    (folder / "mine.yaml").write_text(yaml.safe_dump(mine), "utf-8")
    return folder


def bash(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a shell that knows of no virtual environment before it is activated."""
    if not (Path(sys.prefix) / "bin" / "activate").exists():
        pytest.skip("these tests do not run in a virtual environment")
    (folder / ".venv").symlink_to(sys.prefix)
    paths = [p for p in os.environ["PATH"].split(os.pathsep) if not Path(p).is_relative_to(sys.prefix)]
    hidden = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder,
        env={**environment, "PATH": os.pathsep.join(paths), "no_proxy": "localhost"},
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip


WAIT = 'for i in $(seq 600); do curl -sf localhost:5000/ready >/dev/null && break; kill -0 "$service"; sleep 0.1; done'


def script_of(page: str) -> Iterator[str]:
    """The commands of a page that are run, as one script; the service runs beside the lines after it."""
    if page != README:
        yield ". .venv/bin/activate"
    served = False
    for command in commands(page):
        if reason(command):
            continue
        yield f"printf '%s\\n' {shell_quoted('$ ' + bare(command))}"
        if command.startswith("python -m service "):
            served = True
            yield f"{bare(command)} &\nservice=$!; trap 'kill $service' EXIT; {WAIT}"
        elif command.startswith("curl"):
            yield f"{command} --silent --show-error --fail\necho"
        else:
            yield command
    if served:
        yield "trap - EXIT; kill $service; wait $service"


def shell_quoted(text: str) -> str:
    """Text as one word of a shell."""
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(not reason(command) for command in commands(page))])
def test_every_line_runs_as_printed(project: Path, page: str) -> None:
    script = "\n".join(script_of(page))
    if "localhost:5000" in script:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", 5000)) == 0:
                pytest.skip("port 5000, which the page names, is taken on this machine")
    done = bash(project, script)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
    for sentence in re.findall(r"-d q='([^']*)'", "".join(commands(page))):
        assert f'{{"translatedText":"{sentence}"}}' in done.stdout  # the model of these tests copies


@pytest.mark.slow
def test_the_printed_answer_is_that_of_the_starter_model() -> None:
    """The README prints what the service answers to its first request."""
    model = ROOT / "models" / "starter.pt"
    if not model.exists():
        pytest.skip("no trained starter model: make demo")
    (sentence,) = re.findall(r"-d q='([^']*)'", text_of(README))
    (answer,) = re.findall(r'`\{"translatedText":"(.*?)"\}`', text_of(README))
    assert Translator.load(model).translate([sentence])[0].text == answer


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CONTRIBUTING.md" and blocks(page, "python")])
def test_every_python_example_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "starter.pt").write_bytes(exported())
    monkeypatch.chdir(tmp_path)
    for example in blocks(page, "python"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(example, page, "exec"), {"__name__": "example"})
        assert out.getvalue()


def test_every_yaml_example_is_a_config() -> None:
    for page in PAGES:
        for example in blocks(page, "yaml"):
            make_config(yaml.safe_load(example), [("training.max_epochs", "1")], page)


@pytest.mark.slow
def test_the_example_of_contributing(project: Path) -> None:
    """The attention that CONTRIBUTING.md adds, typed in as it says there."""
    layer, choice, equation, reference = blocks("CONTRIBUTING.md", "python")
    imports = ("LuongDotAttention,", "CosineAttention, LuongDotAttention,")

    def edit(name: str, *changes: tuple[str, str]) -> None:
        text = (project / name).read_text("utf-8")
        for old, new in changes:
            assert old in text, f"{name}: {old}"
            text = text.replace(old, new, 1)
        (project / name).write_text(text, "utf-8")

    with open(project / "nmt/model/attention.py", "a", encoding="utf-8") as file:
        file.write(f"\n\n{layer}")
    edit("nmt/config.py", ('"luong_general", "none"]', '"luong_general", "cosine", "none"]'))
    last = "    if decoder.heads > 1:"
    edit("nmt/model/seq2seq.py", imports, (last, textwrap.indent(choice, "    ") + last))
    known, formula = '    "luong_dot": lambda', "    # Bahdanau et al. 2015, A.1.2: e_ij"
    edit(
        "tests/model/test_attention.py",
        imports,
        (known, f'    "cosine": lambda: CosineAttention(QUERY, D),\n{known}'),
        (formula, textwrap.indent(equation, "    ") + formula),
    )
    weights = "        weights = torch.stack(scores).softmax(0)"
    edit("tests/reference_model.py", (weights, textwrap.indent(reference, "        ") + weights))
    done = bash(project, ". .venv/bin/activate\npython -m pytest -q tests/model -k 'cosine' -p no:cacheprovider")
    assert done.returncode == 0, done.stdout[-3000:]
    train = next(command for command in commands("CONTRIBUTING.md") if "--run runs/cosine" in command)
    (project / ".venv").unlink()
    done = bash(project, f". .venv/bin/activate\n{train} --training.max_steps 5")
    assert done.returncode == 0, done.stderr[-3000:]
