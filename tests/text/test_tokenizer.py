"""Text to ids and back, what the tokenizer refuses, and its reproducible random segmentations."""

from __future__ import annotations

import threading
import unicodedata

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from nmt.errors import TokenizerError
from nmt.text.cleaning import clean
from nmt.text.special_ids import BOS, EOS, PAD, UNK
from nmt.text.tokenizer import Kind, Tokenizer

KINDS: tuple[Kind, ...] = ("unigram", "bpe", "char", "word")
# Other work on the machine must not fail a test.
UNHURRIED = examples(deadline=None, max_examples=50)

NOUNS = ["Hund", "Katze", "Brücke", "Straße", "Tür", "dog", "cat", "bridge", "street", "door", "house", "lake"]
TEXTS = [
    f"{article} {adjective} {noun} {verb}{end}"
    for article in ("der", "the", "a")
    for adjective in ("kleine", "große", "old", "yellow")
    for noun in NOUNS
    for verb, end in (("sleeps", "."), ("schläft", "!"), ("isn't here", "?"))
]
VOCABULARY = {"unigram": 50, "bpe": 110, "char": 100, "word": 29}
# Built once: training takes some milliseconds, hypothesis asks often.
TOKENIZERS = {
    kind: Tokenizer.train(TEXTS, vocabulary=VOCABULARY[kind], kind=kind, languages=("de", "en")) for kind in KINDS
}
KNOWN = "".join(sorted(set("".join(TEXTS)) - {" "}))

known_text = st.lists(st.text(KNOWN, min_size=1, max_size=8), max_size=6).map(" ".join).map(clean)


@UNHURRIED
@given(st.text())
def test_clean_is_idempotent_and_says_what_it_promises(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert once == once.strip()
    assert "  " not in once
    assert unicodedata.is_normalized("NFC", once)
    assert not {unicodedata.category(character) for character in once} & {"Cc", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  a\tb \n", "a b"),
        ("vingt\u00a0% \u202f!", "vingt % !"),
        ("u\u0308ber", "über"),
        ("a\x00b\x1f \x7fc\x85d", "ab c d"),
        ("\ufeffco\u00adop", "coop"),
        ("a\ud800b", "ab"),
        ("a\u2028b\r\nc", "a b c"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("a\u2581b", "a_b"),
        ("a \x00 b", "a b"),
    ],
)
def test_clean_examples(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char"])
@UNHURRIED
@given(text=known_text)
def test_round_trip(kind: Kind, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode(text)
    assert UNK not in ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([BOS, *ids, EOS, PAD]) == text
    assert len(tokenizer.pieces(ids)) == len(ids)


@pytest.mark.parametrize("kind", KINDS)
@UNHURRIED
@given(text=st.one_of(st.text(), st.text("<>/s2deunk ▁⁇ä😀")).map(clean))
def test_any_text_comes_back_with_its_unknown_surfaces(kind: Kind, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    ids, spans = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text)
    assert "".join(text[begin:end] for begin, end in spans) == text
    unknown = [text[begin:end] for index, (begin, end) in zip(ids, spans, strict=True) if index == UNK]
    assert tokenizer.decode(ids, unknown=unknown) == text


@pytest.mark.parametrize("kind", KINDS)
def test_special_pieces_and_tags_never_come_from_text(kind: Kind) -> None:
    tokenizer = TOKENIZERS[kind]
    ids = tokenizer.encode("<2de> <s> </s> <unk> <pad> dog")
    assert not {PAD, BOS, EOS, tokenizer.tag("de"), tokenizer.tag("en")} & set(ids)
    assert tokenizer.decode([tokenizer.tag("de"), *tokenizer.encode("dog")]) == "dog"


def test_tags_have_ids_of_their_own_and_unknown_ones_are_named() -> None:
    tokenizer = TOKENIZERS["bpe"]
    assert tokenizer.pieces([tokenizer.tag("de"), tokenizer.tag("en")]) == ["<2de>", "<2en>"]
    with pytest.raises(TokenizerError, match=r"'fr'.*de, en"):
        tokenizer.tag("fr")


def test_an_unknown_piece_without_surface_is_visible() -> None:
    assert TOKENIZERS["bpe"].decode([*TOKENIZERS["bpe"].encode("dog"), UNK]) == "dog⁇"
    assert TOKENIZERS["word"].decode(TOKENIZERS["word"].encode("the xyz sleeps.")) == "the ⁇ sleeps."


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_deterministic_and_the_bytes_say_all(kind: Kind) -> None:
    tokenizer = TOKENIZERS[kind]
    again = Tokenizer.train(TEXTS, vocabulary=VOCABULARY[kind], kind=kind, languages=("de", "en"))
    assert again.to_bytes() == tokenizer.to_bytes()
    read = Tokenizer(tokenizer.to_bytes())
    assert read.vocabulary == tokenizer.vocabulary <= VOCABULARY[kind]
    assert [read.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]


def test_sentencepiece_itself_reads_the_model() -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=TOKENIZERS["bpe"].to_bytes())
    assert processor.encode("the old dog") == TOKENIZERS["bpe"].encode("the old dog")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_vocabulary_too_large_names_the_largest_possible(kind: Kind) -> None:
    with pytest.raises(TokenizerError, match=r"data\.vocabulary: 5000 is too large.*set it to \d+ or less") as caught:
        Tokenizer.train(TEXTS, vocabulary=5000, kind=kind)
    largest = int(str(caught.value).split("set it to ")[1].split()[0])
    assert Tokenizer.train(TEXTS, vocabulary=largest, kind=kind).vocabulary == largest


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("vocabulary", [0, 3, 20])
def test_a_vocabulary_too_small_names_the_smallest(kind: Kind, vocabulary: int) -> None:
    with pytest.raises(TokenizerError, match=r"data\.vocabulary: \d+ is too small.* at least \d+"):
        Tokenizer.train(TEXTS, vocabulary=vocabulary, kind=kind)


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_text_is_refused(texts: list[str]) -> None:
    with pytest.raises(TokenizerError, match="no text"):
        Tokenizer.train(texts, vocabulary=100)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(TokenizerError, match=r"data\.units.*'syllable'.*unigram, bpe, char, word"):
        Tokenizer.train(TEXTS, vocabulary=100, kind="syllable")  # type: ignore[arg-type]


@UNHURRIED
@given(st.data())
def test_any_cut_or_flipped_byte_is_refused(data: st.DataObject) -> None:
    whole = TOKENIZERS["bpe"].to_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= data.draw(st.integers(1, 255))
    for damaged in (whole[:at], bytes(flipped), b"", b"not a model"):
        with pytest.raises(TokenizerError, match="tokenizer"):
            Tokenizer(damaged)


def test_a_model_of_another_make_is_refused() -> None:
    with pytest.raises(TokenizerError, match="tokenizer"):
        Tokenizer(TOKENIZERS["bpe"].to_bytes()[:-35])


@pytest.mark.parametrize("kind", KINDS)
@UNHURRIED
@given(seed=st.integers(0, 2**40), alpha=st.sampled_from([0.1, 0.3, 1.0]))
def test_sampling_is_a_pure_function_of_the_seed_and_keeps_the_text(kind: Kind, seed: int, alpha: float) -> None:
    tokenizer = TOKENIZERS[kind]
    texts = TEXTS[:20]
    sampled = tokenizer.encode_many(texts, sample_alpha=alpha, seed=seed)
    tokenizer.encode(texts[0], sample_alpha=alpha)  # what others drew before must not matter
    assert tokenizer.encode_many(texts, sample_alpha=alpha, seed=seed) == sampled
    assert tokenizer.can_sample == (kind in ("unigram", "bpe"))
    if kind != "word":
        assert [tokenizer.decode(ids) for ids in sampled] == texts


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sampling_varies_and_zero_turns_it_off(kind: Kind) -> None:
    tokenizer = TOKENIZERS[kind]
    plain = [tokenizer.encode(text) for text in TEXTS]
    assert tokenizer.encode_many(TEXTS) == plain
    draws = [tokenizer.encode_many(TEXTS, sample_alpha=0.2, seed=seed) for seed in (1, 2)]
    assert draws[0] != draws[1] != plain


def test_sampling_in_several_threads_gives_each_its_own_seed() -> None:
    tokenizer = TOKENIZERS["unigram"]
    expected = [tokenizer.encode_many(TEXTS, sample_alpha=0.2, seed=seed) for seed in range(8)]
    found: list[list[list[int]]] = [[] for _ in expected]

    def draw(seed: int) -> None:
        found[seed] = tokenizer.encode_many(TEXTS, sample_alpha=0.2, seed=seed)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected
