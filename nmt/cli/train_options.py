"""The command line of `python -m nmt.train`: a config, a run folder, and any key of the config as an option."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.parser import HelpFormatter
from nmt.config import CONFIGS, Config, known_options, load_config, nearest
from nmt.errors import CheckpointError, ConfigError

RESUME_KEYS = tuple(
    f"training.{name}"
    for name in (
        "max_steps",
        "max_epochs",
        "max_minutes",
        "patience",
        "log_every",
        "validate_every",
        "threads",
        "device",
    )
)
"""what may change when a run goes on"""


def parse(argv: Sequence[str] | None) -> tuple[Config, Path, bool]:
    """Read the command line: the config, the run folder, and whether to go on with it."""
    options = "\n".join(
        f"  --{key} {field.get_default(call_default_factory=True)!s:.40}\n        {field.description}"
        for key, field in known_options()
    )
    parser = argparse.ArgumentParser(
        prog="python -m nmt.train",
        description=__doc__.splitlines()[0] if __doc__ else "",
        epilog=f"any key of the config can be set on the command line; with their defaults:\n{options}",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("config", nargs="?", help="a YAML file, or the name of one of nmt/configs; default starter")
    parser.add_argument("--run", type=Path, help="the run folder; default runs/<name of the config>")
    parser.add_argument("--resume", action="store_true", help="go on with the run in the run folder")
    overrides, left = separate(sys.argv[1:] if argv is None else argv)
    known, unknown = parser.parse_known_args(left)
    if unknown:
        raise ConfigError(f"{unknown[0]}: unknown option{nearest(unknown[0], ['--run', '--resume', '--help'])}")
    path = Path(known.config or "starter")
    if not path.exists() and (CONFIGS / f"{path.name}.yaml").exists() and path.suffix == "":
        path = CONFIGS / f"{path.name}.yaml"
    folder: Path = known.run or Path("runs") / path.stem
    if known.resume:
        if not (folder / "last.pt").exists():
            raise CheckpointError(f"{folder}: nothing to resume (no last.pt); leave --resume out to begin a run there")
        bad = [key for key, _ in overrides if key not in RESUME_KEYS]
        if bad:
            raise ConfigError(f"--{bad[0]}: cannot change when resuming; only {', '.join(RESUME_KEYS)} can")
        return load_config(folder / "config.yaml", overrides), folder, True
    if (folder / "last.pt").exists() or (folder / "best.pt").exists():
        raise CheckpointError(f"{folder}: holds a run already; go on with it by --resume, or name another by --run")
    return load_config(path, overrides), folder, False


def separate(arguments: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Take `--section.key value` and `--section.key=value` out of the command line: pairs, and the rest."""
    overrides: list[tuple[str, str]] = []
    left: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        key, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--") or "." not in key:
            left.append(argument)
            continue
        if key not in dict(known_options()):
            raise ConfigError(f"--{key}: unknown option{nearest(key, dict(known_options()))}")
        if not equals:
            try:
                value = next(rest)
            except StopIteration:
                raise ConfigError(f"--{key}: a value is missing") from None
        overrides.append((key, value))
    return overrides, left


def command_to_resume(folder: Path) -> str:
    """The command line that goes on with a run."""
    return f"python -m nmt.train --run {folder} --resume"
