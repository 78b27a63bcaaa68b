#!/usr/bin/env bash
# The tour that `make demo` gives: what limner does, shown with the bundled models. Takes about two minutes.
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

mkdir -p demo
step "   All of it as one page, with every head switched off once beforehand: click a token to see what it looked at." \
    limner explain "The dog didn't bark because it was tired" --model story --force --out demo/text.html
step "6. Painting: from noise to a picture, led by the words. No picture that the model learned from showed this dog in this cap." \
    limner paint "a German Shepherd wearing a red baseball cap" --seed 0 --force \
    --out demo/german-shepherd.png --filmstrip demo/german-shepherd-steps.png --report demo/picture.html
step "7. Others: picture i is the one that its seed makes alone, whatever else is painted." \
    limner paint "a black cat with a blue crown next to a fox in a green top hat" --seed 1 --n 3 --force --out demo/cat-and-fox
printf '\nOpen in a browser:\n'
printf '    %s%s%s   what "it" looked at, and what changes without each head\n' "$bold" "demo/text.html" "$plain"
printf '    %s%s%s   each step from noise to picture, where each word went, and the picture without it\n' "$bold" "demo/picture.html" "$plain"
printf '    %s%s%s   the same steps as one picture\n' "$bold" "demo/german-shepherd-steps.png" "$plain"
printf '\n%sThe studio%s is all of this live, for any model, with lessons: .venv/bin/limner studio\n' "$bold" "$plain"

printf '\n%sNow yours.%s A folder of texts, or of pictures with captions, is all it takes:\n\n' "$bold" "$plain"
cat <<'END'
    .venv/bin/limner train text --data FOLDER --minutes 10 --out runs/mine
    .venv/bin/limner write "Once upon a time" --model runs/mine

    .venv/bin/limner train picture --data FOLDER --minutes 30 --out runs/painter
    .venv/bin/limner paint "a fox in the snow" --model runs/painter

`.venv/bin/limner --help` lists the verbs; README.md goes through them.
END
