#!/usr/bin/env bash
# The tour that `make demo` gives: what limner does, shown with the bundled model `story`. Takes about a minute.
set -euo pipefail

bold=""; plain=""
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m'; plain=$'\033[0m'; fi

step() {  # say what comes, show the command, run it
    printf '\n%s%s%s\n' "$bold" "$1" "$plain"
    shift
    printf '$ %s\n\n' "$(printf '%q ' "$@" | sed 's/\\ / /g; s/ $//')"
    "$@"
}

step "1. Which models are there? These came with limner; nothing is fetched." \
    limner models
step "2. Tokens: what a model reads are not letters or words but pieces with numbers." \
    limner tokens "The curious cat climbed" --with story
step "3. Writing: the model continues a text, a token at a time. The seed makes it the same every time." \
    limner write "The curious cat climbed" --model story --seed 1 --max-tokens 120
step "4. Another seed, another story; --show says how sure the model was and what else it had in mind." \
    limner write "One day a little girl named Mia found" --model story --seed 2 --max-tokens 40 --show
step "5. Looking inside: where the last word looks, and how the next word forms layer by layer." \
    limner explain "The curious cat climbed" --model story

printf '\n%sNow yours.%s A folder of texts is all it takes:\n\n' "$bold" "$plain"
cat <<'END'
    .venv/bin/limner train text --data FOLDER --minutes 10 --out runs/mine
    .venv/bin/limner write "Once upon a time" --model runs/mine

`.venv/bin/limner --help` lists the verbs; README.md goes through them.
END
