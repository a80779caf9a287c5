"""tests/golden/adafactor_pytorch.txt, which tests/optim/adafactor_test.cpp holds our optimiser against, is what
torch.optim.Adafactor computes. `python tests/python/test_adafactor_golden.py` prints it anew."""
import math
from pathlib import Path

import pytest
import torch

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "adafactor_pytorch.txt"
SHOWN = (1, 2, 5, 30)
RATE = 0.05  # PyTorch takes the smaller of it and t^-1/2


def start(i: int, j: int) -> float:
    return math.sin(1 + 7 * i + 3 * j)


def gradient(step: int, i: int, j: int) -> float:
    return math.sin(0.37 * step + 1.3 * i + 0.71 * j) * 10 ** ((2 * i + step) % 5 - 3)


def filled(rows: int, columns: int, function) -> torch.Tensor:
    values = torch.tensor([[function(i, j) for j in range(columns)] for i in range(rows)], dtype=torch.float32)
    return values if rows > 1 else values[0]


def trajectories() -> list[str]:
    lines = []
    for rows, columns in ((5, 7), (1, 6)):
        for weight_decay in (0.0, 0.1) if rows > 1 else (0.0,):  # ours decays no vectors
            for clipping in (1.0, 2.0):
                weight = filled(rows, columns, start).requires_grad_()
                # Its eps1 bounds the square root of what ours is added to.
                optimizer = torch.optim.Adafactor([weight], lr=RATE, eps=(1e-15, 1e-3), d=clipping,
                                                  weight_decay=weight_decay, beta2_decay=-0.8)
                for step in range(1, SHOWN[-1] + 1):
                    weight.grad = filled(rows, columns, lambda i, j: gradient(step, i, j))
                    optimizer.step()
                    if step in SHOWN:
                        values = " ".join(f"{value:.8g}" for value in weight.detach().flatten().tolist())
                        lines.append(f"{rows} {columns} {weight_decay} {clipping} {step} {values}")
    return lines


def test_the_golden_file_is_what_pytorch_computes():
    expected = GOLDEN.read_text().splitlines()
    computed = trajectories()
    assert len(computed) == len(expected)
    for ours, theirs in zip(computed, expected):
        assert [float(x) for x in ours.split()] == pytest.approx([float(x) for x in theirs.split()], rel=1e-5, abs=1e-6)


if __name__ == "__main__":
    print("\n".join(trajectories()))
