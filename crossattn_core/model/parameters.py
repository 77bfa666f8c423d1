"""A network's parameters: how they start, and how the optimiser treats them."""

from torch import nn

__all__ = ["initialise_maps", "parameter_groups"]


def initialise_maps(network: nn.Module) -> None:
    """Linear maps by Glorot's rule with biases of 0; embeddings of assets, positions and steps small and random."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for name, parameter in network.named_parameters():
        if name.endswith(("identity_ND", "position_PD", "step_query_HPK")):
            nn.init.normal_(parameter, std=0.02)


def parameter_groups(
    network: nn.Module, logits: list[nn.Parameter], learning_rate: float, attention_lr_multiplier: float, weight_decay: float
) -> list[dict]:
    """AdamW groups: matrices decay, vectors do not, attention ``logits`` run faster and never decay."""
    logit_ids = {id(parameter) for parameter in logits}
    others = [parameter for parameter in network.parameters() if id(parameter) not in logit_ids]
    groups = [
        {"params": [p for p in others if p.ndim >= 2], "lr": learning_rate, "weight_decay": weight_decay},
        {"params": [p for p in others if p.ndim < 2], "lr": learning_rate, "weight_decay": 0.0},
        {"params": logits, "lr": learning_rate * attention_lr_multiplier, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
