"""From target weights to net equity.

``simulate`` trades target weights in a ``market`` (prices, sessions, ``costs/``) by the algebra of ``segments`` and the
``self_financing`` equation; ``reference`` does the same row by row. ``delisting`` says when an asset is gone. The result is a
``simulation``: ``metrics/`` and ``performance`` describe it, ``breakdown`` cuts it, ``sensitivity`` reruns it under other costs,
``comparison`` sets it beside a benchmark, with intervals; ``overfitting`` tells how much of it may be choice.
"""
