"""Numbers that describe an account, net of costs, each with a unit and a definition, found by being in a file here.

``registry`` what a metric is, and ``metrics_of`` a simulation · ``track`` what they are taken of · ``standard`` those of every
account. A new one: a function of a ``Track`` in a file here, its docstring the definition.
"""
