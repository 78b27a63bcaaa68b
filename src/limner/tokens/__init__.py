"""Media to ids and back: text tokenizers are trained, run, saved and opened here."""

from limner.tokens import forks as forks  # first: it settles what forked processes do
from limner.tokens.stream import StreamDecoder as StreamDecoder
from limner.tokens.tokenizer import Piece as Piece
from limner.tokens.tokenizer import Tokenizer as Tokenizer
from limner.tokens.train import KINDS as KINDS
from limner.tokens.train import train_tokenizer as train_tokenizer

__all__ = ["KINDS", "Piece", "StreamDecoder", "Tokenizer", "train_tokenizer"]
