"""Start-up of the command line: ``jacprobe --help`` against ``import typer``, whole processes.

    python -m tests.benchmarks.startup
"""

import subprocess
import sys

from .duel import duel, options, record, times


def run(*arguments):
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def main(arguments=None):
    given = options(arguments, __doc__, rounds=15)
    found = duel(lambda: run("-m", "jacprobe", "--help"), lambda: run("-c", "import typer"), given)
    return [record(given, "startup", claim="`jacprobe --help`", peer="`python -c 'import typer'`", ratio=found.ratio,
                   target=0.25, errors={}, **times(found))]


if __name__ == "__main__":
    main()
