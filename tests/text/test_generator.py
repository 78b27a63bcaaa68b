"""Texts: the same alone and in company, whole and streamed, cached and computed anew, short and too long."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from limner.core.config import ModelConfig
from limner.core.errors import ConfigError, ContextError, TokenizerError, WeightsError
from limner.core.transformer import Transformer
from limner.text.generator import TextGenerator
from limner.text.record import Generation
from limner.tokens import Tokenizer, train_tokenizer
from tests.text.conftest import STORY, make_generator, randomize, tiny_config

PROMPTS = ["Once upon a time", "", "The moon", "Tom climbed a tall tree to see the moon. The", " ", "café 🪁"]


def reference(generator: TextGenerator, ids: list[int], tokens: int) -> list[int]:
    """Greedy continuation the slow way: the whole text anew for each token."""
    ids = list(ids)
    for _ in range(tokens):
        with torch.inference_mode():
            ids.append(int(generator.model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[-tokens:]


# ── the same texts, however they are made ──────────────────────────────────────────────────────────────


def test_greedy_is_the_most_likely_token_each_time(any_generator: TextGenerator) -> None:
    made = any_generator.generate("Once upon", greedy=True, max_tokens=20)
    expected = reference(any_generator, made.prompt_ids, len(made.ids))
    assert made.ids == expected
    assert any_generator.generate("Once upon", temperature=0, max_tokens=20).ids == expected


@pytest.mark.parametrize("options", [{"greedy": True}, {}, {"top_k": 5}, {"temperature": 1.5, "min_p": 0.05}])
def test_a_text_of_a_batch_is_the_one_made_alone_with_its_seed(
    any_generator: TextGenerator, options: dict[str, Any]
) -> None:
    together = any_generator.generate(PROMPTS, seed=7, max_tokens=30, **options)
    alone = [any_generator.generate(prompt, seed=7 + i, max_tokens=30, **options) for i, prompt in enumerate(PROMPTS)]
    assert together == [_close(text, like) for text, like in zip(alone, together, strict=True)]
    assert len({len(text.ids) for text in together}) > 1 or options.get("greedy"), "all end together: a weak test"


def test_repetition_penalty_counts_each_text_for_itself(generator: TextGenerator) -> None:
    together = generator.generate(PROMPTS, seed=1, max_tokens=30, repetition_penalty=1.5)
    for i, prompt in enumerate(PROMPTS):
        assert generator.generate(prompt, seed=1 + i, max_tokens=30, repetition_penalty=1.5).ids == together[i].ids


def test_n_samples_are_those_made_one_by_one(generator: TextGenerator) -> None:
    together = generator.generate(["Once", "The moon was"], n=3, seed=5, max_tokens=15)
    alone = [
        generator.generate(prompt, seed=5 + i, max_tokens=15).ids
        for i, prompt in enumerate(["Once"] * 3 + ["The moon was"] * 3)
    ]
    assert [text.ids for text in together] == alone
    assert [text.seed for text in together] == [5, 6, 7, 8, 9, 10]
    assert len({tuple(ids) for ids in alone}) > 1


def test_n_samples_read_their_prompt_once(generator: TextGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    hidden = generator.model.hidden

    def counting(ids: torch.Tensor, **rest: Any) -> torch.Tensor:
        read.append(tuple(ids.shape))
        return hidden(ids, **rest)

    monkeypatch.setattr(generator.model, "hidden", counting)
    generator.generate("Once upon a time", n=4, max_tokens=2, seed=0)
    assert read[0][0] == 1


def test_the_same_seed_gives_the_same_text_and_another_another(generator: TextGenerator) -> None:
    first = generator.generate("Tom", seed=3, max_tokens=20)
    assert generator.generate("Tom", seed=3, max_tokens=20) == first
    assert generator.generate("Tom", seed=4, max_tokens=20).ids != first.ids
    unseeded = generator.generate("Tom", max_tokens=20)
    assert generator.generate("Tom", seed=unseeded.seed, max_tokens=20) == unseeded


def test_a_text_does_not_depend_on_how_long_it_may_become(generator: TextGenerator) -> None:
    long = generator.generate("Tom", seed=3, max_tokens=30).ids
    assert generator.generate("Tom", seed=3, max_tokens=9).ids == long[:9]


def test_a_stream_shows_what_generate_returns(generator: TextGenerator) -> None:
    whole = generator.generate(PROMPTS, seed=2, max_tokens=40)
    stream = generator.stream(PROMPTS, seed=2, max_tokens=40)
    assert stream.seeds == [text.seed for text in whole]
    shown = [""] * len(PROMPTS)
    ids: list[list[int]] = [[] for _ in PROMPTS]
    for event in stream:
        shown[event.sample] += event.text
        ids[event.sample].append(event.id)
        assert event.logprob is not None
        assert event.logprob <= event.candidates[0].logprob + 1e-6
    assert shown == [text.text for text in whole]
    assert ids == [text.ids for text in whole]
    assert stream.generations == whole


def test_ids_as_a_prompt_are_read_as_they_are(generator: TextGenerator) -> None:
    text = generator.generate("Once upon", seed=1, max_tokens=10)
    again = generator.generate(text.prompt_ids, seed=1, max_tokens=10)
    assert isinstance(again, Generation)
    assert again.ids == text.ids
    assert again.prompt == "Once upon"


# ── characters and stop strings ────────────────────────────────────────────────────────────────────────


def test_no_half_character_is_ever_shown(tokenizer: Tokenizer) -> None:
    generator = make_generator(tokenizer, context_length=400)
    for event in (stream := generator.stream("", seed=11, max_tokens=300, temperature=3.0, top_p=1.0, n=3)):
        event.text.encode()  # half a surrogate pair would raise
    for text in stream.generations:
        body = text.ids[:-1] if text.finish == "end" else text.ids
        assert text.text == tokenizer.decode(body)


def test_a_stop_string_ends_the_text_and_is_not_shown_even_when_it_spans_tokens(generator: TextGenerator) -> None:
    free = generator.generate("Once", seed=8, max_tokens=40)
    pieces = [generator.tokenizer.decode([id]) for id in free.ids]
    start = len(pieces[0]) + len(pieces[1]) - 1
    stop = free.text[start : start + 4]  # from inside one token into another
    assert free.text.index(stop) <= start
    shown = "".join(event.text for event in generator.stream("Once", seed=8, max_tokens=40, stop=stop))
    stopped = generator.generate("Once", seed=8, max_tokens=40, stop=["never there", stop])
    assert shown == stopped.text == free.text[: free.text.index(stop)]
    assert stopped.finish == "stop"
    assert stopped.ids == free.ids[: len(stopped.ids)]


def test_the_end_token_ends_a_text_unshown(tokenizer: Tokenizer) -> None:
    generator = make_generator(tokenizer, end_bias=4.0)
    text = generator.generate("Once", seed=0, n=8, max_tokens=40)
    ended = [one for one in text if one.finish == "end"]
    assert ended
    for one in ended:
        assert one.ids[-1] == tokenizer.end_id
        assert tokenizer.end_id not in one.ids[:-1]
        assert "<|end|>" not in one.text


def test_spaces_between_prompt_and_text_are_kept_by_word_tokenizers() -> None:
    tokenizer = train_tokenizer("wordpiece", [STORY] * 4, vocab_size=120, special=["<|end|>"])
    generator = make_generator(tokenizer)
    text = generator.generate("Tom climbed", seed=3, max_tokens=12)
    assert "Tom climbed" + text.text == tokenizer.decode([*text.prompt_ids, *text.ids])


# ── the context window ─────────────────────────────────────────────────────────────────────────────────


def test_a_full_window_ends_the_text(any_generator: TextGenerator) -> None:
    text = any_generator.generate("Once upon a time", greedy=True, max_tokens=500)
    if text.finish == "context":  # the last token is predicted from a full window
        assert len(text.prompt_ids) + len(text.ids) == any_generator.context_length + 1
    assert text.finish in ("context", "end")


def test_a_prompt_that_fills_the_window_gets_one_token(generator: TextGenerator) -> None:
    ids = list(range(48))
    text = generator.generate(ids, greedy=True, max_tokens=5)
    assert text.finish == "context"
    assert text.ids == reference(generator, ids, 1)


def test_a_longer_prompt_is_refused_with_both_numbers(generator: TextGenerator) -> None:
    prompt = STORY * 2
    tokens = len(generator.tokenizer.encode(prompt)) + 1
    with pytest.raises(ContextError, match=rf"{tokens} tokens long, .* holds 48\. .*--window slide"):
        generator.generate(prompt)
    with pytest.raises(ContextError, match="60 tokens long"):
        generator.generate([0] * 60)
    with pytest.raises(ContextError, match=f"{tokens} tokens"):
        generator.stream(["fine", prompt])


def test_a_million_characters_are_refused_without_being_tokenized(
    generator: TextGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = 0
    encode = generator.tokenizer.encode

    def counting(text: str, **rest: Any) -> list[int]:
        nonlocal encoded
        encoded += len(text)
        return encode(text, **rest)

    monkeypatch.setattr(generator.tokenizer, "encode", counting)
    prompt = (STORY * 4000)[:1_000_000]
    with pytest.raises(ContextError, match=r"about \d{6} tokens long, .* holds 48\."):
        generator.generate(prompt)
    slid = generator.generate(prompt, window="slide", max_tokens=2, seed=0)
    assert encoded < 20_000
    end = encode(prompt[-400:])[-23:]
    assert generator.generate([*generator.tokenizer.opening, *end], seed=0, max_tokens=2).ids == slid.ids


def test_slide_writes_on_past_the_window_as_documented(any_generator: TextGenerator) -> None:
    text = any_generator.generate("Once upon a time", greedy=True, max_tokens=130, window="slide")
    assert len(text.ids) == 130 or text.finish == "end"
    window, expected = list(text.prompt_ids), []
    for _ in text.ids:
        if len(window) > 48:  # full: the begin token and the newer half stay
            window = [window[0], *window[-23:]]
        expected += reference(any_generator, window, 1)
        window.append(expected[-1])
    assert text.ids == expected


def test_sliding_texts_of_a_batch_are_those_made_alone(any_generator: TextGenerator) -> None:
    prompts = [*PROMPTS, STORY]
    together = any_generator.generate(prompts, seed=7, max_tokens=90, window="slide")
    for i, prompt in enumerate(prompts):
        alone = any_generator.generate(prompt, seed=7 + i, max_tokens=90, window="slide")
        assert alone.ids == together[i].ids


def test_short_texts_of_a_batch_go_on_when_long_ones_have_filled_their_window(any_generator: TextGenerator) -> None:
    long = any_generator.tokenizer.encode(STORY)[:45]
    together = any_generator.generate([long, "Tom", long[:30]], seed=7, max_tokens=60)
    alone = [
        any_generator.generate(prompt, seed=7 + i, max_tokens=60) for i, prompt in enumerate([long, "Tom", long[:30]])
    ]
    assert [text.ids for text in together] == [text.ids for text in alone]
    assert [text.finish for text in together] == [text.finish for text in alone]


# ── prompts ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_empty_prompt_begins_from_the_begin_token(generator: TextGenerator) -> None:
    text = generator.generate("", seed=1, max_tokens=5)
    assert text.prompt_ids == [generator.tokenizer.begin_id]
    assert len(text.ids) > 0


def test_a_prompt_of_spaces_is_a_prompt(generator: TextGenerator) -> None:
    text = generator.generate("     ", seed=1, max_tokens=5)
    assert generator.tokenizer.decode(text.prompt_ids) == "     "


def test_special_tokens_typed_by_somebody_are_ordinary_text(generator: TextGenerator) -> None:
    text = generator.generate("<|end|>", seed=1, max_tokens=5)
    assert text.prompt_ids.count(generator.tokenizer.end_id) == 1  # the one that opens every text


def test_an_empty_prompt_without_a_begin_token_is_refused() -> None:
    tokenizer = train_tokenizer("bytes", [], vocab_size=256, special=())
    with pytest.raises(TokenizerError, match="prompt is empty"):
        make_generator(tokenizer).generate("")


def test_no_prompts_give_no_texts(generator: TextGenerator) -> None:
    assert generator.generate([]) == []


def test_ids_that_the_model_does_not_have_are_named(generator: TextGenerator) -> None:
    with pytest.raises(TokenizerError, match="id of the prompt is 9999"):
        generator.generate([1, 9999])


# ── the record ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_record_holds_the_models_own_probabilities(any_generator: TextGenerator) -> None:
    for text in any_generator.generate(PROMPTS, seed=2, max_tokens=20, top_k=3, repetition_penalty=1.2):
        ids = torch.tensor([[*text.prompt_ids, *text.ids]])
        with torch.inference_mode():
            logits = any_generator.model(ids)[0, len(text.prompt_ids) - 1 : -1]
        expected = logits.log_softmax(dim=-1)
        chosen = expected.gather(1, torch.tensor(text.ids)[:, None])[:, 0]
        assert torch.allclose(torch.tensor(text.logprobs), chosen, atol=1e-4)
        assert text.record is not None
        assert torch.allclose(text.record.logsumexp, logits.logsumexp(dim=-1), atol=1e-4)
        assert torch.allclose(text.record.candidate_logprobs, expected.topk(20).values, atol=1e-4)
        assert len(text.record.candidates(0)) == 20
        assert text.record.candidates(0)[0].id == expected[0].argmax()


def test_without_a_record_the_text_is_the_same(generator: TextGenerator) -> None:
    for options in ({"greedy": True}, {"seed": 4}):
        bare = generator.generate("Tom", max_tokens=20, record=False, **options)  # type: ignore[arg-type]
        assert bare.record is None
        assert bare.logprobs == []
        assert bare.ids == generator.generate("Tom", max_tokens=20, **options).ids  # type: ignore[arg-type]


def test_to_dict_is_json_and_enough_to_make_the_text_again(generator: TextGenerator) -> None:
    text = generator.generate("Tom", seed=9, max_tokens=12, top_k=9, stop=["xyz"])
    values = json.loads(json.dumps(text.to_dict(), allow_nan=False))
    assert values["settings"]["top_k"] == 9
    assert values["model"] == "tiny-rotary"
    again = generator.generate(values["prompt"], seed=values["seed"], **values["settings"])
    assert again.text == values["text"]
    assert again.to_dict() == text.to_dict()


def test_ids_beyond_the_tokenizer_are_never_drawn(tokenizer: Tokenizer) -> None:
    model = randomize(Transformer(tiny_config(tokenizer.vocab_size + 64)))
    texts = TextGenerator(model, tokenizer).generate("Tom", n=16, temperature=5.0, top_p=1.0, seed=0, max_tokens=40)
    assert max(max(text.ids) for text in texts) < tokenizer.vocab_size


def test_bfloat16_models_write(tokenizer: Tokenizer) -> None:
    model = randomize(Transformer(tiny_config(tokenizer.vocab_size))).bfloat16()
    generator = TextGenerator(model, tokenizer)
    texts = generator.generate(PROMPTS, seed=0, max_tokens=60, window="slide")
    assert all(text.ids for text in texts)
    assert texts[0].record is not None
    assert texts[0].record.logsumexp.dtype == torch.float32


# ── what goes wrong ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_tokens", 0), ("n", 0), ("window", "glide"), ("stop", ""), ("seed", -4), ("top_p", 7.0), ("temperature", -1)],
)
def test_a_bad_setting_is_named_with_its_value(generator: TextGenerator, name: str, value: Any) -> None:
    for make in (generator.generate, generator.stream):
        with pytest.raises(ConfigError, match=f"{name} is {value!r}"):
            make("Tom", **{name: value})


def test_a_tokenizer_larger_than_the_model_is_refused(tokenizer: Tokenizer) -> None:
    model = Transformer(tiny_config(tokenizer.vocab_size - 20))
    with pytest.raises(TokenizerError, match=f"has {tokenizer.vocab_size} tokens, .* {tokenizer.vocab_size - 20}"):
        TextGenerator(model, tokenizer)


def test_models_that_do_not_write_are_refused(tokenizer: Tokenizer) -> None:
    config = tiny_config(tokenizer.vocab_size)
    assert config.decoder is not None
    encoder = ModelConfig(config.vocab_size, config.dim, 48, encoder=config.decoder)
    with pytest.raises(ConfigError, match="encoder-only"):
        TextGenerator(Transformer(encoder), tokenizer)
    headless = ModelConfig(config.vocab_size, config.dim, 48, decoder=config.decoder, head=None)
    with pytest.raises(ConfigError, match="head is None"):
        TextGenerator(Transformer(headless), tokenizer)


def test_a_model_of_nan_says_so(tokenizer: Tokenizer) -> None:
    generator = make_generator(tokenizer)
    with torch.no_grad():
        generator.model.embedding.token.weight.fill_(torch.nan)
    with pytest.raises(WeightsError, match="logit is nan"):
        generator.generate("Tom")


def _close(text: Generation, like: Generation) -> Generation:
    """The text with the other's log-probabilities where they are equal to rounding."""
    assert text.logprobs == pytest.approx(like.logprobs, abs=1e-4)
    return Generation(**{**text.__dict__, "logprobs": like.logprobs, "record": None})
