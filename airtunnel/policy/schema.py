"""The JSON Schema of a policy file, for editors: out of the very tables that read it.

What no schema sees, and only reading the files tells: a key or name that stands there twice; a rule whose targets or labels do
not exist; a time zone, a length of time or a port that cannot be; bits outside a network's mask; control characters.
"""

from copy import deepcopy
from typing import Any

from airtunnel.policy.load import FILE

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:  # Any: JSON
    """The schema of one file, JSON Schema 2020-12. An editor takes it from a line at the top of the file:
    `# yaml-language-server: $schema=policy.schema.json`.
    """
    head = {"$schema": DIALECT, "title": "airtunnel policy", "description": "What can be reached, and by whom."}
    return head | deepcopy(dict(FILE.schema))
