"""Train a torch model on the CPU with ravine's optimizer: only the import of `optim` changes.

pip install torch ravine
python examples/gradients_from_torch.py
"""

import torch
from ravine import optim


def main() -> float:
    """Fit a sine, and return the last loss."""
    torch.manual_seed(0)
    x = torch.linspace(-3, 3, 256)[:, None]
    y = torch.sin(2 * x)
    model = torch.nn.Sequential(torch.nn.Linear(1, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(501):
        loss = ((model(x) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"step {step:3}: loss {loss.item():.5f}")
    return float(loss.item())


if __name__ == "__main__":
    main()
