"""What a user can do about an error of the machine: disk, rights, another process. Defects of the program are not among them."""

__all__ = ["in_words", "remedy"]

_REMEDIES = (
    (
        ("no space left", "disk is full", "disk quota exceeded", "file too large"),
        "the disk is full: free some space and run the same command again, it goes on from what was stored",
    ),
    (
        ("permission denied", "read-only file system", "operation not permitted", "readonly database", "unable to open database"),
        "give this user the right to read and write there, or choose another folder with --home or CROSSATTN_HOME",
    ),
    (
        ("could not set lock", "database is locked", "conflicting lock"),
        "another process holds it: run the same command again when that has ended",
    ),
    (
        ("file is not a database", "database disk image is malformed"),
        "the file is damaged: restore it from a copy, or choose another folder with --home or CROSSATTN_HOME",
    ),
)
"""Words of the operating system, SQLite or DuckDB (in lower case) -> what to do."""


def remedy(text: str) -> str:
    """What to do about an error with this text; '' where that is not known.

    >>> remedy("[Errno 28] No space left on device: 'lake'")[:16]
    'the disk is full'
    """
    words = text.lower()
    return next((what for signs, what in _REMEDIES if any(sign in words for sign in signs)), "")


def in_words(error: BaseException) -> str:
    """One message for an error of the machine, with what to do; '' for any other."""
    what = remedy(str(error))
    if isinstance(error, OSError):
        named = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror or str(error)
        return f"{named}; {what}" if what else named
    return f"{str(error).strip()}; {what}" if what else ""
