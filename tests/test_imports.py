"""The import rules of the design: who may know whom, read from the source and held in a fresh process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The house, from the ground up: a module imports from floors below its own only, at module level or inside functions.
# A room is a package of `nmt` taken as a whole. Every module of `nmt` stands here, or the test fails.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("nmt.errors", "nmt"),
    ("nmt.files", "nmt.text", "nmt.device", "nmt.openmp"),
    ("nmt.search", "nmt.corpus", "nmt.plot"),
    ("nmt.kernels",),
    ("nmt.artifact", "nmt.config", "nmt.translation"),
    ("nmt.model",),
    ("nmt.cli",),
    ("nmt.training", "nmt.data"),
    ("nmt.export",),
    ("nmt.loading",),
    ("nmt.translator",),
    ("nmt.train",),
    ("nmt.starter",),
    ("nmt.translate", "nmt.evaluate", "nmt.perturb", "nmt.score", "nmt.demo", "nmt.experiments"),
)
TRAINING = ("nmt.model", "nmt.corpus", "nmt.training", "nmt.config", "nmt.train")
# What the service may name, and what the exported file needs at run time: these and all that they import.
RUN_TIME_ROOTS = ("nmt.artifact", "nmt.translator", "nmt.search.engine", "nmt.openmp")
RUN_TIME_COMMANDS = ("nmt.translate", "nmt.evaluate", "nmt.score")
NOT_AT_RUN_TIME = ("numpy", "pydantic", "yaml", "sacrebleu", "tensorboard", "matplotlib")
TORCHSCRIPT = ("nmt.export", "nmt.artifact")
PLAIN_VALUES = ("nmt.text", "nmt.corpus", "nmt.model", "nmt.search")
MODEL_OF_CONFIG = "nmt.model.seq2seq"


def module_path(name: str) -> Path | None:
    """The file of a module of ours, or None."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def modules(package: str) -> list[str]:
    """All modules below a package, as dotted names."""
    files = sorted((ROOT / package).rglob("*.py"))
    return [".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in files]


def import_nodes(tree: ast.AST, *, nested: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements; with ``nested`` also those in functions. What stands under TYPE_CHECKING is not run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        elif nested or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from import_nodes(node, nested=nested)


def imports(name: str, *, nested: bool) -> set[str]:
    """Dotted names that a module imports; ``from nmt import x`` counts as nmt.x where that is a module."""
    path = module_path(name)
    assert path is not None, name
    found: set[str] = set()
    for node in import_nodes(ast.parse(path.read_text("utf-8")), nested=nested):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
            continue
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for _ in range(node.level - 1):
            package = package.rpartition(".")[0]
        module = ".".join(part for part in (package if node.level else "", node.module or "") if part)
        found.add(module)
        found.update(f"{module}.{alias.name}" for alias in node.names if module_path(f"{module}.{alias.name}"))
    return found


def closure(roots: tuple[str, ...]) -> set[str]:
    """Modules of ours that get loaded with these, by the imports at module level."""
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in seen or module_path(name) is None:
            continue
        seen.add(name)
        todo += imports(name, nested=False)
        todo += [name.rpartition(".")[0]] if "." in name else []
    return seen


def room(name: str) -> str:
    """The room that a module of ours stands in: a package of `nmt`, or the module itself."""
    return ".".join(name.split(".")[:2])


def training(names: set[str]) -> set[str]:
    """Those of the training side: a folder, or a module of that name."""
    return {name for name in names if any(name == part or name.startswith(f"{part}.") for part in TRAINING)}


def test_the_names_in_the_rules_exist() -> None:
    """A rule about a module that was renamed would hold for ever, of nothing."""
    names = [name for floor in FLOORS for name in floor]
    names += [*TRAINING, *RUN_TIME_ROOTS, *RUN_TIME_COMMANDS, *TORCHSCRIPT, *PLAIN_VALUES, MODEL_OF_CONFIG]
    assert not [name for name in names if module_path(name) is None]


def test_every_module_has_its_floor() -> None:
    known = {name for floor in FLOORS for name in floor}
    assert {room(name) for name in modules("nmt")} == known


def test_no_room_imports_from_its_own_floor_or_a_higher_one() -> None:
    """So there is no circle either, between rooms or between modules of different rooms."""
    floor_of = {name: number for number, floor in enumerate(FLOORS) for name in floor}
    wrong = {
        f"{name} imports {other}"
        for name in modules("nmt")
        for other in imports(name, nested=True)
        if other.split(".")[0] == "nmt"
        and room(other) != room(name)
        and other != "nmt"
        and floor_of[room(other)] >= floor_of[room(name)]
    }
    assert not wrong


def test_no_circle_inside_a_room() -> None:
    left = {name: {m for m in imports(name, nested=True) if module_path(m) and m != name} for name in modules("nmt")}
    left = {name: {m for m in names if room(m) == room(name)} for name, names in left.items()}
    while ends := [name for name, names in left.items() if not names & left.keys()]:
        for name in ends:
            del left[name]
    assert not left, f"a circle among {sorted(left)}"


def test_nmt_never_imports_service() -> None:
    for name in modules("nmt"):
        assert not [m for m in imports(name, nested=True) if m.split(".")[0] == "service"], name


def test_service_knows_only_the_run_time() -> None:
    allowed = closure(RUN_TIME_ROOTS)
    for name in modules("service"):
        ours = {m for m in imports(name, nested=True) if m.split(".")[0] == "nmt"}
        assert ours <= allowed, f"{name} imports {sorted(ours - allowed)}"


def test_run_time_never_imports_training() -> None:
    for name in closure(RUN_TIME_ROOTS):
        named = imports(name, nested=True)
        assert not training(named), f"{name} imports {sorted(training(named))}"
    assert not training(closure(RUN_TIME_ROOTS))


def test_run_time_needs_the_core_install_only() -> None:
    for name in closure(RUN_TIME_ROOTS):
        heavy = {m for m in imports(name, nested=False) if m.split(".")[0] in NOT_AT_RUN_TIME}
        assert not heavy, f"{name} imports {sorted(heavy)} at module level"


def test_commands_load_training_code_only_when_asked() -> None:
    for name in RUN_TIME_COMMANDS:
        loaded = training(closure((name,))) - {"nmt.corpus", "nmt.corpus.reading"}
        assert not loaded, f"{name} loads {sorted(loaded)}"


def test_only_the_model_takes_the_config() -> None:
    for name in modules("nmt"):
        if name.startswith(PLAIN_VALUES) and name != MODEL_OF_CONFIG:
            assert "nmt.config" not in imports(name, nested=True), name


def test_torchscript_lives_in_two_files() -> None:
    for name in [*modules("nmt"), *modules("service")]:
        if name in TORCHSCRIPT:
            continue
        path = module_path(name)
        assert path is not None
        uses = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if _names_torch_jit(node)]
        assert not uses, f"{name} line {uses[0].lineno if uses else 0} uses torch.jit"  # type: ignore[attr-defined]


def _names_torch_jit(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return ast.unparse(node).startswith("torch.jit")
    if isinstance(node, ast.Import):
        return any(alias.name.startswith("torch.jit") for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith("torch.jit") or (
            node.module == "torch" and any(alias.name == "jit" for alias in node.names)
        )
    return False


@pytest.mark.parametrize(
    "statement", ["import service.__main__, service.loading", "import nmt.artifact, nmt.translator, nmt.search.engine"]
)
def test_fresh_process_loads_no_training_code(statement: str) -> None:
    code = f"import sys\n{statement}\nprint(*[m for m in sys.modules if m.startswith('nmt')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not training(set(done.stdout.split())), done.stdout


def test_importing_the_service_loads_no_model() -> None:
    """`uvicorn service.app:app` must be importable anywhere; torch itself is loaded with the models."""
    code = "import sys, service.app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
