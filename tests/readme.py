"""The README's own words, for tests that hold it to them."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def blocks(title: str, language: str = "yaml") -> list[tuple[str, str]]:
    """Each fenced block of a language in the section `## title`, with the `###` heading that it stands under."""
    text = README.read_text("utf-8")
    section = text[text.index(f"## {title}\n") :]
    section = section[: next((found.start() for found in re.finditer(r"\n## ", section)), len(section))]
    found, heading = [], ""
    for part in re.finditer(r"^### ([^\n]+)$|^```(\w*)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        if part[1]:
            heading = part[1]
        elif part[2] == language:
            found.append((heading, part[3]))
    return found


def entry(heading: str, number: int = 0) -> str:
    """The `providers:` of one recipe."""
    recipes = [body for title, body in blocks("Connect your identity provider") if title == heading]
    return recipes[number]
