"""Where the results go: between a pair of marks in bench/README.md."""

import re
from pathlib import Path

README = Path(__file__).with_name("README.md")


def write_between_marks(name: str, text: str) -> None:
    """Put the text in place of what is between the marks of this name. Raises ValueError: they are not there."""
    marks = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    written, found = marks.subn(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", README.read_text())
    if found != 1:
        raise ValueError(f"`{README}` lacks the marks of `{name}`")
    README.write_text(written)
