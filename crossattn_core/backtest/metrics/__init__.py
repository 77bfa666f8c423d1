"""Numbers that describe an account, net of costs, each with a unit and a definition, found by being here.

``registry`` what a metric is, and ``metrics_of`` a simulation · ``track`` what they are taken of · ``returns`` return, risk and
drawdown from hours · ``shape`` and tails of daily returns · ``trading`` turnover, exposure, trades and costs. A new one: a
function of a ``Track`` in a file here, its docstring the definition.
"""
