"""The models by the names that papers and chapters use, as ordinary ``nn.Module``s: tensors in, tensors out, no experiment.

modules      four attentions over assets
masks        who may be read, and what is refused
multi_asset  the whole encoder stack with a head
frames       windows from a pandas frame

They are made of the parts that the pipeline's networks are made of; no stage uses them.
"""
