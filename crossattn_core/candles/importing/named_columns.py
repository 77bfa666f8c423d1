"""Any table whose columns have the usual names, long ones with a column of symbols among them; or those that ``--map`` gives."""

from crossattn_core.candles.importing.layout import FIELDS, LAYOUTS, REQUIRED, Columns, named_fields
from crossattn_core.candles.importing.source_file import SourceFile

__all__ = ["NamedColumns"]


@LAYOUTS.register("named_columns")
class NamedColumns:
    """The last to be tried: it knows the names of columns alone."""

    order = 90

    def read(self, source: SourceFile) -> Columns | None:
        """The candles of a table that has every field but perhaps turnover and symbol."""
        found = named_fields(source.names)
        if any(field not in found for field in REQUIRED):
            return None
        kept = [field for field in FIELDS if field in found]
        return Columns(source.cells[[found[field] for field in kept]].set_axis(kept, axis=1))
