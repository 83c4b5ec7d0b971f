"""The command line `headprune`, also `python -m headprune_core`: runs one command and reports its result or error.

Each command prints a short table, or one JSON document with --json, and writes that document to --out.
"""

import sys
import warnings

from headprune_core.errors import HeadPruneError
from headprune_core.output_files import atomic_file
from headprune_core.strict_json import as_json

from .app import app
from .cache import cache
from .commands import alpha, bench, curves, greedy, score
from .compare import compare
from .missing import install_hint
from .parser import parser
from .paths import check_paths
from .prune import prune

COMMANDS = {run.__name__: run for run in (score, alpha, compare, curves, greedy, prune, bench, cache, app)}


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: command-line arguments, by default those of the process.

    Returns:
        Exit status: 0 for success, 2 for an error (one sentence on standard error), 130 if interrupted.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments:
        print(parser(COMMANDS).format_help(), end="", file=sys.stderr)
        return 2
    if arguments[0] == app.__name__:  # Most of what follows belongs to Streamlit, --help included.
        try:
            return app(arguments[1:])
        except HeadPruneError as error:
            print(f"headprune: {error}", file=sys.stderr)
            return 2
    options = parser(COMMANDS).parse_args(arguments)
    options.argv = arguments
    warnings.showwarning = lambda message, *_, **__: print(f"note: {message}", file=sys.stderr)
    try:
        check_paths(options)
        document, table = options.run(options)
        text = as_json(document, indent=None if options.json else 1, ascii_only=True)
        if options.out:
            with atomic_file(options.out) as file:
                file.write_text(text + "\n")
    except HeadPruneError as error:
        print(f"headprune: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"headprune: {install_hint(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("headprune: interrupted. Completed files were kept; no partial files were written.", file=sys.stderr)
        return 130
    print(text if options.json else table)
    return 0
