"""The argument parser: one subcommand per command, described by the docstring of its function."""

import argparse
from collections.abc import Callable

from headprune_core.version import __version__

from .options import COMMAND_OPTIONS, common_options

EXAMPLES = """\
examples:
  headprune app                                         open the browser app
  headprune score --evaluate                            score the built-in model
  headprune prune --sparsity 0.3 --out-folder smaller   prune 30% of its heads and save the result

Every command has its own help: headprune score --help"""


def parser(commands: dict[str, Callable]) -> argparse.ArgumentParser:
    """Build the parser of the command line.

    Args:
        commands: name -> function of each command; its docstring is the help text.

    Returns:
        A parser whose result has the command's function as `run`.
    """
    top = argparse.ArgumentParser(
        "headprune",
        description="Score and prune attention heads of Transformers models.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = top.add_subparsers(title="commands", required=True, metavar="command")
    for name, run in commands.items():
        summary, description = _documentation(run)
        command = subparsers.add_parser(name, help=summary, description=description)
        command.set_defaults(run=run)
        if name in COMMAND_OPTIONS:
            _add_options(name, command.add_argument)
    return top


def _documentation(run: Callable) -> tuple[str, str]:
    """The first line of a docstring, and its text before the sections."""
    lines = [line.strip() for line in (run.__doc__ or "").split("\n\n    Args:")[0].splitlines()]
    return lines[0], "\n".join(lines)


def _add_options(name: str, add: Callable) -> None:
    if name not in ("bench", "cache"):
        common_options(add)
    COMMAND_OPTIONS[name](add)
    if name not in ("score", "compare", "bench", "cache"):
        add("--no-cache", action="store_true", help="disable the on-disk result cache")
    add("--out", metavar="FILE", help="write results as JSON to FILE")
    add("--json", action="store_true", help="print results as JSON instead of a table")
