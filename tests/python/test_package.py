"""python/altup: the modules, on the build's operator library; and that pip makes an installation that works alone.

Once, pip compiles the package as a user's would. All else takes the library that the build has made already.
"""
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch._dynamo.testing
from conftest import ROOT

PACKAGE = ROOT / "python"


@pytest.fixture(scope="module")
def altup(ops_library):
    """The package from the checkout."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ALTUP_OPS_LIBRARY", str(ops_library))
    patch.syspath_prepend(str(PACKAGE))
    yield importlib.import_module("altup")
    patch.undo()


def encoder_layer(**options) -> torch.nn.Module:
    torch.manual_seed(3)
    return torch.nn.TransformerEncoderLayer(
        16, 2, 32, dropout=0.0, batch_first=True, norm_first=True, **options
    )


def randomise_coefficients(module: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("_coefs"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def algorithm_1(x, x_tilde, p, g, active_block):
    """The paper's, block by block."""
    blocks = range(len(x))
    predicted = [sum(p[i, j] * x[j] for j in blocks) for i in blocks]
    return torch.stack([predicted[i] + g[i] * (x_tilde - predicted[active_block]) for i in blocks])


@pytest.mark.parametrize("num_blocks, active_block", [(1, 0), (2, 1), (4, 2), (6, 3)])
def test_altup_is_algorithm_1_around_the_layer(altup, num_blocks, active_block):
    layer = torch.nn.Linear(8, 8)
    module = randomise_coefficients(altup.AltUp(layer, num_blocks, active_block))
    x = torch.randn(num_blocks, 2, 3, 8)
    expected = algorithm_1(
        x, layer(x[active_block]), module.prediction_coefs, module.correction_coefs, active_block
    )
    torch.testing.assert_close(module(x), expected, rtol=1e-5, atol=1e-5)


def test_gradients_and_shape_functions(altup):
    module = randomise_coefficients(altup.AltUp(torch.nn.Linear(3, 3), 2, 1)).double()
    x = torch.randn(2, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    parameters = dict(module.named_parameters())

    def call(x, *values):
        return torch.func.functional_call(module, dict(zip(parameters, values)), (x,))

    assert torch.autograd.gradcheck(call, (x, *parameters.values()))
    coefs = (module.prediction_coefs, module.correction_coefs)
    x_tilde = x[0].tanh().detach().requires_grad_()
    torch.library.opcheck(torch.ops.altup.update.default, (x, x_tilde, *coefs, 1))
    on_meta = altup.AltUp(torch.nn.Linear(8, 8), 2).to("meta")
    assert on_meta(torch.empty(2, 5, 7, 8, device="meta")).shape == (2, 5, 7, 8)


def test_parameters_are_those_of_the_cpp_module(altup):
    torch.set_default_dtype(torch.float64)
    try:
        active = altup.AltUpUpdate(3, active_block=2, init="active")
        identity = altup.AltUpUpdate(3, active_block=2)
    finally:
        torch.set_default_dtype(torch.float32)
    for module in (active, identity):
        assert module.prediction_coefs.dtype == module.correction_coefs.dtype == torch.float32
        assert module.prediction_coefs.equal(torch.eye(3))
    assert active.correction_coefs.tolist() == [0, 0, 1]
    assert identity.correction_coefs.tolist() == [1, 1, 1]


def golden_parameters(stack: str) -> dict[str, list[int]]:
    """The update's parameters of the AltUp K = 2 base model as tests/models/parameters_test.cpp has them."""
    text = (ROOT / "tests" / "golden" / "parameters_base.txt").read_text()
    section = text.split("== altup K=2\n")[1].split("\n==")[0]
    found = {}
    rows = re.findall(rf"^{stack}\.(altup\.)\{{0\.\.(\d+)\}}(\.\w+) \[(.*)\]$", section, re.M)
    for start, last, end, shape in rows:
        for layer in range(int(last) + 1):
            found[f"{start}{layer}{end}"] = [int(size) for size in shape.split(",")]
    return found


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_a_stack_names_its_parameters_as_the_cpp_stacks_do(altup, stack):
    module = altup.AltUpStack([torch.nn.Linear(4, 4) for _ in range(12)], num_blocks=2)
    names = {n: list(t.shape) for n, t in module.state_dict().items() if n.startswith("altup.")}
    assert len(names) == 24 and names == golden_parameters(stack)
    assert "layers.11.weight" in module.state_dict()
    wrapped = altup.AltUp(torch.nn.Linear(4, 4)).state_dict()
    assert set(wrapped) == {"prediction_coefs", "correction_coefs", "layer.weight", "layer.bias"}


def test_a_stack_takes_turns_or_stays_with_block_0(altup):
    layers = [torch.nn.Identity() for _ in range(5)]
    turns = altup.AltUpStack(layers, 2).altup
    same = altup.AltUpStack(layers, 2, "same", "active").altup
    assert [update.active_block for update in turns] == [0, 1, 0, 1, 0]
    assert [update.active_block for update in same] == [0] * 5 and same[4].init == "active"


def test_equal_blocks_start_as_the_dense_model(altup):
    layers = [encoder_layer().eval() for _ in range(3)]
    embedded = torch.randn(2, 5, 16)
    dense = embedded
    for layer in layers:
        dense = layer(dense)
    state = altup.AltUpStack(layers, 2)(altup.enter_blocks(embedded, 2))
    assert altup.leave_blocks(state).equal(dense)
    assert all(b.equal(dense) for b in altup.AltUpStack(layers, 3)(altup.enter_blocks(embedded, 3)))
    alone = altup.AltUpStack(layers, 1)
    assert len(alone.altup) == 0 and alone(embedded.unsqueeze(0))[0].equal(dense)


def test_equal_blocks_leave_as_that_block(altup):
    block = torch.randn(2, 5, 16)
    for blocks in (1, 2, 3, 5, 7):
        assert altup.leave_blocks(altup.enter_blocks(block, blocks, "copy"), "mean").equal(block), blocks


def test_blocks_leave_in_a_graph_of_any_number_of_them(altup):
    state = torch.randn(2, 2, 3, 8)
    compiled = torch.compile(altup.leave_blocks, fullgraph=True, dynamic=True, backend="eager")
    traced = torch.jit.trace(altup.leave_blocks, state)
    for blocks in (2, 3, 4):
        state = torch.randn(blocks, 2, 3, 8)
        torch.testing.assert_close(compiled(state), state.mean(0))
        torch.testing.assert_close(traced(state), state.mean(0))


def test_blocks_enter_and_leave(altup):
    embedded = torch.arange(24.0).view(1, 2, 12)
    copied, split = altup.enter_blocks(embedded, 3), altup.enter_blocks(embedded, 3, "split")
    assert copied.shape == (3, 1, 2, 12) and copied.data_ptr() == embedded.data_ptr()
    assert split[1].tolist() == [[[4, 5, 6, 7], [16, 17, 18, 19]]]
    assert altup.leave_blocks(split, "concat").equal(embedded)
    assert altup.leave_blocks(split).tolist() == [[[4, 5, 6, 7], [16, 17, 18, 19]]]
    assert altup.leave_blocks(split, "sum")[0, 0].tolist() == [12, 15, 18, 21]


def test_masks_reach_the_layer(altup):
    stack = altup.AltUpStack([encoder_layer(), encoder_layer()], 2).eval()
    padding = torch.tensor([[False, False, False, True]])
    x = altup.enter_blocks(torch.randn(1, 4, 16), 2).clone()
    other = x.clone()
    other[:, :, 3] += 1
    masked = [stack(s, src_key_padding_mask=padding)[:, :, :3] for s in (x, other)]
    assert masked[0].equal(masked[1])
    assert not stack(x)[:, :, :3].equal(stack(other)[:, :, :3])


class Residual(torch.nn.Module):
    """A layer that inductor compiles in seconds."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(16, 16)

    def forward(self, x):
        return x + self.inner(x).relu()


@pytest.mark.parametrize(
    "backend, layer", [("aot_eager", encoder_layer), ("inductor", Residual)]
)
def test_compiles_to_one_graph(altup, backend, layer):
    def run(function, stack):
        torch.manual_seed(1)
        x = torch.randn(2, 5, 16, requires_grad=True)
        y = function(altup.enter_blocks(x, 2))
        y.square().sum().backward()
        return [y, x.grad, *(p.grad.clone() for p in stack.parameters())]

    stack = randomise_coefficients(altup.AltUpStack([layer(), layer()], 2))
    expected = run(stack, stack)
    stack.zero_grad()
    graphs = torch._dynamo.testing.CompileCounterWithBackend(backend)
    actual = run(torch.compile(stack, fullgraph=True, backend=graphs), stack)
    assert graphs.frame_count == 1
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("state_type", [torch.float32, torch.bfloat16])
def test_autocast_lowers_neither_state_nor_coefficients(altup, state_type):
    seen = []
    layer = torch.nn.Linear(8, 8)
    module = randomise_coefficients(altup.AltUp(lambda x: seen.append(y := layer(x)) or y, 2, 1))
    x = torch.randn(2, 3, 4, 8).to(state_type)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    assert seen[0].dtype == torch.bfloat16 and y.dtype == state_type
    assert module.prediction_coefs.dtype == torch.float32
    # the sums in fp32, from the activations as they are: one rounding at the end, if any
    coefs = (module.prediction_coefs, module.correction_coefs)
    exact = algorithm_1(x.float(), seen[0].float(), *coefs, 1).to(state_type)
    tolerance = 1e-5 if state_type == torch.float32 else 2**-8
    torch.testing.assert_close(y, exact, rtol=tolerance, atol=tolerance)
    y.float().sum().backward()
    assert module.prediction_coefs.grad.dtype == torch.float32


def test_a_wrapped_transformer_learns(altup):
    torch.manual_seed(0)
    embedding, head = torch.nn.Embedding(20, 32), torch.nn.Linear(32, 20)
    stack = altup.AltUpStack([encoder_layer() for _ in range(2)], 2, init="active")
    model = torch.nn.ModuleList([embedding, stack, head])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    tokens = torch.randint(20, (16, 8))
    targets = tokens.flip(1)  # only attention can tell
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        place = torch.linspace(-2, 2, 8).view(1, 8, 1)
        state = stack(altup.enter_blocks(embedding(tokens) + place, 2, "split"))
        logits = head(altup.leave_blocks(state, "concat"))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 2.5 and losses[-1] < 0.8 * losses[0], losses
    assert not stack.altup[0].prediction_coefs.equal(torch.eye(2))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in stack.altup.parameters())


def test_mistakes_are_named(altup):
    with pytest.raises(ValueError, match="active_block is 2; expected 0 … 1"):
        altup.AltUp(torch.nn.Identity(), 2, 2)
    with pytest.raises(ValueError, match='init is "zero"'):
        altup.AltUpUpdate(2, init="zero")
    with pytest.raises(ValueError, match='block_selection is "random"'):
        altup.AltUpStack([], block_selection="random")
    with pytest.raises(ValueError, match="num_blocks is 0"):
        altup.AltUpStack([], num_blocks=0)
    with pytest.raises(ValueError, match='init is "zero"'):
        altup.AltUpStack([], num_blocks=1, init="zero")
    for stack in (altup.AltUpStack([], num_blocks=1), altup.AltUpStack([torch.nn.Identity()], num_blocks=3)):
        with pytest.raises(ValueError, match="expected a state of [13] blocks"):
            stack(torch.zeros(2, 1, 1, 8))
    with pytest.raises(ValueError, match="num_blocks is -1"):
        altup.enter_blocks(torch.zeros(1, 1, 8), -1)
    with pytest.raises(ValueError, match="width of 7 does not split into 2"):
        altup.enter_blocks(torch.zeros(1, 1, 7), 2, "split")
    with pytest.raises(RuntimeError, match="must have the shape of one block"):
        altup.AltUp(torch.nn.Linear(8, 4), 2)(torch.zeros(2, 1, 1, 8))


def run_python(code: str, path: Path, **environment) -> subprocess.CompletedProcess:
    kept = {k: v for k, v in os.environ.items() if k != "ALTUP_OPS_LIBRARY"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, cwd="/",
        env={**kept, "PYTHONPATH": str(path), **environment},
    )  # fmt: skip


def test_a_library_that_is_missing_or_none_is_an_import_error(tmp_path):
    (tmp_path / "altup").symlink_to(PACKAGE / "altup")
    (tmp_path / "text.so").write_text("text")
    done = run_python(
        f"""
import os
for library in ("", "/missing.so", {str(tmp_path / "text.so")!r}):
    os.environ["ALTUP_OPS_LIBRARY"] = library
    try:
        import altup
    except ImportError as error:
        print(error)
""",
        tmp_path,
    )
    built, missing, text = done.stdout.splitlines()
    assert "are not built: expected" in built and "pip install --no-build-isolation" in built
    assert "$ALTUP_OPS_LIBRARY names /missing.so" in missing
    assert "text.so does not load with torch 2." in text


def test_the_example_of_the_documentation_runs(ops_library):
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)[1]
    done = run_python(code, PACKAGE, ALTUP_OPS_LIBRARY=str(ops_library))
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.removeprefix("loss ")) < 2.0, done.stdout  # ln 100 = 4.6 at the start


def test_pip_installs_a_package_that_works_alone(ops_library, tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--no-index", "--target", tmp_path, PACKAGE],
        check=True, timeout=600, env={"CCACHE_DIR": str(ROOT / ".ccache"), **os.environ},
    )  # fmt: skip
    done = run_python(
        f"""
import importlib.metadata, torch, altup
assert altup.__file__.startswith({str(tmp_path)!r}), altup.__file__
assert importlib.metadata.requires("altup") == ["torch==" + torch.__version__.split("+")[0]]
def check():
    layer, x = torch.nn.Linear(4, 4), torch.randn(2, 1, 3, 4)
    y = altup.AltUp(layer, 2, 0)(x)
    torch.testing.assert_close(y[0], layer(x[0]))
check()
torch.ops.load_library({str(ops_library)!r})  # another copy, later: the first one goes on
check()
""",
        tmp_path,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr

    done = run_python(
        f"import torch; torch.ops.load_library({str(ops_library)!r}); import altup",
        tmp_path,
        ALTUP_OPS_LIBRARY=str(tmp_path / "altup" / "libaltup_ops.so"),
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr

    (tmp_path / "altup" / "_build.py").write_text('TORCH_VERSION = "1.0.0"\n')
    done = run_python("import altup", tmp_path)
    assert "were compiled with torch 1.0.0, but this is torch 2." in done.stderr.splitlines()[-1]
