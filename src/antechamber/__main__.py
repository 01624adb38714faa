"""The program `antechamber`, also as `python -m antechamber`."""

from __future__ import annotations

from antechamber import garbage


def main() -> None:
    """Run the command line."""
    garbage.starting()
    from antechamber import cli  # noqa: PLC0415 - what this loads is what the line above is for

    cli.main()


if __name__ == "__main__":
    main()
