"""How a network is trained: one loop for every family.

loop        epochs, batches, early stopping, the validation output
objective   the loss that `training.loss` names, on raw outputs; `loss`: each loss as a function of tensors
device      where a fit runs, in what precision, on how many threads
"""
