"""The commands behind ``cli.py`` that run no graph, and what every command shares.

options.py      options of several commands, and the line that they open
terminal.py     what a command prints: progress, lines and tables, or JSON lines
candles.py      crossattn candles ...: the lake        sql.py    crossattn sql ...: the SQL models
overrides.py    retrain, rollback                      tune.py   hyper-parameters
inspections.py  leaders, explain                       report.py the headline of a report
"""
