"""Day by day: retrain or carry, then forecast the day with the model in force at its start.

``plan`` decides (pure), ``state`` is what one day hands to the next (frozen), ``day`` what is known at a day's start,
``walk`` the loop; ``store`` and ``predictions`` what lies on disk and its one table, ``overrides`` what a person orders.
``drift`` and ``health`` measure models, ``monitor`` looks at the newest day, ``lookahead_checks`` prove from what is
stored that nothing looked ahead, ``fingerprint`` hashes what a day is made from.
"""
