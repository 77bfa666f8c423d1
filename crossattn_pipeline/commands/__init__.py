"""The commands behind ``cli.py``, and what every command shares. Each imports what it runs when it runs.

options.py      options of several commands, and the line that they open
terminal.py     what a command prints: progress, lines and tables, or JSON lines
candles.py      crossattn candles ...: the lake        sql.py    crossattn sql ...: the SQL models
runs.py         run, stale, train, backtest, report    fetch.py  the lake alone
overrides.py    retrain, rollback, overrides           tune.py   hyper-parameters
inspections.py  leaders, explain                       report.py the headline of a report
doctor.py       is everything in order                 faults.py errors of the machine, in words
"""
