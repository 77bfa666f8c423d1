"""How a network is trained: one loop for every family.

loop        batches, early stopping, the validation output; `epochs`: what is reported and remembered of them
objective   the loss that `training.loss` names, on raw outputs; `loss`: each loss as a function of tensors
calibration the gain of each part of a forecast, from the validation rows
device      where a fit runs, in what precision, on how many threads
"""
