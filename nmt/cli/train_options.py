"""The command line of `python -m nmt.train`: a config, a run folder, and any key of the config as an option."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.launch import interpreter
from nmt.cli.parser import Parser
from nmt.config import CONFIGS, Config, expected, known_options, load_config, unknown_option
from nmt.errors import CheckpointError, ConfigError

_RESUMABLE = (
    "max_steps",
    "max_epochs",
    "max_minutes",
    "patience",
    "log_every",
    "validate_every",
    "threads",
    "device",
)
RESUME_KEYS = tuple(f"training.{name}" for name in _RESUMABLE)
"""keys that may change when a run is resumed"""


def parse(argv: Sequence[str] | None) -> tuple[Config, Path, bool]:
    """Parse the command line into the config, the run folder, and whether to resume the run there.

    Raises `ConfigError` for a bad config or option, and `CheckpointError` for a run folder that does not fit.
    """
    parser = Parser("python -m nmt.train", "Train a model into a run folder.")
    parser.epilog = f"Any key of the config can be set on the command line:\n{_config_help()}"
    parser.add_argument("config", nargs="?", help="YAML file, or name of a config in nmt/configs (default: starter)")
    parser.add_argument("--run", type=Path, metavar="DIR", help="run folder (default: runs/<name of the config>)")
    parser.add_argument("--resume", action="store_true", help="resume the run in the run folder")
    overrides, left = separate(sys.argv[1:] if argv is None else argv)
    known = parser.parse_args(left)
    path = Path(known.config or "starter")
    if not path.exists() and (CONFIGS / f"{path.name}.yaml").exists() and path.suffix == "":
        path = CONFIGS / f"{path.name}.yaml"
    folder: Path = known.run or Path("runs") / path.stem
    if known.resume:
        if not (folder / "last.pt").exists():
            raise CheckpointError(f"{folder}: nothing to resume (no last.pt); leave out --resume to start a run there")
        bad = [key for key, _ in overrides if key not in RESUME_KEYS]
        if bad:
            raise ConfigError(f"--{bad[0]}: cannot change when resuming; only {', '.join(RESUME_KEYS)} can")
        return load_config(folder / "config.yaml", overrides), folder, True
    if (folder / "last.pt").exists() or (folder / "best.pt").exists():
        raise CheckpointError(f"{folder}: already holds a run; resume it by --resume, or name another folder by --run")
    return load_config(path, overrides), folder, False


def _config_help() -> str:
    """All keys of the config with what they take and their defaults."""
    lines: list[str] = []
    for key, field in known_options():
        default = field.get_default(call_default_factory=True)
        shown = json.dumps(default, default=str).strip('"')
        text = textwrap.fill(str(field.description), 110, initial_indent=" " * 8, subsequent_indent=" " * 8)
        lines += [f"  --{key}  {expected(field)} (default: {shown})", text]
    return "\n".join(lines)


def separate(arguments: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Split the command line into the pairs of `--section.key value` or `--section.key=value`, and the rest."""
    overrides: list[tuple[str, str]] = []
    left: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        key, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or "." not in key:
            left.append(argument)
            continue
        if key not in dict(known_options()):
            raise ConfigError(unknown_option(key))
        if not equals:
            try:
                value = next(rest)
            except StopIteration:
                raise ConfigError(f"--{key}: a value is missing") from None
        overrides.append((key, value))
    return overrides, left


def command_to_resume(folder: Path) -> str:
    """Return the command line that resumes a run."""
    return f"{interpreter()} -m nmt.train --run {folder} --resume"
