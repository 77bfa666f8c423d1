"""What SQL makes of the candles: a project of plain SQL models, ordered, bound, run and tested in DuckDB.

models.py and header.py read the files under dbt_like_sql/ into a project.py, lineage.py follows columns; run.py builds by the
day, checks.py and examples.py test, trailing.py is the one Python model; sources.py fills the raw tables from the lake,
results.py those of later stages; connection.py opens the file; docs.py shows the project and a column's path.
stored.py reads what the other stages store, and
column_graph.py follows a column over SQL and stages down to candles; traced.py writes its way, lineage_page.py draws it.
"""
