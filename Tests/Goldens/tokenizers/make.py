#!/usr/bin/env python3
"""Trains the small tokenizers of this folder and writes what the `tokenizers` library makes of hostile strings.

    python make.py [--out DIR] [--full]

Needs tokenizers 0.23.3 and sentencepiece. Writes NAME/tokenizer.json, NAME/tokenizer_config.json, NAME/golden.json.
Training is not the same on every run (ties go by hash order), so a tokenizer and its goldens belong together.
With --full there is one more, with SentencePiece's whole nmt_nfkc character map (too large to keep), and no goldens.
"""

import argparse
import base64
import io
import json
import pathlib
import tempfile
import unicodedata

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2 as spm_model
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import corpus
import hostile

HERE = pathlib.Path(__file__).resolve().parent
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
KIMI = "|".join([
    r"[\p{Han}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
])
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def added(special=()):
    """Tokens that try every flag."""
    return list(special) + [
        AddedToken("<mask>", lstrip=True, special=True, normalized=False),
        AddedToken("[RIGHT]", rstrip=True, special=True, normalized=False),
        AddedToken("<both>", lstrip=True, rstrip=True, normalized=False),
        AddedToken("DAY", single_word=True, normalized=True),
        AddedToken("word", single_word=True, normalized=False),
        AddedToken("Émile yes", normalized=True),
        AddedToken("<tool_call>", normalized=False),
        AddedToken("<tool_call>x", normalized=False),
        AddedToken("=====", normalized=True),
        AddedToken("\n\n\n", normalized=False),
    ]


def train(model, trainer, normalizer=None, pre_tokenizer=None, decoder=None):
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    if decoder:
        tokenizer.decoder = decoder
    tokenizer.train_from_iterator(corpus.lines(), trainer)
    return tokenizer


def rewritten(tokenizer, change):
    """The tokenizer with its JSON changed."""
    data = json.loads(tokenizer.to_str())
    change(data)
    return Tokenizer.from_str(json.dumps(data))


def byte_level(pre_tokenizer, size=900, normalizer=None, special=("<|endoftext|>",), **model):
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(special), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer = train(models.BPE(), trainer, normalizer, pre_tokenizer, decoders.ByteLevel())
    tokenizer = rewritten(tokenizer, lambda data: data["model"].update(model))
    tokenizer.add_tokens(added())
    return tokenizer


def split_then_bytes(*patterns):
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def gpt2():
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    # As old files have it: merges as strings, no type of the model.
    def old(data):
        del data["model"]["type"]
        data["model"]["merges"] = [" ".join(pair) for pair in data["model"]["merges"]]
    return rewritten(tokenizer, old), {"eos_token": "<|endoftext|>"}


def llama3():
    tokenizer = byte_level(split_then_bytes(LLAMA3), special=["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"],
                           ignore_merges=True)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B:1",
                                      special_tokens=[("<|begin_of_text|>", 0)])])

    def words(data):
        # Whole words that no merges lead to: only ignore_merges finds them.
        vocab = data["model"]["vocab"]
        for entry in data["added_tokens"]:
            if entry["id"] > 2:
                entry["id"] += 3
        for word in ["Ġhelloworld", "tokenization", "日本".encode().decode("latin1")]:
            vocab[word] = max(vocab.values()) + 1
    return rewritten(tokenizer, words), {"bos_token": "<|begin_of_text|>", "eos_token": {"content": "<|eot_id|>"}}


def qwen():
    tokenizer = byte_level(split_then_bytes(QWEN), normalizer=normalizers.NFC(), special=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return tokenizer, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None}


def deepseek():
    tokenizer = byte_level(split_then_bytes(r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", DEEPSEEK),
                           special=["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<｜begin▁of▁sentence｜> $A", special_tokens=[("<｜begin▁of▁sentence｜>", 0)])
    return tokenizer, {"bos_token": {"content": "<｜begin▁of▁sentence｜>"}, "eos_token": {"content": "<｜end▁of▁sentence｜>"}}


def deepseek_coder():
    return byte_level(split_then_bytes(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}")), {}


def o200k():
    return byte_level(split_then_bytes(O200K), normalizer=normalizers.NFD()), {}


def kimi():
    return byte_level(split_then_bytes(KIMI)), {}


def falcon():
    return byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])), {}


def bloom():
    return byte_level(split_then_bytes(BLOOM)), {}


def roberta():
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), special=["<s>", "</s>", "<pad>"])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}


def byte_normalizer():
    """The bytes are spelled by the normalizer, so added tokens are normalized too."""
    trainer = trainers.BpeTrainer(vocab_size=800, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer = train(models.BPE(), trainer, normalizers.Sequence([normalizers.NFKC(), normalizers.ByteLevel()]),
                      pre_tokenizers.Split(Regex("Ġ?[^Ġ]+|Ġ+"), "isolated"), decoders.ByteLevel())
    tokenizer.add_tokens(added())
    return tokenizer, {}


def clip():
    trainer = trainers.BpeTrainer(vocab_size=900, show_progress=False, end_of_word_suffix="</w>",
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer = train(
        models.BPE(end_of_word_suffix="</w>", unk_token="!"), trainer,
        normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]),
        pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(CLIP), "removed", invert=True),
                                 pre_tokenizers.ByteLevel(add_prefix_space=False)]),
        decoders.BPEDecoder("</w>"))
    tokenizer.add_tokens(added([AddedToken("<|startoftext|>", special=True)]))
    tokenizer.post_processor = processors.BertProcessing(("x", 1), ("y", 2))
    return tokenizer, {}


SPM_DECODER = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]


def sentencepiece_bpe(normalizer, pre_tokenizer, decoder, bos=True, by_words=True, **options):
    """SentencePiece lets no token reach across a space; training on words does the same. Without, tokens may."""
    trainer = trainers.BpeTrainer(vocab_size=1000, show_progress=False, limit_alphabet=150,
                                  special_tokens=["<unk>", "<s>", "</s>"] + BYTES)
    words = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tokenizer = train(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True), trainer, normalizer,
                      words if by_words else pre_tokenizer, decoders.Sequence(decoder))
    # The bytes are ordinary tokens, not added ones.
    def plain(data):
        data["added_tokens"] = data["added_tokens"][:3]
        data["model"].update(options)
    tokenizer = rewritten(tokenizer, plain)
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.add_tokens(added())
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def llama2():
    return sentencepiece_bpe(
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, SPM_DECODER)


def llama2_across():
    """Tokens that hold several words."""
    return sentencepiece_bpe(
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, SPM_DECODER, by_words=False)


def mistral():
    return sentencepiece_bpe(None, pre_tokenizers.Metaspace("▁", prepend_scheme="first", split=False), SPM_DECODER)


def gemma():
    return sentencepiece_bpe(normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"), SPM_DECODER[:3])


def metaspace_strip():
    """`first` after a normalizer that takes away from the front; unknowns neither fused nor spelled in bytes."""
    return sentencepiece_bpe(
        normalizers.Sequence([normalizers.Nmt(), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " "),
                              normalizers.StripAccents()]),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", prepend_scheme="first"),
                                 pre_tokenizers.Punctuation("merged_with_next"), pre_tokenizers.Digits(True)]),
        [decoders.Metaspace("▁", prepend_scheme="first"), decoders.Fuse()], fuse_unk=False, byte_fallback=False)


def spm_unigram(full):
    """A Unigram model with a compiled character map, trained by SentencePiece itself."""
    path = pathlib.Path(tempfile.mkdtemp()) / "rules.tsv"
    options = {"normalization_rule_name": "nmt_nfkc"}
    if not full:
        rules = {}
        for value in list(range(0xA0, 0x250)) + list(range(0x2000, 0x2200)) + list(range(0xFB00, 0xFB07)) + list(range(0xFF01, 0xFF5F)):
            form = unicodedata.normalize("NFKC", chr(value))
            if form != chr(value):
                rules[chr(value)] = form
            for mark in "\u0301\u0308\u0323" if unicodedata.category(chr(value)) == "Ll" else "":
                pair = unicodedata.normalize("NFC", chr(value) + mark)
                if len(pair) == 1:
                    rules[chr(value) + mark] = pair
        for letter in "aeiouAEIOUnNcC":
            for mark in "\u0300\u0301\u0302\u0303\u0308":
                rules[letter + mark] = unicodedata.normalize("NFC", letter + mark)
        rules = {key: form for key, form in rules.items() if key != form}
        for gone in "\x01\x1f\x7f\u00ad":
            rules[gone] = ""
        for space in "\t\n\r\u200b\u3000\ufeff":
            rules[space] = " "
        with open(path, "w") as file:
            for key, form in sorted(rules.items()):
                code = lambda text: " ".join(f"{ord(c):X}" for c in text)
                file.write(f"{code(key)}\t{code(form)}\n")
        options = {"normalization_rule_tsv": str(path)}
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line.replace("\n", " ") for line in corpus.lines()), model_writer=model, vocab_size=900,
        model_type="unigram", character_coverage=0.98, num_threads=1, minloglevel=2, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, **options)
    proto = spm_model.ModelProto.FromString(model.getvalue())
    vocab = [(piece.piece, piece.score) for piece in proto.pieces]
    charsmap = proto.normalizer_spec.precompiled_charsmap
    tokenizer = Tokenizer(models.Unigram(vocab, 2, False))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Precompiled(charsmap), normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace("▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.add_tokens(added([AddedToken("<pad>", special=True, normalized=False), AddedToken("</s>", special=True, normalized=False),
                                AddedToken("<extra_id_0>", special=True, lstrip=False, normalized=False)]))
    return tokenizer, {"eos_token": "</s>", "pad_token": "<pad>"}


def unigram_charsmap():
    return spm_unigram(False)


def unigram_bytes():
    trainer = trainers.UnigramTrainer(vocab_size=900, show_progress=False, unk_token="<unk>", special_tokens=["<unk>", "<s>", "</s>"] + BYTES)
    tokenizer = train(models.Unigram(), trainer, normalizers.NFKC(), pre_tokenizers.Metaspace("▁", prepend_scheme="first"),
                      decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace("▁", prepend_scheme="first")]))

    def change(data):
        data["added_tokens"] = data["added_tokens"][:3]
        data["model"]["byte_fallback"] = True
    tokenizer = rewritten(tokenizer, change)
    tokenizer.add_tokens(added())
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>"}


def bert():
    trainer = trainers.WordPieceTrainer(vocab_size=900, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer = train(models.WordPiece(unk_token="[UNK]"), trainer, normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer(),
                      decoders.WordPiece())
    tokenizer.add_tokens(added())
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer, {"pad_token": "[PAD]"}


def word_level():
    trainer = trainers.WordLevelTrainer(vocab_size=400, show_progress=False, special_tokens=["<unk>"])
    tokenizer = train(models.WordLevel(unk_token="<unk>"), trainer, normalizers.Sequence([normalizers.NFKD(), normalizers.Lowercase()]),
                      pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.CharDelimiterSplit("e"),
                                               pre_tokenizers.Split(Regex(r"[aou]"), "merged_with_previous"),
                                               pre_tokenizers.Split(Regex(r"(?<=t)h|\bw"), "contiguous"),
                                               pre_tokenizers.FixedLength(4)]))
    tokenizer.add_tokens(added())
    return tokenizer, {}


def subword_prefix():
    trainer = trainers.BpeTrainer(vocab_size=700, show_progress=False, limit_alphabet=90, special_tokens=["<unk>"],
                                  continuing_subword_prefix="##", end_of_word_suffix="</e>")
    tokenizer = train(models.BPE(unk_token="<unk>", fuse_unk=True, continuing_subword_prefix="##", end_of_word_suffix="</e>"), trainer,
                      normalizers.Lowercase(), pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(False)]),
                      decoders.Sequence([decoders.WordPiece("##", True), decoders.Strip("e", 1, 2)]))
    tokenizer.add_tokens(added())
    return tokenizer, {}


MAKERS = [gpt2, llama3, qwen, deepseek, deepseek_coder, o200k, kimi, falcon, bloom, roberta, byte_normalizer, clip, llama2, llama2_across, mistral,
          gemma, metaspace_strip, unigram_charsmap, unigram_bytes, bert, word_level, subword_prefix]


def golden(tokenizer, seed):
    tokens = [entry.content for entry in tokenizer.get_added_tokens_decoder().values()]
    cases = []
    for text in hostile.strings(300, seed, tokens):
        text = text[:120]
        ids = tokenizer.encode(text).ids
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        try:
            decoded = [tokenizer.decode(plain, skip_special_tokens=False), tokenizer.decode(ids, skip_special_tokens=True)]
        except BaseException:  # the decoder Strip panics on tokens shorter than what it takes off
            continue
        cases.append([text, plain, *decoded])
    full = tokenizer.encode("hello").ids
    return {"library": f"tokenizers {tokenizers.__version__}", "hello": full, "cases": cases}


def write(out, name, tokenizer, config, seed):
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    (folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n")
    if seed is not None:
        text = json.dumps(golden(tokenizer, seed), ensure_ascii=False, separators=(",", ":"))
        (folder / "golden.json").write_text(text.replace("],[\"", "],\n[\"") + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    if arguments.full:
        write(arguments.out, "unigram_nmt_nfkc", *spm_unigram(True), seed=None)
        return
    for seed, maker in enumerate(MAKERS):
        write(arguments.out, maker.__name__, *maker(), seed=seed)
        print(maker.__name__)


if __name__ == "__main__":
    main()
