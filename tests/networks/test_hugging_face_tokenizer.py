"""Sentences as CLIP and SigLIP of transformers take them, from each form of a tokenizer's files."""

from __future__ import annotations

import json

import pytest
import torch
from encoder_folders import (
    KINDS,
    pieces,
    write_clip_tokenizer,
    write_encoder,
    write_siglip_tokenizer,
    write_spiece_model,
)

from medclipsam_monai.base.errors import InputError
from medclipsam_monai.networks.clip.hugging_face_tokenizer import canonical, hugging_face_tokenizer
from medclipsam_monai.presets.networks import load_encoder

LENGTH = 16
NUMBER = {text: number for number, (text, _) in enumerate(pieces())}


@pytest.fixture(params=["tokenizer.json", "spiece.model"])
def siglip(request, tmp_path):
    if request.param == "tokenizer.json":
        write_siglip_tokenizer(tmp_path)
    else:
        write_spiece_model(tmp_path / "spiece.model")
    return hugging_face_tokenizer(tmp_path, "siglip", LENGTH)


@pytest.fixture
def clip(tmp_path):
    (tmp_path / "clip").mkdir()
    write_clip_tokenizer(tmp_path / "clip")
    return hugging_face_tokenizer(tmp_path / "clip", "clip", LENGTH)


def numbers(*words: str) -> list[int]:
    row = [NUMBER[f"▁{word}"] for word in words] + [1]
    return row + [1] * (LENGTH - len(row))


@pytest.mark.parametrize(
    "text", ["a bright tumor", "A BRIGHT Tumor", "a bright tumor.", "  a\tbright \n tumor!", "(a) 'bright', tumor"]
)
def test_siglip_reads_small_letters_without_punctuation_padded_to_its_length(siglip, text):
    assert siglip([text]).tolist() == [numbers("a", "bright", "tumor")]


def test_siglip_pads_every_sentence_to_the_same_length_with_its_end_mark(siglip):
    ids = siglip(["lungs", "no tumor in the left lung"])
    assert ids.tolist() == [numbers("lungs"), numbers("no", "tumor", "in", "the", "left", "lung")]
    assert ids.dtype == torch.int64 and (siglip.end, siglip.padding) == (1, 1)


def test_what_is_in_no_piece_is_unknown_and_refused_where_it_is_most(siglip):
    assert siglip(["lungs é"])[0, :3].tolist() == [NUMBER["▁lungs"], NUMBER["▁"], 2]
    with pytest.raises(InputError, match="vocabulary"):
        siglip(["肺 é"])


def test_a_sentence_that_names_a_mark_does_not_end_there(siglip, clip):
    assert int((siglip(["no </s> lung"])[0] == 1).sum()) == LENGTH - 4, "s is a word like any other"
    ids = clip.truncate(["<|endoftext|> lung"])[0].tolist()
    assert ids.index(clip.end) == LENGTH - 1, "its letters are words like any others"


@pytest.mark.parametrize("text", ["...", "!", " ?! "])
def test_punctuation_alone_is_no_text(siglip, text):
    with pytest.raises(InputError, match="vocabulary"):
        siglip([text])


def test_a_text_that_is_too_long_is_refused_and_a_caption_is_cut_before_its_end_mark(siglip, clip):
    text = " ".join(["lung"] * LENGTH)
    for tokenizer, marks in ((siglip, 1), (clip, 2)):
        with pytest.raises(InputError, match=f"{LENGTH + marks} tokens, this model reads at most {LENGTH}"):
            tokenizer([text])
        ids = tokenizer.truncate([text])
        assert ids.shape == (1, LENGTH) and int(ids[0, -1]) == tokenizer.end
        assert tokenizer([" ".join(["lung"] * (LENGTH - marks))]).shape == (1, LENGTH)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused(siglip, text):
    with pytest.raises(InputError, match="is empty"):
        siglip([text])


def test_clip_reads_small_letters_between_two_marks(clip):
    lungs = clip(["lungs"])[0].tolist()
    assert lungs == clip(["LUNGS"])[0].tolist() == [0, 64, *[1] * (LENGTH - 2)]
    assert clip(["lung"])[0, 1] == 62


@pytest.mark.parametrize(
    ("settings", "text", "same"),
    [
        ({"tokenizer_class": "SiglipTokenizer"}, "Lungs!", True),
        ({"tokenizer_class": "T5Tokenizer"}, "Lungs!", True),
        ({"tokenizer_class": "SiglipTokenizer", "do_lower_case": False}, "lungs!", True),
        ({"tokenizer_class": "SiglipTokenizer", "do_lower_case": False}, "Lungs", False),
        ({"tokenizer_class": "GemmaTokenizerFast"}, "LUNGS", True),
        ({"tokenizer_class": "GemmaTokenizerFast"}, "lungs!", False),
        ({"tokenizer_class": "Siglip2Tokenizer"}, "Lungs", True),
        ({}, "Lungs.", True),
    ],
)
def test_how_a_sentence_is_cleaned_is_said_by_the_folder(settings, text, same, tmp_path):
    write_siglip_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = hugging_face_tokenizer(tmp_path, "siglip", LENGTH)
    assert (tokenizer.truncate([text]).tolist() == [numbers("lungs")]) is same


def test_canonical_is_that_of_big_vision():
    assert canonical("  A Chest X-Ray,\nof the (left) LUNG_2! ") == "a chest xray of the left lung2"


def test_open_clip_gives_siglip_the_whole_length(tmp_path):
    """Its text tower reads the last token, which is padding: cut off, it would read another."""
    import open_clip

    encoder = load_encoder("clip", write_encoder("open_clip_siglip", tmp_path), "squash", "cpu")
    ids = encoder.tokenizer(["Lungs!", "a bright tumor"])
    assert ids.tolist() == [numbers("lungs"), numbers("a", "bright", "tumor")]
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({**settings, "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    assert torch.equal(open_clip.get_tokenizer(f"local-dir:{tmp_path}")(["Lungs!", "a bright tumor"]), ids)
    for text, message in (("!!", "vocabulary"), ("lung " * 16, "17 tokens")):
        with pytest.raises(InputError, match=message):
            encoder.encode_text([text])


@pytest.mark.parametrize("kind", ["pubmedclip", "medsiglip"])
def test_texts_are_those_of_the_whole_model(kind, tmp_path):
    encoder = load_encoder(KINDS[kind][0], write_encoder(kind, tmp_path), "squash", "cpu")
    with torch.no_grad():
        features = encoder.clip.get_text_features(encoder.tokenizer(["Lungs", "a lung"]))
    features = getattr(features, "pooler_output", features)  # transformers 5 and 4
    torch.testing.assert_close(
        encoder.encode_text(["Lungs", "a lung"]), torch.nn.functional.normalize(features, dim=-1)
    )
    assert float(encoder.encode_text(["lungs"])[0] @ encoder.encode_text(["a lung"])[0]) < 0.999


def test_it_is_transformers_own_tokenizer_where_sentencepiece_is_installed(tmp_path):
    pytest.importorskip("sentencepiece")
    from transformers import SiglipTokenizer

    write_spiece_model(tmp_path / "spiece.model")
    own = hugging_face_tokenizer(tmp_path, "siglip", LENGTH)
    theirs = SiglipTokenizer(str(tmp_path / "spiece.model"), unk_token="<unk>", pad_token="</s>")
    for text in ("Lungs", "a bright, DARK disk!", "odd words", "no-tumor"):
        expected = theirs(text, padding="max_length", max_length=LENGTH, truncation=True)["input_ids"]
        assert own([text])[0].tolist() == expected
