"""interlock policy: check, test and build policies."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.cli.options import AsJson
from interlock.cli.output import print_fields, print_json, print_line
from interlock.compose import policy_tools

application = typer.Typer(help="Check, test and build policies.", no_args_is_help=True)

Policies = Annotated[Path, typer.Argument(help="Folder of the policies.", exists=True, file_okay=False)]
DEFAULT_POLICIES = Path("policies")


@application.command()
def check(policies: Policies = DEFAULT_POLICIES, as_json: AsJson = False) -> None:
    """Check format, strictness, schema and conventions; ends with status 1 at any finding."""
    findings = policy_tools.check(policies)
    if as_json:
        print_json(
            [
                {"file": found.file, "line": found.line, "problem": found.problem, "remedy": found.remedy}
                for found in findings
            ]
        )
    else:
        for found in findings:
            print_line(str(found))
        print_line(f"{len(findings)} findings" if findings else "no findings")
    if findings:
        raise typer.Exit(1)


@application.command("test")
def test_(
    policies: Policies = DEFAULT_POLICIES,
    tests: Annotated[Path, typer.Option(help="Folder of their tests.", exists=True, file_okay=False)] = Path(
        "policy-tests"
    ),
    as_json: AsJson = False,
) -> None:
    """Run the policies' tests as the bundle that ships; a line that no test reaches is a failure."""
    run = policy_tools.test(policies, tests)
    if as_json:
        print_json({"passed": run.passed, "report": run.report, "uncovered": list(run.uncovered)})
    else:
        for line in run.report.splitlines():
            print_line(line)
    if not run.passed:
        raise typer.Exit(1)


@application.command()
def build(
    output: Annotated[Path, typer.Option(help="Bundle file to write.")],
    key_folder: Annotated[
        Path, typer.Option(help="Folder of the key that signs bundles; made at first use. Keep it private.")
    ],
    policies: Policies = DEFAULT_POLICIES,
    as_json: AsJson = False,
) -> None:
    """Build a signed bundle. Its revision is the digest of its content."""
    bundle, verification_key = policy_tools.build(policies, output, key_folder)
    fields = {
        "bundle": str(bundle.path),
        "revision": bundle.revision,
        "sequence": bundle.sequence,
        "verification_key": str(verification_key),
    }
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
