"""A command that kills itself: python tests/helpers/killed_command.py MODULE NAME CALLS ARGUMENTS...

It runs `headprune ARGUMENTS...` and sends itself SIGKILL at the given call of MODULE.NAME, such as shutil.copyfileobj.
"""

import importlib
import os
import signal
import sys

from headprune_core.cli.main import main


def kill_at(module: str, name: str, calls: int) -> None:
    place = importlib.import_module(module)
    function, count = getattr(place, name), 0

    def counted(*arguments, **options):
        nonlocal count
        count += 1
        if count == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)

    setattr(place, name, counted)


if __name__ == "__main__":
    kill_at(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.exit(main(sys.argv[4:]))
