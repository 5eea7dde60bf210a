"""The command `controlplane`, also as `python -m controlplane`."""

import sys


def main() -> None:
    from controlplane.cli.root import run  # noqa: PLC0415  an app server lacks click

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
