"""What `altup export --to huggingface` writes is what transformers opens: logits, greedy ids, weights bit for bit, and
the ids of the tokenizer; and what transformers has no model for, it refuses."""
import json
import re
import shutil

import pytest

torch = pytest.importorskip("torch", reason="compares with PyTorch")
transformers = pytest.importorskip("transformers", reason="compares with Hugging Face's transformers")
load_file = pytest.importorskip("safetensors.torch", reason="reads the weights with safetensors").load_file
sentencepiece = pytest.importorskip("sentencepiece", reason="compares ids with SentencePiece's own")

from test_export import MODEL, TRAINING, VARIANTS  # noqa: E402
from test_import import MT5, V1_1, WORDS, padded_batch, random_model  # noqa: E402

SMALL = dict(d_model=32, d_kv=8, d_ff=48, num_heads=4, num_layers=2)
KINDS = {
    "t5_v1_0": dict(feed_forward_proj="relu", **SMALL),
    "t5_v1_1": V1_1,
    "flan_t5": V1_1 | dict(num_decoder_layers=2),
    "mt5": dict(feed_forward_proj="gated-gelu", **SMALL),
}


def original(kind):
    if kind == "t5_v1_0":
        return random_model(untied=False, **KINDS[kind])
    if kind == "mt5":
        return random_model(untied=True, classes=MT5, **KINDS[kind])
    return random_model(untied=True, **KINDS[kind])


def weights_of(directory):
    files = sorted(directory.glob("model*.safetensors"))
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def assert_bit_identical(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def assert_same_logits(found, expected, tolerance=1e-5):
    with torch.no_grad():
        for lengths, target_length in [((9,), 1), ((23, 11, 1), 17)]:
            ids, mask, targets = padded_batch(lengths, target_length)
            batch = dict(input_ids=ids, attention_mask=mask, decoder_input_ids=targets)
            a, b = found(**batch).logits, expected(**batch).logits
            assert (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.fixture
def through(altup, tmp_path, tokenizer_model):
    """Hugging Face -> ours -> Hugging Face; returns the directory of the original and of the export."""

    def there_and_back(model, *options):
        model.save_pretrained(tmp_path / "theirs")
        shutil.copy(tokenizer_model, tmp_path / "theirs" / "spiece.model")
        altup.succeed("import", "--from", "theirs", "--output", "ours")
        altup.succeed("export", "--checkpoint", "ours", "--to", "huggingface", "--output", "back", *options)
        return tmp_path / "theirs", tmp_path / "back"

    return there_and_back


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_is_the_same_model(through, kind):
    model = original(kind)
    theirs, back = through(model)
    assert_bit_identical(weights_of(back), weights_of(theirs))
    opened = transformers.T5ForConditionalGeneration.from_pretrained(back).eval()
    assert opened.dtype == torch.float32
    assert_same_logits(opened, model)
    # Greedy ids: the export says itself which ids only pad the embedding.
    words = len(transformers.AutoTokenizer.from_pretrained(back))
    assert words < WORDS
    ids, mask, _ = padded_batch((23, 11, 1), 1)
    settings = dict(input_ids=ids, attention_mask=mask, max_new_tokens=20, do_sample=False, num_beams=1)
    expected = model.generate(**settings, decoder_start_token_id=0, suppress_tokens=list(range(words, WORDS)))
    assert opened.generate(**settings).tolist() == expected.tolist()
    assert type(transformers.AutoModelForSeq2SeqLM.from_pretrained(back)) is type(opened)


def test_several_files_and_bf16_open_too(through, altup, tmp_path):
    model = original("t5_v1_1")
    theirs, back = through(model, "--max-shard-size", "50KB", "--dtype", "bf16")
    index = json.loads((back / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    assert all(file.stat().st_size < 60_000 for file in back.glob("model-*"))
    rounded = {name: tensor.bfloat16() for name, tensor in weights_of(theirs).items()}
    assert_bit_identical(weights_of(back), rounded)
    opened = transformers.T5ForConditionalGeneration.from_pretrained(back)
    assert opened.dtype == torch.bfloat16
    # Imported again it is the rounded model in fp32, and exported in bf16 the same bits.
    altup.succeed("import", "--from", "back", "--output", "again")
    altup.succeed("export", "--checkpoint", "again", "--to", "huggingface", "--output", "twice", "--dtype", "bf16")
    assert_bit_identical(weights_of(tmp_path / "twice"), rounded)
    for name, parameter in model.named_parameters():
        parameter.data = parameter.data.bfloat16().float()
    assert_same_logits(opened.float().eval(), model)


# --- Models of ours


WITHOUT_MIXTURES = [name for name, config in VARIANTS.items() if "[moe]" not in config]  # config.json has no word for those


def variant_name(variant):
    """altup.variant of one of VARIANTS."""
    return re.search('variant = "(.*)"', VARIANTS[variant])[1]


@pytest.fixture(scope="module", params=WITHOUT_MIXTURES)
def trained(request, tmp_path_factory, tokenizer_model):
    from conftest import Altup

    directory = tmp_path_factory.mktemp(request.param)
    (directory / "text.txt").write_text(tokenizer_model.parents[1].joinpath("text.txt").read_text())
    training = TRAINING.format(tokenizer=tokenizer_model, seed=1)
    (directory / "run.toml").write_text(MODEL + VARIANTS[request.param] + training)
    altup = Altup(directory)
    altup.succeed("pretrain", "--config", "run.toml", "--output", "run")
    done = altup("export", "--checkpoint", "run", "--to", "huggingface", "--output", "exported", "--json", "-")
    assert done.returncode == 0, done.stderr
    return request.param, directory, altup, done


def test_what_we_trained_comes_back_bit_for_bit(trained):
    variant, directory, altup, done = trained
    assert json.loads(done.stdout) == {
        "format": "huggingface", "output": "exported", "dtype": "fp32", "files": 1, "variant": variant_name(variant),
    }
    altup.succeed("import", "--from", "exported", "--output", "back")
    (before,) = (directory / "run").rglob("latest/model.safetensors")
    assert_bit_identical(load_file(directory / "back" / "model.safetensors"), load_file(before))
    for section in ("model", "altup", "tokenizer"):
        lines = lambda where: (where / "config.toml").read_text().split(f"[{section}]\n")[1].split("\n[")[0]
        assert lines(directory / "back") == lines(before.parent)
    assert (directory / "back" / "spiece.model").read_bytes() == (before.parent / "spiece.model").read_bytes()


def test_dense_opens_in_transformers_and_variants_are_refused_there(trained):
    variant, directory, altup, done = trained
    exported = directory / "exported"
    config = json.loads((exported / "config.json").read_text())
    if variant != "dense":
        assert "transformers has no model with altup.variant" in done.stderr
        assert config["altup"]["variant"] == variant_name(variant)
        for opens in (transformers.AutoConfig, transformers.AutoModelForSeq2SeqLM):
            with pytest.raises(ValueError, match="altup_t5"):
                opens.from_pretrained(exported)
        # Asked for by its class, which looks at no type, it is refused too.
        for opens in (transformers.T5ForConditionalGeneration, transformers.T5EncoderModel,
                      transformers.MT5ForConditionalGeneration):
            with pytest.raises(Exception, match="gated-gelu-altup is not a valid activation"):
                opens.from_pretrained(exported)
        return
    assert "transformers has no model" not in done.stderr
    opened = transformers.T5ForConditionalGeneration.from_pretrained(exported).eval()
    altup.succeed("export", "--checkpoint", "run", "--to", "torchscript", "--output", "model.pt")
    script = torch.jit.load(directory / "model.pt")
    ids, mask, targets = padded_batch((23, 11, 1), 17)
    ids, targets = ids % config["vocab_size"], targets % config["vocab_size"]
    with torch.no_grad():
        expected = script.forward(ids, mask, targets)
        logits = opened(input_ids=ids, attention_mask=mask, decoder_input_ids=targets).logits
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


# --- Tokenizers


def export_with(altup, tmp_path, spiece, vocab_size, extra_ids=None, kind="t5"):
    """A model of next to no width with this SentencePiece file, through the program."""
    theirs = tmp_path / "theirs"
    config = transformers.T5Config(vocab_size=vocab_size, d_model=4, d_kv=2, d_ff=4, num_heads=1, num_layers=1)
    transformers.T5ForConditionalGeneration(config).save_pretrained(theirs)
    shutil.copy(spiece, theirs / "spiece.model")
    if extra_ids is not None:
        (theirs / "tokenizer_config.json").write_text(json.dumps({"extra_ids": extra_ids}))
    altup.succeed("import", "--from", "theirs", "--output", "ours")
    altup.succeed("export", "--checkpoint", "ours", "--to", "huggingface", "--output", "back")
    return tmp_path / "back"


def test_tokenizer_gives_t5s_ids(altup, tmp_path, shared_data):
    spiece = shared_data / "sentencepiece" / "t5.spiece.model"
    if not spiece.is_file():
        pytest.skip("T5's spiece.model is not here")
    back = export_with(altup, tmp_path, spiece, 32128)
    plain = sentencepiece.SentencePieceProcessor(model_file=str(spiece))
    text = [" two  spaces, a\ttab and a space at the end ", "", "   ", "<b>a</b> {x}", "Ünïcödé ﬁ ① 日本 _ \u200b nb\u00a0sp"]
    novel = shared_data / "text" / "wikitext2_valid.txt"
    if novel.is_file():
        text += [line for line in novel.read_text().split("\n") if "<unk>" not in line][:1500]
    for tokenizer in (transformers.AutoTokenizer.from_pretrained(back), transformers.T5Tokenizer.from_pretrained(back)):
        ids = lambda line: tokenizer(line).input_ids
        assert len(tokenizer) == 32100
        assert ids("a cow jumping over the moon") == [3, 9, 9321, 15539, 147, 8, 8114, 1]
        assert ids("Summary of the text.") == [20698, 13, 8, 1499, 5, 1]
        assert ids("<extra_id_0> Hello <extra_id_99>") == [32099, 8774, 32000, 1]
        for line in text:
            assert ids(line) == plain.encode(line) + [1], line
    # What goes on right behind a sentinel begins no word. (T5Tokenizer of transformers 5 lets it begin one.)
    assert transformers.AutoTokenizer.from_pretrained(back)("<extra_id_0>. Hello").input_ids == [32099, 5, 8774, 1]


def test_tokenizer_of_ours_and_its_number_of_sentinels(altup, tmp_path, tokenizer_model):
    back = export_with(altup, tmp_path, tokenizer_model, 64, extra_ids=5)
    plain = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer_model))
    pieces = plain.get_piece_size()
    for opens in (transformers.AutoTokenizer, transformers.T5Tokenizer):
        tokenizer = opens.from_pretrained(back)
        assert len(tokenizer) == pieces + 5
        assert tokenizer("<extra_id_0> <extra_id_4>").input_ids == [pieces + 4, pieces, 1]
        line = "The cow met the fox near the old mill on day 7."
        assert tokenizer(line).input_ids == plain.encode(line) + [1]
        assert tokenizer.decode(tokenizer(line).input_ids, skip_special_tokens=True) == line


def test_mt5s_vocabulary_holds_its_own_sentinels(altup, tmp_path, tokenizer_model):
    """Its spiece.model ends in "▁<extra_id_99>" … "▁<extra_id_0>"; ids and meaning stay."""
    pytest.importorskip("google.protobuf", reason="writes a SentencePiece file with protobuf")
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(tokenizer_model.read_bytes())
    pieces = len(proto.pieces)
    for number in reversed(range(100)):
        proto.pieces.add(piece=f"▁<extra_id_{number}>", score=0.0, type=4)
    spiece = tmp_path / "mt5.model"
    spiece.write_bytes(proto.SerializeToString())
    back = export_with(altup, tmp_path, spiece, pieces + 112, extra_ids=0)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(spiece))
    ours = sentencepiece.SentencePieceProcessor(model_file=str(back / "spiece.model"))
    assert ours.get_piece_size() == pieces
    tokenizer = transformers.AutoTokenizer.from_pretrained(back)
    assert len(tokenizer) == pieces + 100 == theirs.get_piece_size()
    for line in ("The cow <extra_id_0> near the <extra_id_1>.", "<extra_id_99> met the fox", "The old mill"):
        assert tokenizer(line).input_ids == theirs.encode(line) + [1], line
    for name in ("▁<extra_id_0>", "▁<extra_id_99>"):
        assert tokenizer.convert_tokens_to_ids(name[1:]) == theirs.piece_to_id(name)


# --- Mistakes


def test_what_cannot_be_exported_is_said_in_one_line(through, altup, tmp_path):
    through(original("t5_v1_0"))
    export = lambda *more: altup("export", "--checkpoint", "ours", *more)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "notes.txt").write_text("mine")
    done = export("--to", "huggingface", "--output", "kept")
    assert done.returncode == 2
    assert done.stderr.endswith(
        'error: kept: holds "notes.txt"; expected a new or empty directory, or a Hugging Face checkpoint to replace\n'
    )
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]

    done = export("--to", "huggingface", "--output", "ours")  # a checkpoint of ours is no export
    assert done.returncode == 2 and "error: ours: holds " in done.stderr

    done = export("--to", "torchscript", "--output", "model.pt", "--dtype", "bf16")
    assert done.returncode == 2 and "--dtype and --max-shard-size are for --to huggingface" in done.stderr

    for size in ("0", "-5GB", "many"):
        assert export("--to", "huggingface", "--output", "new", "--max-shard-size", size).returncode == 2
    assert not (tmp_path / "new").exists()

    (tmp_path / "back" / "generation_config.json").unlink()  # an earlier export is replaced
    assert export("--to", "huggingface", "--output", "back").returncode == 0
    assert (tmp_path / "back" / "generation_config.json").is_file()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
