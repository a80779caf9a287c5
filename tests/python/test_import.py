"""Our T5 is T5: random checkpoints of transformers, imported, exported and loaded by torch.jit alone, give the logits
and the greedy ids that transformers gives."""
import shutil
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = 200  # rows of the embedding; the last ones pad it past pieces and sentinels

V1_1 = dict(feed_forward_proj="gated-gelu", d_model=48, d_kv=16, d_ff=80, num_heads=3, num_layers=3)
CONFIGS = {
    "v1_1": V1_1,
    # Heads that are together wider than the model, an odd width, stacks of unequal depth. (The cache of transformers
    # fails where the decoder is the deeper one.)
    "odd_sizes": V1_1 | dict(d_model=37, d_kv=7, d_ff=29, num_heads=9, num_layers=4, num_decoder_layers=2),
    # An epsilon that is seen, other buckets.
    "other_settings": V1_1
    | dict(layer_norm_epsilon=0.05, relative_attention_num_buckets=16, relative_attention_max_distance=40),
    "one_layer": V1_1 | dict(num_layers=1, num_heads=1),
}
TIED = {
    "v1_0": dict(feed_forward_proj="relu", d_model=32, d_kv=8, d_ff=48, num_heads=4, num_layers=2),
    "gated_tied": V1_1,
}


T5 = (transformers.T5Config, transformers.T5ForConditionalGeneration)
MT5 = (transformers.MT5Config, transformers.MT5ForConditionalGeneration)


def random_model(untied: bool, classes=T5, **settings):
    """Every weight is random, norms and relative bias too, so that each of them counts."""
    torch.manual_seed(7)
    config = classes[0](vocab_size=WORDS, decoder_start_token_id=0, dropout_rate=0.1, **settings)
    model = classes[1](config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "layer_norm" in name:
                parameter.uniform_(0.5, 1.5)
            elif "relative_attention_bias" in name:
                parameter.normal_()
        if untied:  # transformers 5 ties the head whatever the config says, until it has a weight of its own
            model.lm_head.weight = torch.nn.Parameter(torch.randn(WORDS, config.d_model) * config.d_model**-0.5)
            model.config.tie_word_embeddings = False
            model.config.scale_decoder_outputs = False
    return model


@pytest.fixture
def exported(altup, tmp_path, tokenizer_model):
    """Saves a transformers model, imports and exports it with the program, and loads the file."""

    def through_the_program(model, **saving):
        theirs = tmp_path / "theirs"
        model.save_pretrained(theirs, **saving)
        shutil.copy(tokenizer_model, theirs / "spiece.model")
        altup.succeed("import", "--from", theirs, "--output", "ours")
        altup.succeed("export", "--checkpoint", "ours", "--to", "torchscript", "--output", "model.pt")
        extra = {"valid_vocab": ""}  # pieces and sentinels: the rows behind them are never generated
        module = torch.jit.load(tmp_path / "model.pt", _extra_files=extra)
        return module, int(extra["valid_vocab"])

    return through_the_program


def padded_batch(lengths, target_length):
    torch.manual_seed(11)
    width = max(lengths)
    mask = (torch.arange(width)[None] < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(2, WORDS, (len(lengths), width)) * mask
    targets = torch.randint(2, WORDS, (len(lengths), target_length))
    targets[:, 0] = 0
    return ids, mask, targets


def assert_same(theirs, ours, words):
    with torch.no_grad():
        for lengths, target_length in [((9,), 1), ((23, 11, 1), 17), ((200, 64), 160)]:
            ids, mask, targets = padded_batch(lengths, target_length)
            expected = theirs(input_ids=ids, attention_mask=mask, decoder_input_ids=targets).logits
            logits = ours.forward(ids, mask, targets)
            difference = (logits - expected).abs().max().item()
            assert difference <= 1e-5 * (expected.max() - expected.min()).item(), (lengths, difference)

        ids, mask, _ = padded_batch((23, 11, 1, 17), 1)
        found = ours.generate(ids, mask, 30)
        assert words < WORDS
        never = list(range(words, WORDS))
        expected = theirs.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=30, do_sample=False, num_beams=1, suppress_tokens=never
        )[:, 1:]  # without the pad that it starts from
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS.keys())
def test_untied_model_has_the_logits_and_ids_of_transformers(exported, settings):
    model = random_model(untied=True, **settings)
    assert_same(model, *exported(model))


@pytest.mark.parametrize("settings", TIED.values(), ids=TIED.keys())
def test_tied_model_has_the_logits_and_ids_of_transformers(exported, settings):
    model = random_model(untied=False, **settings)
    assert_same(model, *exported(model))


@pytest.mark.parametrize("untied", [True, False], ids=["untied_scaled", "tied_unscaled"])
def test_head_with_the_other_scale_has_the_logits_and_ids_of_transformers(exported, untied):
    model = random_model(untied=untied, **V1_1)
    model.config.scale_decoder_outputs = untied
    assert_same(model, *exported(model))


def test_mt5_has_the_logits_and_ids_of_transformers(exported):
    model = random_model(untied=True, classes=MT5, **V1_1)
    assert_same(model, *exported(model))


def test_weights_in_several_files_are_the_same_model(exported, tmp_path):
    model = random_model(untied=True, **V1_1)
    found = exported(model, max_shard_size="100KB")
    assert len(list((tmp_path / "theirs").glob("model-*.safetensors"))) > 2
    assert_same(model, *found)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_weights_become_fp32_exactly(exported, dtype):
    model = random_model(untied=True, **V1_1).to(dtype)
    found = exported(model)
    assert_same(model.float(), *found)


def test_import_keeps_every_weight(altup, tmp_path, tokenizer_model):
    load_file = pytest.importorskip("safetensors.torch").load_file
    model = random_model(untied=True, **V1_1)
    model.save_pretrained(tmp_path / "theirs")
    shutil.copy(tokenizer_model, tmp_path / "theirs" / "spiece.model")
    altup.succeed("import", "--from", "theirs", "--output", "ours")
    (ours,) = (tmp_path / "ours").rglob("model.safetensors")
    total = lambda tensors: sorted(tensor.double().sum().item() for tensor in tensors)
    assert total(load_file(ours).values()) == total(load_file(tmp_path / "theirs" / "model.safetensors").values())


def test_what_cannot_be_imported_is_said_in_one_line(altup, tmp_path):
    model = random_model(untied=True, **V1_1 | dict(feed_forward_proj="gated-silu"))
    model.save_pretrained(tmp_path / "theirs")
    done = altup("import", "--from", "theirs", "--output", "ours", "--log-level", "error")
    assert done.returncode == 2
    assert done.stderr.startswith("error: theirs/config.json: \"feed_forward_proj\" is \"gated-silu\"")
    assert not (tmp_path / "ours").exists()


def test_directories_that_cannot_be_imported_say_what_is_missing(altup, tmp_path, tokenizer_model):
    theirs = tmp_path / "theirs"
    random_model(untied=True, **V1_1).save_pretrained(theirs, max_shard_size="100KB")

    def refused():
        done = altup("import", "--from", "theirs", "--output", "ours", "--log-level", "error")
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "ours").exists()
        return done.stderr

    assert "error: theirs/spiece.model: is missing; expected the SentencePiece file" in refused()
    (theirs / "tokenizer.json").write_text("{}")
    assert "error: theirs/tokenizer.json: is not read; expected spiece.model beside it" in refused()
    shutil.copy(tokenizer_model, theirs / "spiece.model")

    (part,) = theirs.glob("model-00002-of-*.safetensors")
    part.rename(theirs / "elsewhere")
    assert f"error: theirs/{part.name}: is missing; expected it, since model.safetensors.index.json" in refused()
    for file in theirs.glob("model*"):
        file.unlink()
    assert "error: theirs/model.safetensors: is missing" in refused()
    (theirs / "pytorch_model.bin").write_bytes(b"")
    assert "error: theirs/pytorch_model.bin: pickled weights are not read" in refused()


def test_the_word_on_pickled_weights_makes_safetensors_of_them(altup, tmp_path, tokenizer_model):
    model = random_model(untied=True, **V1_1)
    theirs = tmp_path / "theirs"
    model.save_pretrained(theirs)
    (theirs / "model.safetensors").unlink()
    torch.save(model.state_dict(), theirs / "pytorch_model.bin")
    shutil.copy(tokenizer_model, theirs / "spiece.model")
    done = altup("import", "--from", "theirs", "--output", "ours", "--log-level", "error")
    command = done.stderr.split('python -c "', 1)[1].rsplit('"', 1)[0]
    subprocess.run([sys.executable, "-W", "ignore", "-c", command], cwd=tmp_path, check=True, capture_output=True)
    altup.succeed("import", "--from", "theirs", "--output", "ours")


def test_output_that_holds_no_model_is_refused_before_anything_is_read(altup, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "notes.txt").write_text("mine")
    done = altup("import", "--from", "nowhere", "--output", "kept", "--log-level", "error")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "kept: is there and holds no model; expected" in done.stderr
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]
