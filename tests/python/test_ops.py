"""The operator library alone, as Python's torch sees it: registrations, gradients, torch.compile."""
import os
from itertools import product

import pytest
import torch


@pytest.fixture(scope="module")
def ops(request):
    """torch.ops.altup, from $ALTUP_OPS_LIBRARY or from the build."""
    library = os.environ.get("ALTUP_OPS_LIBRARY") or request.getfixturevalue("ops_library")
    torch.ops.load_library(str(library))
    return torch.ops.altup


def sample(num_blocks, dtype=torch.float32, shape=(2, 3, 8), requires_grad=True):
    """x, x_tilde, prediction_coefs, correction_coefs; the coefficients are fp32 for narrower activations."""
    generator = torch.Generator().manual_seed(num_blocks)
    sums = torch.float64 if dtype == torch.float64 else torch.float32
    shapes = ((num_blocks, *shape), shape, (num_blocks, num_blocks), (num_blocks,))
    return tuple(
        torch.randn(s, generator=generator).to(d).requires_grad_(requires_grad)
        for s, d in zip(shapes, (dtype, dtype, sums, sums))
    )


def algorithm_1(x, x_tilde, p, g, active_block):
    predicted = [sum(p[i, j] * x[j] for j in range(len(x))) for i in range(len(x))]
    innovation = x_tilde - predicted[active_block]
    return torch.stack([predicted[i] + g[i] * innovation for i in range(len(x))])


@pytest.mark.parametrize("num_blocks", [1, 2, 3, 4, 5])
def test_is_algorithm_1(ops, num_blocks):
    for active_block in range(num_blocks):
        inputs = sample(num_blocks, torch.float64)
        torch.testing.assert_close(
            ops.update(*inputs, active_block), algorithm_1(*inputs, active_block)
        )


@pytest.mark.parametrize(
    "num_blocks, dtype", list(product([2, 5], [torch.float32, torch.bfloat16]))
)
def test_registrations_are_complete(ops, num_blocks, dtype):
    inputs = sample(num_blocks, dtype)
    torch.library.opcheck(ops.update.default, (*inputs, num_blocks - 1))
    grad = torch.randn_like(inputs[0])
    torch.library.opcheck(ops.update_backward.default, (grad, *inputs, 0))


@pytest.mark.parametrize(
    "num_blocks, dtype", list(product([2, 5], [torch.float32, torch.bfloat16]))
)
def test_registrations_hold_for_coefficients_of_each_token(ops, num_blocks, dtype):
    x, x_tilde, _, _ = sample(num_blocks, dtype)
    p, g = random(2, 3, num_blocks, num_blocks), random(2, 3, num_blocks)
    torch.library.opcheck(ops.update.default, (x, x_tilde, p, g, 1))
    torch.library.opcheck(ops.update_backward.default, (torch.randn_like(x), x, x_tilde, p, g, 0))


def test_coefficients_of_each_token_have_two_derivatives(ops):
    x, x_tilde, _, _ = sample(2, torch.float64, (1, 2, 3))
    p, g = random(1, 2, 2, 2, dtype=torch.float64), random(1, 2, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(ops.update, (x, x_tilde, p, g, 1))
    assert torch.autograd.gradgradcheck(ops.update, (x, x_tilde, p, g, 1))
    expected = torch.stack([algorithm_1(x[:, 0, t], x_tilde[0, t], p[0, t], g[0, t], 1) for t in range(2)], 1)
    torch.testing.assert_close(ops.update(x, x_tilde, p, g, 1)[:, 0], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_registrations_of_the_sequence_update_are_complete(ops, dtype):
    places, anchors = torch.tensor([0, 3, 4]), torch.tensor([0, 0, 0, 1, 2, 2])
    sums = torch.float64 if dtype == torch.float64 else torch.float32
    coefs = (random(2, dtype=sums), random(1, dtype=sums))
    inputs = (random(6, 8, dtype=dtype), random(3, 8, dtype=dtype), places, anchors, *coefs)
    torch.library.opcheck(ops.sequence_update.default, inputs)
    torch.library.opcheck(ops.sequence_update_backward.default, (torch.randn_like(inputs[0]), *inputs))
    if dtype == torch.float64:
        assert torch.autograd.gradcheck(ops.sequence_update, inputs)
        assert torch.autograd.gradgradcheck(ops.sequence_update, inputs)


def test_registrations_hold_for_expanded_and_permuted_states(ops):
    x, x_tilde, p, g = sample(2)
    expanded = x_tilde.detach().expand_as(x).requires_grad_()
    permuted = torch.randn(3, 2, 2, 8).permute(1, 2, 0, 3).requires_grad_()
    for state in (expanded, permuted):
        torch.library.opcheck(ops.update.default, (state, x_tilde, p, g, 1))


@pytest.mark.parametrize("num_blocks", [1, 2, 4, 5])
def test_first_and_second_derivatives(ops, num_blocks):
    inputs = (*sample(num_blocks, torch.float64, (1, 2, 3)), num_blocks - 1)
    assert torch.autograd.gradcheck(ops.update, inputs)
    assert torch.autograd.gradgradcheck(ops.update, inputs)


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(ops, dynamic):
    def loss(x, x_tilde, p, g):
        return ops.update(x, x_tilde.tanh(), p, g, 1).square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for shape in ((2, 3, 8), (4, 5, 8)):
        eager, traced = sample(2, shape=shape), sample(2, shape=shape)
        expected, actual = loss(*eager), compiled(*traced)
        torch.testing.assert_close(actual, expected)
        expected.backward()
        actual.backward()
        for a, e in zip(traced, eager):
            torch.testing.assert_close(a.grad, e.grad)


def test_autocast_keeps_the_state_in_fp32(ops):
    x, x_tilde, p, g = sample(2, requires_grad=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = ops.update(x, x_tilde.bfloat16(), p, g, 0)
    assert y.dtype == torch.float32
    assert y.equal(ops.update(x, x_tilde.bfloat16().float(), p, g, 0))


def test_errors_name_the_shapes(ops):
    x, x_tilde, p, g = sample(2)
    with pytest.raises(RuntimeError, match=r"prediction_coefs \[3, 3\] must be \[K, K\]"):
        ops.update(x, x_tilde, torch.eye(3), g, 0)
    with pytest.raises((IndexError, RuntimeError), match=r"active_block must be in \[0, 2\), got 5"):
        ops.update(x, x_tilde, p, g, 5)


def random(*sizes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(len(sizes))
    return torch.randn(*sizes, generator=generator).to(dtype).requires_grad_()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_registrations_of_the_layer_operators_are_complete(ops, dtype):
    """Schemas, fake kernels and autograd, also with dynamic shapes."""
    x, weight = random(2, 3, 8), random(8)
    torch.library.opcheck(ops.rms_norm.default, (x, weight, 1e-6), {"dtype": dtype})
    torch.library.opcheck(ops.add_rms_norm.default, (x, random(2, 3, 8, dtype=dtype), weight, 1e-6))
    torch.library.opcheck(ops.gated_gelu.default, (random(2, 3, 8, dtype=dtype), random(2, 3, 8, dtype=dtype)))
    q, k, v = (random(2, length, 2, 4, dtype=dtype) for length in (3, 5, 5))
    torch.library.opcheck(ops.attention.default, (q, k, v), {"relative_bias": random(2, 7), "zero_distance": 2})
    offsets = {"query_offsets": torch.tensor([0, 1, 4]), "key_offsets": torch.tensor([0, 2, 4])}
    packed = [random(1, 4, 2, 4, dtype=dtype) for _ in range(3)]
    torch.library.opcheck(ops.attention.default, packed, {"causal": True, "dropout": 0.3, "seed": 5, **offsets})
    torch.library.opcheck(ops.linear.default, (random(2, 3, 8, dtype=dtype), random(5, 8, dtype=dtype)))
    head = (random(4, 8, dtype=dtype), random(11, 8), torch.tensor([0, 10, 3, 3]), torch.ones(4))
    torch.library.opcheck(ops.linear_cross_entropy.default, head, {"z_loss": 1e-2, "label_smoothing": 0.1})


def test_layer_operators_equal_pytorchs(ops):
    """Against PyTorch's own functions, values and gradients."""
    x, weight = random(2, 3, 8), random(8)
    ours = ops.rms_norm(x, weight, 1e-6)[0]
    theirs = torch.nn.functional.rms_norm(x, (8,), weight, 1e-6)
    q, k, v, bias = random(2, 3, 2, 4), random(2, 5, 2, 4), random(2, 5, 2, 4), random(2, 7)
    attended = ops.attention(q, k, v, bias, zero_distance=2)[0]
    distances = torch.arange(5)[None, :] - torch.arange(3)[:, None]  # key - query
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(t.transpose(1, 2) for t in (q, k, v)), attn_mask=bias[:, distances + 2], scale=1.0
    ).transpose(1, 2)
    rows, head, targets = random(4, 8), random(11, 8), torch.tensor([0, 10, 3, 3])
    loss = ops.linear_cross_entropy(rows, head, targets, torch.ones(4), label_smoothing=0.1)[0]
    plain = torch.nn.functional.cross_entropy(rows @ head.T, targets, label_smoothing=0.1, reduction="sum")
    gate, value = random(2, 8), random(2, 8)
    gated = ops.gated_gelu(gate, value)
    for actual, wanted, inputs in (
        (ours, theirs, (x, weight)),
        (attended, expected, (q, k, v, bias)),
        (loss, plain, (rows, head)),
        (gated, torch.nn.functional.gelu(gate, approximate="tanh") * value, (gate, value)),
    ):
        torch.testing.assert_close(actual, wanted)
        d = torch.ones_like(wanted)
        for a, w in zip(torch.autograd.grad(actual, inputs, d), torch.autograd.grad(wanted, inputs, d), strict=True):
            torch.testing.assert_close(a, w, rtol=1e-4, atol=1e-5)


def test_registrations_of_the_operators_of_decoding_are_complete(ops):
    x, weight = torch.randn(3, 2, 10), torch.randn(7, 10)
    torch.library.opcheck(ops.linear_few_rows.default, (x, weight))
    torch.library.opcheck(ops.linear_few_rows.default, (x, weight.bfloat16()))
    int8 = torch.randint(-127, 128, (7, 10), dtype=torch.int8)
    torch.library.opcheck(ops.linear_few_rows.default, (x, int8, torch.rand(7)))
    torch.library.opcheck(ops.linear_few_rows.several, (x, [weight, torch.randn(5, 10)], []))
    torch.library.opcheck(ops.linear_few_rows.several, (x, [int8, int8], [torch.rand(7), torch.rand(7)]))

    q, keys, values = torch.randn(3, 1, 2, 4), torch.randn(2, 2, 9, 4), torch.randn(2, 2, 9, 4)
    sources, bias = torch.tensor([1, 0, 1]), torch.randn(1, 2, 1, 5)
    torch.library.opcheck(ops.cached_attention.default, (q, keys, values, 5, sources, bias))
    torch.library.opcheck(ops.append_to_cache.default, (keys, values, torch.randn(2, 3, 2, 4), torch.randn(2, 3, 2, 4), 5))
    torch.library.opcheck(ops.likeliest.default, (torch.randn(3, 50), 4, 40, True))


def test_under_autocast_few_rows_read_bf16_weights_and_keep_fp32_sums(ops):
    x, weight = torch.randn(3, 64), torch.randn(20, 64)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        y = ops.linear_few_rows(x, weight)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, x @ weight.bfloat16().float().t(), rtol=1e-5, atol=1e-5)
