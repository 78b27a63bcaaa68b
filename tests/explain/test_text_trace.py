"""A trace of a text says what the model did, no more and no less, and how far it is from the run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import limner
from limner.core.config import (
    ALiBiPositions,
    AttentionConfig,
    BlockConfig,
    EmbeddingConfig,
    FeedForwardConfig,
    LayerNorm,
    LearnedPositions,
    ModelConfig,
    StackConfig,
)
from limner.core.errors import ConfigError, ContextError, TokenizerError
from limner.core.positions import alibi_slopes
from limner.core.tap import Chain, Editor, Recorder
from limner.core.transformer import Transformer
from limner.explain import reading
from limner.explain.next_token import next_token
from limner.explain.reading import GROUPS, TEMPERATURES, plane
from limner.explain.text_trace import TextTrace, trace_text
from limner.explain.trace import load_trace
from limner.text.encoder import TextEncoder
from limner.text.generator import TextGenerator
from limner.text.record import Generation
from limner.text.sampling import Sampling, keep_top_k, keep_top_p
from limner.tokens import Tokenizer, train_tokenizer
from tests.explain.conftest import build
from tests.text.conftest import STORY, make_generator, randomize

TEXT = "Once upon a time, there was a curious cat"


def recorded(model: TextGenerator | TextEncoder, ids: list[int]) -> Recorder:
    tap = Recorder()
    with torch.inference_mode():
        if model.model.head is None:
            model.model.hidden(torch.tensor([ids]), tap=tap)
        else:
            model.model(torch.tensor([ids]), tap=tap)
    return tap


@pytest.fixture(scope="module")
def trace(model: TextGenerator) -> TextTrace:
    return model.trace(TEXT)


@pytest.fixture(scope="module")
def seen(model: TextGenerator) -> Recorder:
    return recorded(model, model.read_prompt(TEXT))


def test_tokens_and_candidates_are_the_models(model: TextGenerator, trace: TextTrace, seen: Recorder) -> None:
    ids = model.read_prompt(TEXT)
    assert trace["ids"].tolist() == ids
    assert "".join(trace.tokens) == "<|end|>" + TEXT
    assert [token["written"] for token in trace.about["tokens"]] == [False] * len(ids)
    assert trace.about["replay"] is None
    assert trace.about["run"] is None
    logits = seen["logits"][0]
    logs = logits.log_softmax(dim=-1)
    actual = [0.0, *(logs[place, ids[place + 1]].item() for place in range(len(ids) - 1))]
    assert trace["logprobs"] == pytest.approx(actual, abs=1e-4)
    best = logits.topk(64)
    np.testing.assert_array_equal(trace["candidates.ids"], best.indices.int().numpy())
    np.testing.assert_allclose(trace["candidates.logits"], best.values.numpy(), atol=1e-4)
    for column, temperature in enumerate(TEMPERATURES):
        sums = (logits.double() / temperature).logsumexp(dim=-1)
        np.testing.assert_allclose(trace["logsumexp"][:, column], sums, rtol=1e-5, atol=1e-4)
    bits = -(logs.exp() * logs).sum(dim=-1) / np.log(2)
    np.testing.assert_allclose(trace["entropy"], bits, atol=1e-3)
    for candidate in trace.candidates(3, 5):
        assert candidate.probability == pytest.approx(logs[3, candidate.id].exp().item(), rel=1e-3)
        assert trace.text(candidate.id) == model.token_text(candidate.id)


def test_shown_attention_times_values_is_the_fused_output(
    model: TextGenerator, trace: TextTrace, seen: Recorder
) -> None:
    for layer in range(trace.layers):
        weights = torch.from_numpy(trace.attention(layer))
        np.testing.assert_allclose(weights, seen[f"layer.{layer}.attention.weights"][0], atol=1 / 509)
        values = seen[f"layer.{layer}.attention.value"][0].repeat_interleave(
            len(weights) // seen[f"layer.{layer}.attention.value"].shape[1], dim=0
        )
        fused = seen[f"layer.{layer}.attention.mixed"][0]
        away = (weights @ values - fused).abs().max()
        assert away <= values.abs().sum(dim=1).max() / 509  # what bytes round off
    assert trace.attention(1, 0).shape == (len(trace.tokens),) * 2


def test_looking_changes_nothing(model: TextGenerator) -> None:
    """Bit for bit: what the head reads while everything is recorded is what it reads while nothing is."""
    ids = torch.tensor([model.read_prompt(TEXT)])
    with torch.inference_mode():
        plain = model.model.hidden(ids)[0]
    everything = Recorder()
    reading.read(model, ids[0].tolist(), reading.Keeping(**dict.fromkeys(GROUPS, True)), tap=everything)
    assert torch.equal(everything["final_norm"][0], plain)


def test_lengths_of_the_stream(model: TextGenerator, trace: TextTrace, seen: Recorder) -> None:
    streams = [seen["embedding.output"][0], *(seen[f"layer.{n}.residual"][0] for n in range(trace.layers))]
    np.testing.assert_allclose(trace["stream.length"], torch.stack(streams).norm(dim=-1), rtol=1e-4)
    middle = seen["layer.0.residual_attention"][0]
    wanted = [streams[0], middle - streams[0], streams[1] - middle]
    np.testing.assert_allclose(trace["stream.norm"][:3], torch.stack(wanted).norm(dim=-1), rtol=1e-3)
    assert trace["stream.norm"].shape == (2 * trace.layers + 1, len(trace.tokens))


def test_what_a_head_gives_is_what_is_missing_without_it(rotary: TextGenerator) -> None:
    seen, without = recorded(rotary, rotary.read_prompt(TEXT)), Recorder()
    tap = Chain(Editor({"layer.1.attention.mixed": lambda v: v.index_fill(1, torch.tensor([2]), 0.0)}), without)
    with torch.inference_mode():
        rotary.model(torch.tensor([rotary.read_prompt(TEXT)]), tap=tap)
    missing = (seen["layer.1.attention.output"] - without["layer.1.attention.output"])[0]
    np.testing.assert_allclose(rotary.trace(TEXT)["attention_output.1"][2], missing.norm(dim=-1), rtol=2e-3)


def test_the_lens_is_the_model_ended_early(words: Tokenizer) -> None:
    model = build(words, "learned")
    trace = model.trace(TEXT, keep="everything")
    ids = model.read_prompt(TEXT)
    last = recorded(model, ids)["logits"][0]
    assert model.model.decoder is not None
    model.model.decoder.layers = model.model.decoder.layers[:1]
    logs = recorded(model, ids)["logits"][0].log_softmax(dim=-1)
    np.testing.assert_array_equal(trace["lens.ids"][1], logs.topk(5).indices.int())
    np.testing.assert_allclose(trace["lens.logprobs"][1], logs.topk(5).values, atol=1e-4)
    follows = [*ids[1:], int(last[-1].argmax())]
    np.testing.assert_allclose(trace["lens.actual"][1], logs[range(len(ids)), follows], atol=1e-4)
    np.testing.assert_array_equal(trace["lens.ids"][2], trace["candidates.ids"][:, :5])
    np.testing.assert_allclose(trace["lens.actual"][2][:-1], trace["logprobs"][1:], atol=1e-5)


@pytest.mark.parametrize("head_softcap", [None, 3.0])
def test_the_quick_lens_says_what_the_exact_one_says(
    words: Tokenizer, monkeypatch: pytest.MonkeyPatch, head_softcap: float | None
) -> None:
    model = build(words, "learned" if head_softcap is None else "softcaps")
    exact = model.trace(TEXT, keep="lens")
    monkeypatch.setattr(reading, "QUICK_FROM", 0)
    monkeypatch.setattr(reading, "bfloat16_helps", lambda device: True)
    monkeypatch.setattr(reading, "WIDE", 100)  # several parts of the vocabulary, the last one short
    quick = model.trace(TEXT, keep="lens")
    np.testing.assert_array_equal(quick["lens.ids"], exact["lens.ids"])
    np.testing.assert_allclose(quick["lens.logprobs"], exact["lens.logprobs"], atol=2e-3)
    np.testing.assert_allclose(quick["lens.actual"], exact["lens.actual"], atol=2e-3)


def test_the_most_active_neurons(model: TextGenerator, trace: TextTrace, seen: Recorder) -> None:
    hidden = seen["layer.1.feed_forward.hidden"][0]
    for place in (0, 5):
        ids, values = trace["neurons.ids"][1, place], trace["neurons.values"][1, place]
        assert hidden[place].abs().max() == hidden[place, ids[0]].abs()
        assert values == pytest.approx(hidden[place, ids.tolist()].tolist(), rel=2e-3, abs=1e-4)
        assert len(set(ids.tolist())) == 8


def test_rollout_starts_at_oneself_and_rows_are_shares(trace: TextTrace, seen: Recorder) -> None:
    rolled = np.eye(len(trace.tokens))
    for layer in range(trace.layers):
        mean = seen[f"layer.{layer}.attention.weights"][0].mean(dim=0).numpy()
        rolled = (0.5 * mean + 0.5 * np.eye(len(mean))) @ rolled
    np.testing.assert_allclose(trace["rollout"], rolled, atol=1 / 509)


@pytest.mark.parametrize("shape", [(1, 5), (2, 9), (30, 12), (200, 150)])
def test_the_map_is_of_principal_components(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    sizes = torch.cat((torch.tensor([30.0, 20.0]), torch.linspace(8, 1, shape[1] - 2)))
    x = torch.randn(shape, generator=generator) * sizes + 5
    points = plane(x)
    spread = torch.linalg.svdvals(x - x.mean(dim=0))
    lengths = torch.nn.functional.pad(spread, (0, 2))[:2]
    assert points.shape == (shape[0], 2)
    torch.testing.assert_close(points.norm(dim=0), lengths, rtol=1e-3, atol=1e-2)
    assert torch.equal(points, plane(x))
    torch.testing.assert_close(plane(x, -points), -points)


# ── runs and their replay ──────────────────────────────────────────────────────────────────────────────────


def test_a_replay_of_ones_own_run_agrees(model: TextGenerator) -> None:
    made = model.generate(TEXT, seed=3, max_tokens=12)
    trace = model.trace(made)
    assert trace.about["replay"]["agreement"] == 1.0
    assert trace.about["replay"]["largest_difference"] < 1e-3
    assert trace.about["replay"]["tokens"] == len(made.ids)
    assert trace["ids"].tolist() == [*made.prompt_ids, *made.ids]
    written = [token["id"] for token in trace.about["tokens"] if token["written"]]
    assert written == made.ids
    assert trace["logprobs"][len(made.prompt_ids) :] == pytest.approx(made.logprobs, abs=1e-4)
    assert trace.about["run"]["settings"] == made.settings.to_dict()


def test_a_tampered_record_or_text_is_found_out(rotary: TextGenerator) -> None:
    made = rotary.generate(TEXT, seed=3, max_tokens=12)
    assert made.record is not None
    ids = made.record.candidate_ids.clone()
    ids[4] = ids[4].flip(0)
    tampered = rotary.trace(replace(made, record=replace(made.record, candidate_ids=ids)))
    assert tampered.about["replay"]["agreement"] == pytest.approx(11 / 12)
    assert tampered.about["replay"]["largest_difference"] > 0.1
    other = [*made.ids[:2], (made.ids[2] + 1) % 300, *made.ids[3:]]
    assert rotary.trace(replace(made, ids=other)).about["replay"]["largest_difference"] > 0.1


def test_a_run_without_a_record_says_so(rotary: TextGenerator) -> None:
    trace = rotary.trace(rotary.generate(TEXT, seed=3, max_tokens=5, record=False))
    assert trace.about["replay"] is None
    assert "no record" in trace.about["notes"][0]


def test_a_text_that_slid_is_read_as_its_last_window(words: Tokenizer) -> None:
    model = make_generator(words, context_length=24, end_bias=-50.0)
    made = model.generate("Tom climbed a tall tree", seed=2, max_tokens=70, window="slide")
    assert len(made.ids) == 70
    trace = model.trace(made)
    replay = trace.about["replay"]
    assert replay["agreement"] == 1.0
    assert replay["largest_difference"] < 1e-3
    assert 0 < replay["tokens"] < 70
    written = [token["id"] for token in trace.about["tokens"] if token["written"]]
    read = [token["id"] for token in trace.about["tokens"] if not token["written"]]
    assert read == list(words.opening)
    assert "".join(map(str, written)) in "".join(map(str, made.ids))
    assert "slid through a window of 24" in trace.about["notes"][0]


def test_a_text_that_filled_its_window_is_read_but_for_its_last_token(words: Tokenizer) -> None:
    model = make_generator(words, kind="learned", context_length=24, end_bias=-50.0)
    made = model.generate("Tom climbed", seed=2, max_tokens=70)
    assert made.finish == "context"
    trace = model.trace(made)
    assert len(trace.tokens) == 24
    assert trace.about["replay"]["tokens"] == len(made.ids)
    assert trace.about["replay"]["agreement"] == 1.0
    assert "was not read" in trace.about["notes"][-1]


# ── what can be asked of one ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("temperature", [0.3, 1.0, 1.7])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (0, 0.3), (40, 0.5), (1, 1.0)])
def test_distributions_under_other_settings(
    rotary: TextGenerator, temperature: float, top_k: int, top_p: float
) -> None:
    trace = rotary.trace(TEXT)
    found = trace.distribution(4, temperature=temperature, top_k=top_k, top_p=top_p)
    logits = recorded(rotary, rotary.read_prompt(TEXT))["logits"][0, 4:5] / temperature
    ranked, ids = logits.log_softmax(dim=-1).sort(descending=True)
    kept = keep_top_p(keep_top_k(ranked, top_k), top_p).softmax(dim=-1)[0]
    assert found.exact
    assert found.ids.tolist() == ids[0, : len(found.ids)].tolist()
    np.testing.assert_allclose(found.probabilities, kept[: len(found.ids)], atol=1e-5)
    assert found.rest == pytest.approx(float(kept[len(found.ids) :].sum()), abs=1e-4)
    if found.kept is not None:
        assert found.kept == int((kept > 0).sum())


@pytest.mark.parametrize("temperature", [0.05, 0.55, 1.23, 3.0])
def test_between_the_temperatures_that_are_kept_it_is_near_and_says_so(
    rotary: TextGenerator, temperature: float
) -> None:
    found = rotary.trace(TEXT).distribution(-1, temperature=temperature)
    assert not found.exact
    logits = recorded(rotary, rotary.read_prompt(TEXT))["logits"][0, -1] / temperature
    np.testing.assert_allclose(found.probabilities, logits.softmax(-1)[found.ids.tolist()], rtol=0.15)


def test_a_filter_wider_than_what_is_kept_says_so(rotary: TextGenerator) -> None:
    found = rotary.trace(TEXT).distribution(-1, temperature=2.0, top_p=0.999)
    assert (found.exact, found.kept) == (False, None)
    plain = rotary.trace(TEXT).distribution(-1)
    for top_p in (1.0, 0.3):
        found = rotary.trace(TEXT).distribution(-1, top_k=100, top_p=top_p)
        assert (found.exact, found.kept) == (False, None)
        assert found.rest == pytest.approx(plain.rest)
        np.testing.assert_array_equal(found.probabilities, plain.probabilities)
        drawn = next_token(rotary, TEXT, count=5, sampling=Sampling(top_k=100, top_p=top_p))
        for candidate, id, share in zip(drawn.candidates, found.ids, found.probabilities, strict=False):
            assert candidate.id == id
            assert share <= candidate.probability + 1e-6, "the filters can only make it more"


@pytest.mark.parametrize("temperature", [1e-30, 1e-300, 5e-324])
@pytest.mark.parametrize("top_k", [0, 5])
def test_near_0_the_likeliest_is_certain(rotary: TextGenerator, temperature: float, top_k: int) -> None:
    trace = rotary.trace(TEXT)
    found = trace.distribution(-1, temperature=temperature, top_k=top_k)
    assert found.probabilities[0] == pytest.approx(1.0)
    drawn = next_token(rotary, TEXT, sampling=Sampling(temperature, top_k))
    assert drawn.candidates[0].probability == pytest.approx(1.0)
    assert drawn.candidates[0].id == found.ids[0] == trace.candidates(-1, 1)[0].id


def test_greedy_is_the_likeliest(rotary: TextGenerator) -> None:
    trace = rotary.trace(TEXT)
    found = trace.distribution(-1, temperature=0.0)
    assert found.ids.tolist() == [trace.candidates(-1, 1)[0].id]
    assert found.probabilities.tolist() == [1.0]


@pytest.mark.parametrize("group", GROUPS)
def test_only_what_is_asked_for_is_kept(rotary: TextGenerator, group: str) -> None:
    whole, part = rotary.trace(TEXT, keep="everything"), rotary.trace(TEXT, keep=group)
    assert 1 < len(part) < len(whole)
    for name in part:
        np.testing.assert_array_equal(part[name], whole[name])


def test_the_lens_is_kept_only_where_it_is_asked_for(rotary: TextGenerator) -> None:
    usual, everything = rotary.trace(TEXT), rotary.trace(TEXT, keep="everything")
    assert sorted(set(everything) - set(usual)) == ["lens.actual", "lens.ids", "lens.logprobs"]


def test_taps_are_kept_whole_by_pattern(rotary: TextGenerator) -> None:
    trace = rotary.trace(TEXT, keep=["layer.*.attention.query", "logits", "stream"])
    seen = recorded(rotary, rotary.read_prompt(TEXT))
    assert sorted(name for name in trace if name.startswith("tap.")) == [
        "tap.layer.0.attention.query", "tap.layer.1.attention.query", "tap.logits",
    ]  # fmt: skip
    assert trace.arrays["tap.logits"].dtype == np.float16
    for name in ("layer.1.attention.query", "logits"):
        np.testing.assert_allclose(trace[f"tap.{name}"], seen[name][0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("kind", ["rotary", "sliding"])
def test_places_are_kept_once_however_many_kinds_of_layers_turn_by_them(words: Tokenizer, kind: str) -> None:
    trace = build(words, kind).trace(TEXT, keep=["places", "layer.*.attention.weights"])
    assert trace["tap.places"].tolist() == list(range(len(trace.tokens)))
    assert trace["tap.layer.1.attention.weights"].shape[1:] == (len(trace.tokens),) * 2


def test_places_are_exact_in_long_texts() -> None:
    words = train_tokenizer("byte-bpe", [STORY] * 4, vocab_size=320)
    ids = [1] * 2100
    trace = make_generator(words, context_length=2100).trace(ids, keep="places")
    assert trace["tap.places"][-3:].tolist() == [2097, 2098, 2099], "half precision ends at 2048"


def test_slopes_of_kinds_that_differ_in_them_are_kept_of_each(words: Tokenizer) -> None:
    few, many = (
        BlockConfig(AttentionConfig(heads, 2, 8, positions=ALiBiPositions()), FeedForwardConfig(48)) for heads in (2, 4)
    )
    config = ModelConfig(words.vocab_size, 32, 48, decoder=StackConfig(4, (few, many), causal=True))
    mixed = TextGenerator(randomize(Transformer(config)), words)
    trace = mixed.trace(TEXT, keep="slopes")
    np.testing.assert_allclose(trace["tap.slopes.0"], alibi_slopes(2), rtol=1e-3)
    np.testing.assert_allclose(trace["tap.slopes.1"], alibi_slopes(4), rtol=1e-3)
    np.testing.assert_allclose(
        build(words, "alibi").trace(TEXT, keep="slopes")["tap.slopes"], alibi_slopes(2), rtol=1e-3
    )
    whole = mixed.trace(TEXT, keep="everything")
    assert [len(whole.attention(layer)) for layer in range(4)] == [2, 4, 2, 4]
    with pytest.raises(ConfigError, match="head is 3, but layer 0 has 2 heads"):
        whole.attention(0, 3)


def test_what_cannot_be_asked_for_is_named(rotary: TextGenerator, encoder: TextEncoder, words: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=r"keep is 'atention'.*'attention'"):
        rotary.trace(TEXT, keep="atention")
    with pytest.raises(ConfigError, match=r"keep is 'layer\.9\.\*', but no step"):
        rotary.trace(TEXT, keep="layer.9.*")
    with pytest.raises(ConfigError, match="keep is 'ledger', but this model has none"):
        encoder.trace("Tom", keep="ledger")
    with pytest.raises(ConfigError, match=r"keep is 'ledger'.*normalises the stream after each"):
        build(words, "post").trace(TEXT, keep="ledger")
    with pytest.raises(ContextError, match="holds 48"):
        rotary.trace(STORY * 2)
    with pytest.raises(TokenizerError, match="999999"):
        rotary.trace([1, 999999])
    with pytest.raises(ConfigError, match="source is a Generation"):
        trace_text(encoder, rotary.generate("Tom", max_tokens=2))
    trace = rotary.trace(TEXT, keep="stream")
    with pytest.raises(ConfigError, match=r"attention\.0 is asked for, but the trace has none: attention was not kept"):
        trace.attention(0)
    with pytest.raises(ConfigError, match="layer is 2, but the model has 2"):
        trace.attention(2)
    with pytest.raises(ConfigError, match="place is 77"):
        rotary.trace(TEXT).candidates(77)


def test_an_encoder_without_a_head_is_read_as_far_as_it_goes(encoder: TextEncoder) -> None:
    trace = encoder.trace("Tom climbed a tall tree")
    assert trace.about["model"]["family"] == "encoder"
    assert trace["ids"].tolist() == encoder.read("Tom climbed a tall tree")
    assert trace.tokens[0] == "[CLS]"
    assert {"attention.0", "stream.norm", "states.map", "neurons.ids", "rollout"} <= set(trace)
    assert not {"candidates.ids", "ledger.logit", "lens.ids", "logprobs"} & set(trace)
    seen = recorded(encoder, trace["ids"].tolist())
    given = seen["layer.1.feed_forward.output"][0]  # the stream is normalised after it is added, so no difference
    np.testing.assert_allclose(trace["stream.norm"][4], given.norm(dim=-1), rtol=1e-4)


def test_a_model_normalised_after_each_sub_layer_has_all_but_the_ledger(words: Tokenizer) -> None:
    trace = build(words, "post").trace(TEXT, keep="everything")
    assert "ledger.logit" not in trace
    assert {"lens.ids", "candidates.ids", "attention.1", "stream.norm"} <= set(trace)


def test_one_token_is_a_text(model: TextGenerator) -> None:
    trace = model.trace("")
    assert trace.tokens == ["<|end|>"]
    assert trace.attention(0, 0).tolist() == [[1.0]]
    assert trace["states.map"].shape == (3, 1, 2)


# ── files and notebooks ────────────────────────────────────────────────────────────────────────────────────


def test_a_trace_of_a_text_comes_back_from_its_file(rotary: TextGenerator, tmp_path: Path) -> None:
    trace = rotary.trace(rotary.generate("café 🪁 </script>", seed=1, max_tokens=5))
    trace.save(tmp_path / "run.trace")
    back = load_trace(tmp_path / "run.trace")
    assert isinstance(back, limner.TextTrace)
    assert back.about == trace.about
    np.testing.assert_array_equal(back.attention(1), trace.attention(1))
    assert back.candidates(-1) == trace.candidates(-1)


def test_64_tokens_of_gpt2_small_take_less_than_5_megabytes(words: Tokenizer) -> None:
    """Its shape in all that counts for size: layers, heads, tokens, the numbers kept; vectors are narrow."""
    block = BlockConfig(
        AttentionConfig(12, 12, 2, bias=True, output_bias=True),
        FeedForwardConfig(64, activation="gelu_tanh", gated=False, bias=True),
        norm=LayerNorm(),
    )
    config = ModelConfig(
        words.vocab_size, 24, 64, decoder=StackConfig(12, (block,), causal=True, final_norm=LayerNorm()),
        embedding=EmbeddingConfig(positions=LearnedPositions()),
    )  # fmt: skip
    model = TextGenerator(randomize(Transformer(config)), words)
    trace = model.trace([5] * 64)
    assert trace["attention.11"].shape == (12, 64, 64)
    assert len(trace.to_bytes()) < 2e6


def test_a_notebook_shows_the_text_and_nothing_that_it_says_is_markup(rotary: TextGenerator) -> None:
    nasty = '</script><img src=x onerror="alert(1)">&\'"<!--'
    page = rotary.trace(rotary.generate(nasty, seed=1, max_tokens=3))._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    assert "</script" not in page
    assert "&lt;" in page
    assert "http" not in page
    from html.parser import HTMLParser

    tags: list[str] = []
    texts: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert {name for name, _ in attrs} <= {"class", "style", "title", "dir"}

        def handle_data(self, data: str) -> None:
            texts.append(data)

    Reader().feed(page)
    assert set(tags) <= {"div", "style", "span", "table", "tr", "td", "code"}
    assert nasty in "".join(texts)
    assert "same likeliest token 100%" in page


def test_notebooks_show_all_kinds(rotary: TextGenerator, encoder: TextEncoder) -> None:
    assert "Tom" in encoder.trace("Tom climbed")._repr_html_()
    assert "surprise" not in rotary.trace("Tom", keep="stream")._repr_html_()
    assert "would come next" in rotary.trace("Tom")._repr_html_()
    assert repr(rotary.trace("")) == "TextTrace(1 tokens, tiny-rotary, 18 arrays)"


def test_a_generation_of_another_model_is_noticed(rotary: TextGenerator, words: Tokenizer) -> None:
    made: Generation = build(words, "learned").generate(TEXT, seed=1, max_tokens=10)
    assert rotary.trace(made).about["replay"]["agreement"] < 1.0
