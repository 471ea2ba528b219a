"""The parser of all commands: any order of arguments, errors of one line."""

from __future__ import annotations

import shlex

import pytest

from nmt.cli.parser import Parser, positive


def command() -> Parser:
    parser = Parser("python -m nmt.thing", "Does a thing.")
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("file", nargs="?", metavar="FILE")
    parser.add_argument("--beam", type=positive, default=5, metavar="N", help="hypotheses")
    parser.add_argument("--fast", action="store_true", help="quickly")
    return parser


def subcommands() -> Parser:
    parser = Parser("python -m nmt.things", "Does things.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fetch = commands.add_parser("fetch", help="get one", description="Get one.")
    fetch.add_argument("name", metavar="NAME")
    fetch.add_argument("--root", default="data", help="folder")
    commands.add_parser("prepare")
    return parser


@pytest.mark.parametrize(
    "line", ["M F --beam 3 --fast", "M --beam 3 F --fast", "--fast M --beam=3 F", "--beam 3 --fast M F"]
)
def test_options_and_arguments_in_any_order(line: str) -> None:
    found = command().parse_args(shlex.split(line))
    assert (found.model, found.file, found.beam, found.fast) == ("M", "F", 3, True)


def test_what_is_left_out() -> None:
    found = command().parse_args(["--fast", "M"])
    assert (found.model, found.file, found.beam) == ("M", None, 5)


@pytest.mark.parametrize("line", ["fetch N --root R", "fetch --root R N"])
def test_subcommands_take_any_order_too(line: str) -> None:
    found = subcommands().parse_args(shlex.split(line))
    assert (found.command, found.name, found.root) == ("fetch", "N", "R")


def test_unknown_arguments_can_be_passed_on() -> None:
    found, unknown = command().parse_known_args(["M", "--training.seed", "--fast"])
    assert found.fast
    assert unknown == ["--training.seed"]


@pytest.mark.parametrize(
    ("parser", "line", "message"),
    [
        (command(), "", "the following arguments are required: MODEL"),
        (command(), "M --beem 3", "unknown argument --beem; did you mean --beam?"),
        (command(), "M --bea 3", "unknown argument --bea; did you mean --beam?"),  # no abbreviations
        (command(), "M F G", "unknown argument G"),
        (command(), "M --beam 0", "argument --beam: '0' is not a whole number of at least 1"),
        (command(), "M --beam x", "argument --beam: 'x' is not a whole number of at least 1"),
        (command(), "M --beam", "argument --beam: expected one argument"),
        (subcommands(), "fetch N --rot R", "unknown argument --rot; did you mean --root?"),
        (subcommands(), "", "the following arguments are required: COMMAND"),
    ],
)
def test_errors_are_one_line(parser: Parser, line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(shlex.split(line))
    assert stopped.value.code == 2
    assert capsys.readouterr() == ("", f"error: {message} (see {parser.prog} --help)\n")


def test_an_error_of_a_subcommand_names_its_own_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        subcommands().parse_args(["fetch"])
    assert capsys.readouterr().err.endswith("required: NAME (see python -m nmt.things fetch --help)\n")


def test_help_shows_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command().parse_args(["--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert "hypotheses (default: 5)" in text
    assert "False" not in text and "None" not in text
