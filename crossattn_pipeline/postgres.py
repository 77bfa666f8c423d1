"""PostgreSQL for Dagster's history: can it be used, in words that hold no password."""

from importlib.util import find_spec

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from crossattn_core.errors import HomeError

__all__ = ["check_postgres"]

_SCHEME = "postgresql+psycopg2"


def check_postgres(url: str) -> str:
    """Connect once; the server's version and where it is.

    Raises:
        HomeError: a package is missing, the address is none, or the server refuses or does not answer.
    """
    if not all(find_spec(name) for name in ("dagster_postgres", "psycopg2")):
        raise HomeError("CROSSATTN_POSTGRES_URL is set, and dagster-postgres is not installed: install crossattn[postgres]")
    try:
        where = make_url(url)
    except ArgumentError:
        raise HomeError(f"CROSSATTN_POSTGRES_URL is no address; write {_SCHEME}://user:password@host:5432/database") from None
    if where.drivername != _SCHEME:
        raise HomeError(
            f"CROSSATTN_POSTGRES_URL begins with {where.drivername}://; write {_SCHEME}://, which every SQLAlchemy takes alike"
        )
    place = f"{where.host}:{where.port or 5432}/{where.database}"
    engine = create_engine(where, connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            version = connection.execute(text("show server_version")).scalar_one()
    except SQLAlchemyError as error:
        why = str(getattr(error, "orig", error)).strip().replace(where.password or "\0", "***").replace("\n", " ")
        raise HomeError(f"PostgreSQL at {place} cannot be used ({why}); start it, or correct CROSSATTN_POSTGRES_URL") from None
    finally:
        engine.dispose()
    return f"PostgreSQL {version.split()[0]} at {place}"
