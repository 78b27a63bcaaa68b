"""Lets processes fork after the tokenizers library has used threads.

The library's threads do not survive a fork. Left alone, it prints a warning and switches its threads off in
the child; told to be parallel, it would wait in the child for threads that are gone. So: parallel in this
process unless ``TOKENIZERS_PARALLELISM`` says otherwise, alone in forked children, silent in both.
"""

from __future__ import annotations

import os

VARIABLE = "TOKENIZERS_PARALLELISM"


def _alone() -> None:
    os.environ[VARIABLE] = "false"


os.environ.setdefault(VARIABLE, "true")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)
