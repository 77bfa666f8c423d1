"""Day by day: retrain or carry, then forecast the day with the model in force at its start.

Read ``walk`` (the loop), ``day`` (one day), ``past`` (what is known at its start), ``plan`` (the pure decision), ``state``
(frozen, handed from day to day). ``store`` and ``predictions``: files and their one table; ``overrides``: what a person orders;
``ahead``: fits that a pool makes before they are asked for; ``drift``, ``health``: measures of models; ``monitor``: the newest
day; ``lookahead_checks``: proofs from what is stored that nothing looked ahead; ``fingerprint``: hashes of what a
day is made from.
"""
