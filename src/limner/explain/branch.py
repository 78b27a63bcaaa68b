"""What if it had said something else there: another token is put in, and the text goes on from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from limner.core.errors import ConfigError
from limner.explain.checks import check_place
from limner.text.generator import Run
from limner.text.record import Branch, Generation, Record

if TYPE_CHECKING:
    from limner.text.generator import TextGenerator
    from limner.text.record import Event


def branch(
    generator: TextGenerator,
    generation: Generation,
    place: int,
    id: int,
    *,
    max_tokens: int | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> Generation:
    """Put another token into a text that was written, and write on from there.

    Settings and seed stay: each token is drawn with the piece of chance that the text had for its place. A branch with
    the very token that the text has there is that text again.

    Args:
        generation: what ``generate`` returned, or another branch.
        place: which of the written tokens is another, counted from 0; negative ones count from the end.
        id: the token to put there.
        max_tokens: the most tokens of the whole text that is written, those before the branch included; None: as it was.
        on_event: called with each new token; what it returns does not matter, what it raises ends the writing.
    Returns:
        The whole text anew, from the first written token on, with ``branch`` set.
    Raises:
        ConfigError: no such place; the token is not the model's; max_tokens ends before the branch.
    """
    count = len(generation.ids)
    place = check_place(place, count, "what was written")
    vocab_size = generator.tokenizer.vocab_size
    if not 0 <= id < vocab_size:
        raise ConfigError(f"id is {id}, but ids run from 0 to {vocab_size - 1}. Choose one of them.")
    settings = generation.settings if max_tokens is None else replace(generation.settings, max_tokens=max_tokens)
    if settings.max_tokens <= place:
        raise ConfigError(
            f"max_tokens is {settings.max_tokens}, but the branch is at token {place + 1}. Choose {place + 1} or more."
        )
    recorded = generation.record is not None
    run = Run(generator, [generation.prompt_ids], settings, 1, generation.seed, recorded)
    forced = [*generation.ids[:place], id]
    run.force(0, forced)
    while run.active:
        for event in run.advance():
            if on_event is not None:
                on_event(event)
    text = run.samples[0]
    assert text.finish is not None
    logprobs, record = _record(generator, generation, place, id, run)
    return replace(
        generation, text="".join(text.shown), ids=text.ids, logprobs=logprobs, finish=text.finish, settings=settings,
        record=record, branch=Branch(place, id, generation.ids[place]),
    )  # fmt: skip


def _record(
    generator: TextGenerator, generation: Generation, place: int, id: int, run: Run
) -> tuple[list[float], Record | None]:
    """The record of the part that both texts share, of the token put in, and of what was written after it."""
    old = generation.record
    if old is None or run.collector is None:
        return [], None
    taken = len(run.samples[0].ids)
    shared = slice(0, min(place + 1, taken))
    logprobs = [*generation.logprobs[:place], _logprob(generator, generation, place, id)][:taken]
    record = Record(old.candidate_ids[shared], old.candidate_logprobs[shared], old.logsumexp[shared])
    if taken == place + 1:
        return logprobs, record
    later, after = run.collector.of(0)
    return [*logprobs, *later], Record(
        torch.cat((record.candidate_ids, after.candidate_ids)),
        torch.cat((record.candidate_logprobs, after.candidate_logprobs)),
        torch.cat((record.logsumexp, after.logsumexp)),
    )


@torch.inference_mode()
def _logprob(generator: TextGenerator, generation: Generation, place: int, id: int) -> float:
    """How likely the token that was put in was; where it is not among the record's, the text before it is read again."""
    assert generation.record is not None
    for candidate in generation.record.candidates(place):
        if candidate.id == id:
            return candidate.logprob
    ids = generator.slid([*generation.prompt_ids, *generation.ids[:place]])
    hidden = generator.model.hidden(torch.tensor([ids], device=generator.device))[:, -1]
    logits = generator.model.logits(hidden)[0, : generator.tokenizer.vocab_size].float()
    return float(logits.log_softmax(dim=-1)[id])
