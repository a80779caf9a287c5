"""The operators where their inputs are odd: hidden rows, missing gradients, wrong devices, sizes and types."""
import pytest
import torch
from test_ops import ops, random  # noqa: F401


def attend(q, k, v, bias):
    scores = torch.einsum("bthd,bshd->bhts", q, k) + bias[:, None, None]
    return torch.einsum("bhts,bshd->bthd", scores.softmax(-1), v)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.bfloat16, 0.05)])
def test_gradients_where_all_keys_are_hidden_are_those_of_a_uniform_row(ops, dtype, tolerance):
    """The scores are then -1e9, in which fp32 loses the logarithm of the number of keys."""
    torch.manual_seed(1)
    inputs = [torch.randn(2, n, 2, 8).to(dtype).requires_grad_() for n in (5, 33, 33)]
    bias = torch.zeros(2, 33)
    bias[0] = -1e9
    weights = torch.randn(2, 5, 2, 8).to(dtype)
    got = torch.autograd.grad((ops.attention(*inputs, key_bias=bias)[0] * weights).sum(), inputs)
    wide = [x.detach().double().requires_grad_() for x in inputs]
    # In double -1e9 leaves room for the score; what was meant is that none of the row's differ.
    scores_of_row_0 = torch.tensor([0.0, 1.0], dtype=torch.double).view(2, 1, 1, 1)
    out = attend(wide[0] * scores_of_row_0, wide[1], wide[2], torch.zeros(2, 33))
    expected = torch.autograd.grad((out * weights.double()).sum(), wide)
    torch.testing.assert_close(got[2].double(), expected[2], rtol=tolerance, atol=tolerance)
    for mine, theirs in zip(got[:2], expected[:2]):
        torch.testing.assert_close(mine[1].double(), theirs[1], rtol=tolerance, atol=tolerance)


def test_second_derivatives_are_refused_not_wrong(ops):
    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(11, 8, requires_grad=True)
    targets = torch.tensor([0, 10, 3, 3])
    loss = ops.linear_cross_entropy(x, weight, targets, torch.ones(4))[0]
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, x, create_graph=True)
    q, bias = torch.randn(1, 3, 2, 4), torch.randn(2, 5, requires_grad=True)
    out = ops.attention(q, q, q, relative_bias=bias, zero_distance=2)[0]
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(out.sum(), bias, create_graph=True)


class Nothing(torch.autograd.Function):
    """Passes its input on and no gradient back."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return None


def test_a_gradient_that_never_comes_is_none(ops):
    q = torch.randn(1, 3, 2, 4, requires_grad=True)
    x, weight = torch.randn(4, 8, requires_grad=True), torch.randn(11, 8)
    outputs = [
        ops.attention(q, q, q)[0],
        ops.linear_cross_entropy(x, weight, torch.zeros(4, dtype=torch.long), torch.ones(4))[0],
    ]
    for output in outputs:
        Nothing.apply(output).sum().backward()
    double = tuple(torch.randn(1, 3, 2, 4, dtype=torch.double, requires_grad=True) for _ in range(3))
    torch.autograd.gradcheck(lambda q, k, v: ops.attention(q, k, v)[0], double)


def test_a_cache_that_was_written_to_is_not_differentiated_through(ops):
    keys, values = torch.zeros(1, 1, 4, 3), torch.zeros(1, 1, 4, 3)
    weight = torch.ones(1, 1, 4, 3, requires_grad=True)
    product = (weight * keys).sum()
    new = torch.ones(1, 1, 1, 3)
    ops.append_to_cache(keys, values, new, new, 0)
    assert keys._version == values._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def wrong_calls(ops):
    q, x, weight = torch.ones(1, 3, 2, 4), torch.ones(4, 8), torch.ones(8)
    lse, targets = torch.ones(1, 2, 3), torch.zeros(4, dtype=torch.long)
    attention = lambda dout, out=q, lse=lse, v=q, bias=False: ops.attention_backward(
        dout, q, q, v, None, 0, False, None, None, None, 0.0, 0, out, lse, bias
    )
    loss = lambda **options: ops.linear_cross_entropy(x, torch.ones(11, 8), targets, torch.ones(4), **options)
    return {
        "a gradient of another size, gated_gelu": lambda: ops.gated_gelu_backward(torch.ones(9), q, q),
        "a short gradient, attention": lambda: attention(q[:, :1]),
        "a short output, attention": lambda: attention(q, out=q[:, :1]),
        "a short log-sum, attention": lambda: attention(q, lse=lse[:, :1]),
        "other values, attention": lambda: attention(q, v=q[:, :1]),
        "a bias gradient without a bias": lambda: attention(q, bias=True),
        "a short gradient, rms_norm": lambda: ops.rms_norm_backward(x[:1], None, x, weight, torch.ones(4), None),
        "a short rstd, rms_norm": lambda: ops.rms_norm_backward(x, None, x, weight, torch.ones(1), None),
        "a short gradient of the sum": lambda: ops.rms_norm_backward(x, x[:1], x, weight, torch.ones(4), None),
        "a bias elsewhere": lambda: ops.attention(q, q, q, key_bias=torch.zeros(1, 3, device="meta")),
        "a bool mask": lambda: ops.attention(q, q, q, key_bias=torch.ones(1, 3, dtype=torch.bool)),
        "a distance out of all bounds": lambda: ops.attention(
            q, q, q, relative_bias=torch.ones(2, 5), zero_distance=2**63 - 1
        ),
        "a weight elsewhere": lambda: ops.linear(x, torch.ones(5, 8, device="meta")),
        "a weight of few rows elsewhere": lambda: ops.linear_few_rows(x, torch.ones(5, 8, device="meta")),
        "tokens elsewhere": lambda: ops.append_to_cache(
            q.clone(), q.clone(), *2 * [torch.ones(1, 1, 3, 4, device="meta")], 0
        ),
        "no scale": lambda: loss(scale=0.0),
        "negative smoothing": lambda: loss(label_smoothing=-0.5),
    }


@pytest.mark.parametrize("mistake", wrong_calls(torch.ops.altup))
def test_wrong_arguments_are_refused(ops, mistake):
    with pytest.raises((RuntimeError, TypeError), match="altup::"):
        wrong_calls(ops)[mistake]()


def test_dropout_of_neighbouring_seeds_has_nothing_in_common(ops):
    v, zeros = torch.eye(64)[None, :, None, :], torch.zeros(1, 64, 1, 64)
    masks = [ops.attention(zeros, zeros, v, dropout=0.5, seed=seed)[0][0, :, 0] > 0 for seed in range(4)]
    for mask in masks[1:]:
        for shift in range(-3, 4):
            same = (mask.roll(shift, 0) == masks[0]).float().mean()
            assert 0.45 < same < 0.55


def test_widths_of_zero_have_gradients(ops):
    for out, width in ((0, 3), (3, 0)):
        x, weight = (torch.randn(*size, requires_grad=True) for size in ((2, width), (out, width)))
        ops.linear(x, weight).sum().backward()
        assert x.grad.shape == x.shape and weight.grad.shape == weight.shape
    x, weight = torch.randn(2, 0, requires_grad=True), torch.randn(0, requires_grad=True)
    ops.rms_norm(x, weight, 1e-6)[0].sum().backward()
    assert x.grad.shape == x.shape and weight.grad.shape == weight.shape


def test_gradients_can_be_batched(ops):
    x, weight = torch.randn(4, 8), torch.randn(5, 8)
    jacobian = torch.autograd.functional.jacobian(lambda x: ops.linear(x, weight), x, vectorize=True)
    torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(lambda x: x @ weight.t(), x))
    loss = lambda x: ops.linear_cross_entropy(x, weight, torch.tensor([0, 4, 3, 3]), torch.ones(4))[0]
    composed = lambda x: torch.nn.functional.cross_entropy(x @ weight.t(), torch.tensor([0, 4, 3, 3]), reduction="sum")
    torch.testing.assert_close(
        torch.autograd.functional.jacobian(loss, x, vectorize=True), torch.autograd.functional.jacobian(composed, x)
    )


def test_autocast_leaves_doubles_alone(ops):
    x, weight = random(3, 8, dtype=torch.double), random(8, dtype=torch.double)
    with torch.autocast("cpu", torch.bfloat16):
        assert ops.rms_norm(x, weight, 1e-6)[0].dtype == torch.double


def test_the_heads_gradient_is_added_up_in_fp32(ops):
    """In bf16 with a bf16 weight, over more rows than one chunk of logits has."""
    torch.manual_seed(2)
    rows, vocabulary = 4200, 16000
    x, weight = torch.randn(rows, 4).bfloat16(), torch.randn(vocabulary, 4).bfloat16()
    targets, ones = torch.randint(vocabulary, (rows,)), torch.ones(rows)
    gradient = ops.linear_cross_entropy(x, weight, targets, ones)[4]
    exact = ops.linear_cross_entropy(x, weight.float(), targets, ones)[4]
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(gradient.float(), exact, rtol=2**-8, atol=1e-6)
