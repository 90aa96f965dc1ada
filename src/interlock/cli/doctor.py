"""interlock doctor: what is wrong, and what to do."""

import typer

from interlock.cli.options import DEFAULT_CONFIG, AsJson, Config
from interlock.cli.output import print_json, print_line


def doctor(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Look at everything that the settings name, and say what is wrong and what to do; changes nothing."""
    from interlock.compose.doctor import examine  # noqa: PLC0415 - it loads every adapter

    examinations = list(examine(config))
    if as_json:
        print_json([{"subject": e.subject, "found": e.found, "problem": e.problem} for e in examinations])
    else:
        for looked_at in examinations:
            mark = "WRONG" if looked_at.problem else "ok"
            print_line(f"{mark:<6}{looked_at.subject:<20}{looked_at.found}")
            for line in looked_at.problem.splitlines():
                print_line(f"      {line}")
    if any(looked_at.problem for looked_at in examinations):
        raise typer.Exit(1)
