"""Day by day: retrain or carry, then forecast the day with the model in force at its start.

Read ``walk`` (the loop), ``day`` (one day), ``past`` (what is known at its start), ``plan`` (the pure decision) and ``state``
(frozen, handed from day to day). ``store`` and ``predictions`` are what lies on disk and its one table, ``overrides`` what a
person orders.
``drift`` and ``health`` measure models, ``monitor`` looks at the newest day, ``lookahead_checks`` prove from what is
stored that nothing looked ahead, ``fingerprint`` hashes what a day is made from.
"""
