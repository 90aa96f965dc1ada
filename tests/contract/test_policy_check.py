"""The findings on a policy tree: each fires on a small tree that is wrong in one thing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from interlock.adapters.policy_bundle import PolicyBundleError
from interlock.adapters.policy_check import (
    Finding,
    check_policies,
    render_approval_schema,
    render_input_schema,
)

RULE = """# METADATA
# title: Mail
# description: What may be sent
package interlock.rules.mail

import data.interlock.reasons

# METADATA
# title: No mail
# description: Nothing is sent
# custom:
#   code: mail.none
deny contains reason if {
	"send" in input.tool.effects
	reason := reasons.from_rule(rego.metadata.chain(), {})
}
"""

REASONS = """package interlock.reasons

from_rule(chain, metadata) := {"code": chain[0].annotations.custom.code, "metadata": metadata}
"""

ROOT = """# METADATA
# scope: subpackages
# schemas:
#   - input: schema.input
package interlock
"""

APPROVAL = """# METADATA
# schemas:
#   - input: schema.approval
package interlock.approval

result := {"permitted": input.resolution == "approve"}

# METADATA
# scope: document
# schemas:
#   - input.batch: {type: array}
batch := [result | some _ in input.batch]
"""

MAIL = "rules/mail/mail.rego"
APPROVALS = "approval/approval.rego"

Check = Callable[[], list[str]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small policy tree with nothing wrong in it."""
    files = {
        ".manifest": '{"roots": ["interlock", "limits"]}',
        APPROVALS: APPROVAL,
        "interlock.rego": ROOT,
        "limits/data.yaml": "mails: 3\n",
        "reasons/reasons.rego": REASONS,
        MAIL: RULE,
        "schemas/approval.json": render_approval_schema(),
        "schemas/input.json": render_input_schema(),
    }
    for name, text in files.items():
        put(tmp_path, name, text)
    return tmp_path


@pytest.fixture
def check(opa: Path, tree: Path) -> Check:
    """Checks the tree."""
    return lambda: [str(finding) for finding in check_policies(opa, tree)]


def put(tree: Path, name: str, text: str) -> None:
    """Write a file of the tree."""
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text(text)


def edit(tree: Path, old: str, new: str, name: str = MAIL) -> None:
    """Change one thing in a file of the tree."""
    text = (tree / name).read_text()
    assert old in text
    put(tree, name, text.replace(old, new, 1))


def test_nothing_is_wrong_with_the_small_tree(check: Check) -> None:
    """The trees of the tests below differ from this good one in one thing each."""
    assert check() == []


def test_finding_is_told_with_its_place() -> None:
    """A finding is one line: place, what is wrong, what to do."""
    assert (
        str(Finding(file="a.rego", line=3, problem="is wrong", remedy="mend it"))
        == "a.rego:3: is wrong; mend it"
    )
    assert str(Finding(file="a.rego", problem="is wrong", remedy="mend it")) == "a.rego: is wrong; mend it"


def test_folder_that_is_none_is_an_error(opa: Path, tmp_path: Path) -> None:
    """A wrong path is not a tree with nothing wrong in it."""
    with pytest.raises(PolicyBundleError, match="no folder of policies"):
        check_policies(opa, tmp_path / "none")


@pytest.mark.parametrize("name", ["limits/more.yaml", "limits/data.yml", "limits/input.json"])
def test_data_that_would_not_ship_is_found(tree: Path, check: Check, name: str) -> None:
    """A data file of another name is seen by `opa test DIR` and left out of the bundle."""
    put(tree, name, "{}")
    assert check() == [
        f"{name}: is left out of the bundle by `opa build`; name it `data.yaml` in a folder of its own"
    ]


def test_test_among_the_policies_is_found(tree: Path, check: Check) -> None:
    """Tests never ship, so they do not lie with what does."""
    put(tree, "rules/mail/mail_test.rego", "package interlock.mail_test\n")
    assert check() == ["rules/mail/mail_test.rego: is a test among the policies; move it to the policy tests"]


def test_module_name_that_a_bundle_does_not_take_is_found(tree: Path, check: Check) -> None:
    """What the bundle's reader would refuse is told before it is built."""
    put(tree, "reasons/More.rego", "package interlock.more\n")
    assert check() == [
        "reasons/More.rego: has a name that a bundle does not take; use lower case letters, digits and `_`"
    ]


def test_symbolic_link_is_found(tree: Path, check: Check) -> None:
    """A file that lies elsewhere can change without a change here."""
    (tree / "limits" / "more").symlink_to(tree / "limits" / "data.yaml")
    assert check() == ["limits/more: is a symbolic link; put the file itself there"]


def test_missing_manifest_is_found(tree: Path, check: Check) -> None:
    """Without a manifest a bundle would own everything."""
    (tree / ".manifest").unlink()
    assert check() == ['.manifest: is missing; write {"roots": [...]} into it']


@pytest.mark.parametrize("text", [None, "{}", "not even JSON"])
def test_schema_of_another_input_is_found(tree: Path, check: Check, text: str | None) -> None:
    """The schema that rules are checked against is the one of the input that they will get."""
    for name in ("input", "approval"):
        (tree / "schemas" / f"{name}.json").unlink()
        if text is not None:
            put(tree, f"schemas/{name}.json", text)
    if text is None:
        (tree / "schemas").rmdir()
    problem = "is not the schema of the input that this version gives to policies"
    found = check()
    assert f"schemas/input.json: {problem}; generate it anew" in found
    assert f"schemas/approval.json: {problem}; generate it anew" in found


def test_field_that_does_not_exist_is_found(tree: Path, check: Check) -> None:
    """A deny over a misspelled field would never fire."""
    edit(tree, "input.tool.effects", "input.tool.efects")
    assert check() == [
        f"{MAIL}:14: does not compile: undefined ref: input.tool.efects; correct it, and check again"
    ]


def test_unused_import_is_found(tree: Path, check: Check) -> None:
    """Strict mode is on."""
    edit(tree, "import data.interlock.reasons", "import data.interlock.reasons\nimport data.limits")
    assert check() == [f"{MAIL}:7: does not compile: import data.limits unused; correct it, and check again"]


def test_builtin_outside_the_capabilities_is_found(tree: Path, check: Check) -> None:
    """A policy that asks the clock is told so before it is built (case 13)."""
    edit(tree, "deny contains reason if {", "deny contains reason if {\n\ttime.now_ns() > 0")
    assert check() == [
        f"{MAIL}:14: does not compile: undefined function time.now_ns; correct it, and check again"
    ]


def test_module_that_does_not_parse_is_found(tree: Path, check: Check) -> None:
    """A syntax error is a finding with its place, and ends the check."""
    edit(tree, "deny contains reason if {", "deny contains contains {")
    assert any(finding.startswith(f"{MAIL}:13: does not compile: ") for finding in check())


def test_module_that_does_not_parse_is_found_without_schemas(tree: Path, check: Check) -> None:
    """The lack of a schema does not hide what else is wrong."""
    (tree / "schemas" / "input.json").unlink()
    (tree / "schemas" / "approval.json").unlink()
    (tree / "schemas").rmdir()
    edit(tree, "deny contains reason if {", "deny contains contains {")
    assert any(finding.startswith(f"{MAIL}:13: does not compile: ") for finding in check())


def test_package_outside_the_roots_is_found(tree: Path, check: Check) -> None:
    """What the manifest does not own is refused, though OPA names no line."""
    put(tree, "other/other.rego", "package other\n")
    (finding,) = check()
    assert finding.startswith(".: does not compile: bundle .: manifest roots")


def test_module_that_is_not_formatted_is_found(tree: Path, check: Check) -> None:
    """One way to write a rule."""
    edit(tree, '\t"send"', '    "send"')
    assert check() == [f"{MAIL}: is not formatted; run `opa fmt --write {MAIL}`"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# scope: subpackages\n", "# scope: package\n"),
        ("schema.input", "schema.other"),
        ("#   - input: schema.input", "#   - data.limits: schema.input"),
        ("package interlock\n", "package interlock.other\n"),
    ],
)
def test_schema_that_is_not_in_force_is_found(tree: Path, opa: Path, old: str, new: str) -> None:
    """Without the annotation on the root package `opa check --schema` compares nothing, and says nothing."""
    put(tree, "schemas/other.json", "{}")
    edit(tree, old, new, "interlock.rego")
    problems = [finding.problem for finding in check_policies(opa, tree)]
    assert problems == ["no module of package `interlock` puts all packages under `schema.input`"]


def test_topic_with_a_schema_of_its_own_is_found(tree: Path, check: Check) -> None:
    """A topic cannot take itself out of the check of its input."""
    edit(tree, "# title: Mail\n", "# title: Mail\n# schemas:\n#   - input: {}\n")
    assert check() == [
        f"{MAIL}:6: the package chooses its own schema of the input; remove the `schemas` annotation"
    ]


def test_rule_with_a_schema_of_its_own_is_found(tree: Path, check: Check) -> None:
    """A rule cannot either."""
    edit(tree, "# title: No mail\n", "# title: No mail\n# schemas:\n#   - input: {}\n")
    assert check() == [
        f"{MAIL}:4: the package chooses its own schema of the input; remove the `schemas` annotation"
    ]


def test_print_is_found(tree: Path, check: Check) -> None:
    """`print` would write arguments into OPA's log (case 63)."""
    edit(tree, "if {\n", "if {\n\tprint(input.arguments)\n")
    assert check() == [f"{MAIL}:14: calls `print`, which puts arguments into OPA's log; remove the call"]


@pytest.mark.parametrize(
    "place", ["rules/mail.rego", "rules/mail/rules.rego", "rules/post/mail.rego", "mail.rego"]
)
def test_module_in_another_place_is_found(tree: Path, check: Check, place: str) -> None:
    """A topic's rules have one obvious place."""
    put(tree, place, RULE)
    (tree / MAIL).unlink()
    assert check() == [
        f"{place}:4: holds the rules of topic `mail`; move it to `{MAIL}` or rename its package"
    ]


@pytest.mark.parametrize("package", ["interlock.rules", "interlock.rules.mail.more", "interlock.mail"])
def test_package_that_is_no_topic_is_found(tree: Path, check: Check, package: str) -> None:
    """Rules that the entry point would not gather are told."""
    edit(tree, "package interlock.rules.mail", f"package {package}")
    assert f"{MAIL}:4: package `data.{package}` is no topic; name it `interlock.rules.<topic>`" in check()


@pytest.mark.parametrize("line", ["# title: Mail\n", "# description: What may be sent\n"])
def test_package_without_title_or_description_is_found(tree: Path, check: Check, line: str) -> None:
    """A topic says what it is about."""
    edit(tree, line, "")
    assert check() == [f"{MAIL}:3: the package's METADATA lacks a title or a description; write both"]


@pytest.mark.parametrize("line", ["# title: No mail\n", "# description: Nothing is sent\n"])
def test_rule_without_title_or_description_is_found(tree: Path, check: Check, line: str) -> None:
    """A rule says what it is about; its title is the message of its reason."""
    edit(tree, line, "")
    assert check() == [
        f"{MAIL}:12: the rule's METADATA lacks a title or a description; write both, right above this rule"
    ]


def test_second_body_without_metadata_is_found(tree: Path, check: Check) -> None:
    """A body takes its code from the METADATA right above it; without, its deny silently vanishes."""
    put(
        tree,
        MAIL,
        RULE + '\ndeny contains reasons.from_rule(rego.metadata.chain(), {}) if input.tool.name == "x"\n',
    )
    found = check()
    assert len(found) == 2
    assert all(finding.startswith(f"{MAIL}:18: ") for finding in found)
    assert "without its code the rule gives no reason, and so never fires" in found[0]


@pytest.mark.parametrize("scope", ["document", "package"])
def test_metadata_of_another_scope_is_not_the_rules_own(tree: Path, opa: Path, scope: str) -> None:
    """A reason is made from the annotation of scope `rule` alone."""
    edit(tree, "# title: No mail\n", f"# title: No mail\n# scope: {scope}\n")
    assert check_policies(opa, tree) != []


@pytest.mark.parametrize(
    "code", ["post.none", "mail", "mail.", "mail.None", "mail.a.b", "none", "mail.9", "mail.é"]
)
@pytest.mark.parametrize("kind", ["deny", "escalate", "allow"])
def test_code_of_another_form_is_found(tree: Path, check: Check, kind: str, code: str) -> None:
    """A code is `topic.name`, with the topic of its package."""
    edit(tree, "code: mail.none", f"code: {code}")
    edit(tree, "deny contains", f"{kind} contains")
    (finding,) = check()
    assert finding.startswith(
        f"{MAIL}:13: `custom.code` is `{code}`, expected `mail.` and a name in lower case"
    )


@pytest.mark.parametrize("instead", ["# custom: {}\n", "# custom:\n#   code: 3\n", ""])
def test_missing_code_is_found(tree: Path, check: Check, instead: str) -> None:
    """A deny without a code gives no reason, and so denies nothing."""
    edit(tree, "# custom:\n#   code: mail.none\n", instead)
    (finding,) = check()
    assert "`custom.code` is nothing, expected `mail.` and a name in lower case" in finding


def test_code_that_is_there_twice_is_found(tree: Path, check: Check) -> None:
    """A code stands for one rule."""
    put(tree, MAIL, RULE + RULE[RULE.index("\n# METADATA\n# title: No mail") :])
    assert check() == [
        f"{MAIL}:23: code `mail.none` is also that of {MAIL}:13; give each rule a code of its own"
    ]


def test_misspelled_kind_is_found(tree: Path, check: Check) -> None:
    """A rule that the entry point does not gather would never be missed."""
    edit(tree, "deny contains", "dney contains")
    (finding,) = check()
    assert finding.startswith(
        f"{MAIL}:13: rule `dney` is gathered by nothing; expected one of deny, escalate"
    )


def test_rule_of_the_topics_own_is_free(tree: Path, check: Check) -> None:
    """A rule with a leading `_` needs no METADATA, for nothing gathers it."""
    put(tree, MAIL, RULE + "\n_limit := data.limits.mails\n")
    assert check() == []


@pytest.mark.parametrize("kind", ["obligation", "reserve"])
def test_obligation_needs_no_code(tree: Path, check: Check, kind: str) -> None:
    """Obligations and reservations are no reasons; they have a title and a description alone."""
    annotation = "\n# METADATA\n# title: Bounded\n# description: In time\n"
    put(tree, MAIL, RULE + annotation + f'{kind} contains {{"type": "x"}}\n')
    assert check() == []
    edit(tree, annotation, "\n")
    (finding,) = check()
    assert "lacks a title or a description" in finding


@pytest.mark.parametrize(
    "head",
    ["deny := reason if {", "deny[reason] := 1 if {", "deny[reason] if {", "deny.x contains reason if {"],
)
def test_rule_that_is_no_partial_set_is_found(tree: Path, check: Check, head: str) -> None:
    """Topics are gathered from sets; another shape would conflict, or be read wrongly (case 8)."""
    edit(tree, "deny contains reason if {", head)
    assert f"{MAIL}:13: `deny` is no partial set; write `deny contains …`" in check()


def test_field_that_approvals_are_not_asked_with_is_found(tree: Path, check: Check) -> None:
    """The second entry point is checked against the schema of its own question, and not that of the input."""
    edit(tree, "input.resolution", "input.tool", APPROVALS)
    assert check() == [
        f"{APPROVALS}:6: does not compile: undefined ref: input.tool; correct it, and check again"
    ]


def test_approvals_without_their_schema_are_found(tree: Path, check: Check) -> None:
    """Without the annotation, what asks for a field of approvals would be checked against another document."""
    edit(tree, "# METADATA\n# schemas:\n#   - input: schema.approval\n", "", APPROVALS)
    edit(tree, 'input.resolution == "approve"', "false", APPROVALS)
    (finding,) = check()
    assert finding == (
        f"{APPROVALS}:1: package `interlock.approval` is not checked against the schema of what it is asked;"
        " annotate the package with `schemas: [input: schema.approval]`"
    )


@pytest.mark.parametrize(
    ("there", "missing"),
    [([], ["batch", "result"]), (["result"], ["batch"]), (["batch"], ["result"])],
    ids=["none", "no-batch", "no-result"],
)
def test_missing_entry_point_of_approvals_is_found(
    tree: Path, check: Check, there: list[str], missing: list[str]
) -> None:
    """A tree that does not say who may approve would only fail at its first escalate."""
    head = APPROVAL[: APPROVAL.index("result :=")]
    put(tree, APPROVALS, head + "\n".join(f"{name} := input.authors\n" for name in there))
    if not there:
        (tree / APPROVALS).unlink()
    problem = "so every proposal that is escalated is an error; say in it who may approve what"
    assert check() == [
        f"{APPROVALS}: no module gives `interlock.approval.{name}`, {problem}" for name in missing
    ]


def test_answer_of_another_topic_is_found(tree: Path, check: Check) -> None:
    """Only one topic lets through what people were to be asked about, so a careless other one cannot."""
    edit(tree, "deny contains", "answer contains")
    assert check() == [
        f"{MAIL}:13: `answer` is gathered from topic `approvals` alone; weigh there what people said"
    ]


def test_answer_needs_a_code_like_any_reason(tree: Path, check: Check) -> None:
    """What an answer says stands in the record, so it has its code, a title and a description."""
    approvals = RULE.replace("rules.mail", "rules.approvals").replace("deny contains", "answer contains")
    put(tree, "rules/approvals/approvals.rego", approvals.replace("mail.none", "approvals.none"))
    assert check() == []
    edit(tree, "#   code: approvals.none", "#   code: none", "rules/approvals/approvals.rego")
    (finding,) = check()
    assert finding.startswith(
        "rules/approvals/approvals.rego:13: `custom.code` is `none`, expected `approvals.`"
    )


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("escalate", "always_approved", False),
        ("escalate", "always_denied", False),
        ("escalate", "always", True),
        ("deny", "always_denied", True),
    ],
)
def test_change_to_try_has_a_known_name(tree: Path, check: Check, kind: str, name: str, wrong: bool) -> None:
    """The statistics would never show a change under another name, or of a rule that asks nobody."""
    edit(tree, "deny contains", f"{kind} contains")
    edit(tree, "#   code: mail.none\n", f"#   code: mail.none\n#   change:\n#     {name}: 'mails: 4'\n")
    found = check()
    assert len(found) == wrong
    assert all(f"`custom.change` names `{name}`, expected" in finding for finding in found)
