"""Writes the documents that can be derived from the code: docs/cli.md, docs/taps.md, the tree in README.md.

python docs/generate.py           write them
python docs/generate.py --check   say which are out of date, and fail if any is
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MADE = "<!-- Made by docs/generate.py from the code; change the code and run `make docs`. -->\n"


# ── the command line ───────────────────────────────────────────────────────────────────────────────────────


def command_line() -> str:
    """Every verb with its arguments and options, as its own --help tells them."""
    from typer.core import TyperCommand

    from limner.cli.app import VERBS, load_verb

    def sections(command: Any, parent: Any, name: str, depth: int) -> Iterator[str]:
        context = command.make_context(name, [], parent=parent, resilient_parsing=True)
        yield f"{'#' * depth} `{context.command_path}`\n"
        text = re.sub(r"\f.*", "", command.help or "", flags=re.DOTALL).strip()
        yield f"{text}\n"
        yield f"```text\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```\n"
        records = [param.get_help_record(context) for param in command.get_params(context)]
        rows = [record for record in records if record is not None and "--help" not in record[0]]
        if rows:
            yield "| | |\n| --- | --- |"
            for left, right in rows:
                yield f"| `{cell(left)}` | {cell(right).replace('<', '&lt;')} |"
            yield ""
        for inner_name, inner in getattr(command, "commands", {}).items():
            yield from sections(inner, context, inner_name, depth + 1)

    def cell(text: str) -> str:
        return " ".join(text.split()).replace("|", "\\|")

    top = TyperCommand("limner").make_context("limner", [], resilient_parsing=True)
    lines = [
        "# The command line\n",
        MADE,
        "`limner VERB --help` says the same in the terminal. Results go to standard output, everything else to standard",
        "error. Exit codes: 0 done, 2 something that you can mend (one sentence says what, why and how), 130 stopped with",
        "Ctrl-C, 1 a mistake of limner's own.\n",
    ]
    for name in VERBS:
        lines += sections(load_verb(name), top, name, 2)
    return "\n".join(lines).rstrip() + "\n"


# ── taps ───────────────────────────────────────────────────────────────────────────────────────────────────

# What each step is, by the end of its name; shapes are read from a real forward, so they cannot be wrong.
STEPS = {
    "embedding.token": "the tokens' own vectors",
    "embedding.positions": "the vectors that say where each token stands, added to them",
    "embedding.segments": "the vectors that say which segment each token belongs to, added to them",
    "embedding.output": "what the first layer reads",
    "places": "where each token stands, counted from 0; rotary positions turn by it",
    "attention.query": "queries, after any norm and rotation",
    "attention.key": "keys, after any norm and rotation",
    "attention.value": "values",
    "attention.weights": "where each query looks: shares that add up to 1 over the keys",
    "attention.mixed": "values mixed by the weights",
    "attention.output": "what the attention gives to the residual stream",
    "feed_forward.hidden": "the feed-forward's inner values",
    "feed_forward.output": "what the feed-forward gives to the residual stream",
    "residual_attention": "the residual stream after the attention",
    "residual_cross_attention": "the residual stream after the cross-attention",
    "residual": "the residual stream after the layer",
    "final_norm": "the vectors that the head reads",
    "logits": "a score for every token of the vocabulary",
    # of pictures
    "condition": "shift, scale and gate of both parts of a layer, from the time; in a layer, its own added",
    "positions": "the vectors that say where each patch stands, added to them",
    "embedding": "what the first layer reads: the patches of the noisy picture",
    "prompt": "the prompt's vectors, as cross-attention reads them",
    "prediction": "what the network predicts, in pixels",
}

CODER_STEPS = {
    "encoder.input": "patches of pixels, after the first convolution",
    "encoder.stage.N": "after the residual blocks of a stage, largest sides first",
    "encoder.output": "means and log variances, one behind the other",
    "mean": "the latents' means",
    "log_variance": "how uncertain they are",
    "decoder.input": "latents, after the first convolution",
    "decoder.stage.N": "after the residual blocks of a stage, smallest sides first",
    "decoder.output": "pixels, in the precision of the weights",
    "pixels": "the picture, float32, about −1 to 1",
}


def taps() -> str:
    """The names of all steps, found by running one small model of each kind with everything recorded."""
    import torch

    from limner.core.config import (
        AttentionConfig,
        BlockConfig,
        EmbeddingConfig,
        FeedForwardConfig,
        LearnedPositions,
        ModelConfig,
        RotaryPositions,
        StackConfig,
    )
    from limner.core.tap import Recorder
    from limner.core.transformer import Transformer

    batch, heads, kv_heads = 2, 4, 2
    time, source_time, dim, head_dim, hidden, vocab = 5, 7, 24, 6, 40, 50
    sizes = {
        time: "time",
        source_time: "source time",
        dim: "dim",
        head_dim: "head dim",
        hidden: "hidden dim",
        vocab: "vocab",
    }

    def stack(*, causal: bool, cross: bool = False, rotary: bool = False) -> StackConfig:
        attention = AttentionConfig(
            heads, kv_heads, head_dim, RotaryPositions() if rotary else AttentionConfig.positions
        )
        cross_attention = AttentionConfig(heads, kv_heads, head_dim) if cross else None
        block = BlockConfig(attention, FeedForwardConfig(hidden), cross_attention)
        return StackConfig(1, (block,), causal)

    learned = EmbeddingConfig(LearnedPositions(), segments=2)
    models = {
        "Decoder-only": ModelConfig(vocab, dim, 9, decoder=stack(causal=True, rotary=True)),
        "Encoder-only": ModelConfig(vocab, dim, 9, encoder=stack(causal=False), embedding=learned),
        "Encoder-decoder": ModelConfig(
            vocab, dim, 9, encoder=stack(causal=False), decoder=stack(causal=True, cross=True), embedding=learned
        ),
    }

    def shape(name: str, value: torch.Tensor) -> str:
        words = {
            1: [],
            2: [],
            3: ["batch"],
            4: ["batch", "kv heads" if name.endswith((".key", ".value")) else "heads"],
        }[value.dim()]
        return f"({', '.join([*words, *(sizes[size] for size in value.shape[len(words) :])])})"

    lines = [
        "# Taps\n",
        MADE,
        "Pass a tap into a forward to see or change its steps: `Recorder(patterns)` keeps the values whose names match,",
        "`Editor({pattern: function})` replaces them, `Chain` does several things in order. Patterns are those of the shell:",
        "`layer.*.attention.weights`. Layers count from 0; N stands for any of them. Names and shapes below were read from",
        "forwards of small models.\n",
        "```python",
        "import torch",
        "from limner.core.config import AttentionConfig, BlockConfig, FeedForwardConfig, ModelConfig, StackConfig",
        "from limner.core.tap import Editor, Recorder",
        "from limner.core.transformer import Transformer",
        "",
        "block = BlockConfig(AttentionConfig(num_heads=4, num_kv_heads=4, head_dim=8), FeedForwardConfig(hidden_dim=64))",
        "model = Transformer(ModelConfig(100, 32, 16, decoder=StackConfig(2, (block,), causal=True)))",
        "ids = torch.tensor([[1, 2, 3]])",
        "",
        'recorder = Recorder(["layer.*.attention.weights", "logits"])',
        "model(ids, tap=recorder)",
        'print(recorder["layer.1.attention.weights"].shape)  # (batch, heads, queries, keys)',
        "",
        'without = model(ids, tap=Editor({"layer.0.attention.output": torch.zeros_like}))  # the first attention, ablated',
        "```",
    ]
    for title, config in models.items():
        model = Transformer(config).eval()
        recorder = Recorder()
        ids = torch.zeros(batch, time, dtype=torch.long)
        both = config.encoder is not None and config.decoder is not None
        rest = {"source": torch.zeros(batch, source_time, dtype=torch.long)} if both else {}
        if config.embedding.segments and not both:
            rest["segments"] = torch.zeros_like(ids)
        with torch.no_grad():
            model(ids, **rest, tap=recorder)
        lines += [f"\n## {title}\n", "| name | shape | what it is |", "| --- | --- | --- |"]
        for name, values in recorder.values.items():
            plain = f".{name.replace('.cross_attention', '.attention')}"
            meaning = next(what for end, what in STEPS.items() if plain.endswith(f".{end}"))
            if ".cross_attention." in name:
                meaning += " (from decoder to encoder)"
            public = re.sub(r"layer\.\d+", "layer.N", name)
            lines.append(f"| `{public}` | {shape(name, values[-1])} | {meaning} |")
    lines += [
        "\nA model with ALiBi has `slopes` as well, shape (heads,): how steeply each head's scores fall with distance. Where layers of",
        "several kinds take turns, `places` and `slopes` come once for each kind. `limner.without_positions()` is the tap under which",
        "nothing tells where tokens stand.",
    ]
    return "\n".join([*lines, *picture_taps(), *coder_taps()]) + "\n"


def coder_taps() -> list[str]:
    """The same of the picture autoencoder."""
    import torch

    from limner.core.tap import Recorder
    from limner.picture.autoencoder import Autoencoder, AutoencoderConfig

    config = AutoencoderConfig(latent_channels=5, factor=4, width=7, multipliers=(1,))
    sizes = {3: "channels", 5: "latent channels", 10: "2 × latent channels", 7: "width"}
    model, recorder = Autoencoder(config), Recorder()
    with torch.no_grad():
        model.decode(model.encode(torch.zeros(2, 3, 8, 8), tap=recorder).mean, tap=recorder)
    lines = ["\n## Picture autoencoder\n", "| name | shape | what it is |", "| --- | --- | --- |"]
    for name, values in recorder.values.items():
        channels, side = values[-1].shape[1:3]
        sides = "height, width" if side == 8 else "height / factor, width / factor"
        if "stage" in name or name == "encoder.input":
            sides = "height of the stage, width of the stage"
        public = re.sub(r"stage\.\d+", "stage.N", name)
        lines.append(f"| `{public}` | (batch, {sizes[channels]}, {sides}) | {CODER_STEPS[public]} |")
    return lines


def picture_taps() -> Iterator[str]:
    """The same of one look of a small picture model."""
    import torch

    from limner.core.tap import Recorder
    from limner.picture.config import make_config
    from limner.picture.denoiser import PictureModel
    from limner.picture.guidance import Guide, Prompts

    height, width, patch, dim, heads, tokens = 20, 28, 4, 48, 4, 9
    config = make_config(
        size=(height, width), patch=patch, dim=dim, num_layers=1, num_heads=heads, vocab_size=50, context_length=tokens,
        prompt_layers=1,
    )  # fmt: skip
    sizes = {
        2: "rows", 3: "channels", heads: "heads", tokens: "tokens", dim // heads: "head dim", height: "height",
        width: "width", height * width // patch**2: "patches", dim: "dim", 128: "hidden dim",
    }  # fmt: skip
    recorder = Recorder()
    prompts = Prompts(torch.zeros(2, tokens, dtype=torch.long), torch.ones(2, tokens, dtype=torch.bool), (1.0,), 4.0)
    with torch.no_grad():
        guide = Guide(PictureModel(config).eval(), prompts, tap=recorder)
        guide(torch.randn(1, 3, height, width), torch.tensor(0.5))
    yield "\n## Picture model\n"
    yield "Rows are the prompt (or, in a blend, both), and last what guidance leads away from. The prompt is read once; look.K is"
    yield "the K-th time that the model sees the picture, counted from 0: once a step, with Heun twice.\n"
    yield "| name | shape | what it is |"
    yield "| --- | --- | --- |"
    for name, values in recorder.values.items():
        plain = f".{name.replace('.cross_attention', '.attention')}"
        meaning = next(what for end, what in STEPS.items() if plain.endswith(f".{end}"))
        if name.startswith("prompt") and "positions" in name:
            meaning = STEPS["embedding.positions"]
        if ".cross_attention." in name:
            meaning += " (from the picture to the prompt)"
        public = re.sub(r"layer\.\d+", "layer.N", name).replace("look.0", "look.K")
        shape = ", ".join(sizes.get(size, str(size)) for size in values[-1].shape)
        if public.startswith("look") and name.endswith(".places"):
            shape, meaning = "patches, 2", "row and column of each patch; rotary positions turn by them"
        yield f"| `{public}` | ({shape}) | {meaning} |"


# ── README's tree ──────────────────────────────────────────────────────────────────────────────────────────


CHAPTERS = (
    "errors", "settings", "config", "tap", "embeddings", "positions", "cache", "attention", "layers", "transformer", "output"
)  # fmt: skip


def tree() -> str:
    """The package's folders and the core's files, each with the first line of its docstring."""

    def line(path: Path) -> str:
        said = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
        return re.split(r"(?<=\.)\s", " ".join(said.split()))[0].rstrip(".")

    package = ROOT / "src" / "limner"
    lines = ["```text", "src/limner/"]
    entries = sorted(path for path in package.iterdir() if (path / "__init__.py").exists() or path.suffix == ".py")
    order = [
        "core",
        "tokens",
        "weights",
        "data",
        "text",
        "picture",
        "models.py",
        "train",
        "explain",
        "studio",
        "recipes",
        "cli",
    ]
    entries = [path for path in entries if not path.name.startswith("__")]
    for path in sorted(entries, key=lambda path: order.index(path.name) if path.name in order else len(order)):
        name = f"{path.name}/" if path.is_dir() else path.name
        lines.append(f"  {name:<18}{line(path / '__init__.py' if path.is_dir() else path)}")
        if path.name == "core":
            lines += [f"    {chapter + '.py':<16}{line(path / f'{chapter}.py')}" for chapter in CHAPTERS]
    lines += [f"  {'assets/':<18}Bundled texts and models, each with its licence and model card", "```"]
    return "\n".join(lines)


def readme() -> str:
    """README.md with the tree between its two markers made anew."""
    text = (ROOT / "README.md").read_text()
    begin, end = "<!-- tree: made by docs/generate.py -->\n", "\n<!-- end of tree -->"
    before, rest = text.split(begin)
    return before + begin + tree() + end + rest.split(end)[1]


DOCUMENTS = {"docs/cli.md": command_line, "docs/taps.md": taps, "README.md": readme}


def main() -> int:
    """Write the documents, or with --check compare them."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, make in DOCUMENTS.items():
        path, made = ROOT / name, make()
        if path.exists() and path.read_text() == made:
            continue
        stale.append(name)
        if not check:
            path.write_text(made)
            print(f"{name} written")
    if check and stale:
        print(f"{', '.join(stale)}: not what the code says any more. Run: make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
