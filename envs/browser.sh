#!/usr/bin/env bash
# For the tests of pages: a Chromium, from Debian where it can be had. Without one those tests are skipped, and say so.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive

say() { printf 'browser: %s\n' "$*" >&2; }

for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if ! command -v apt-get >/dev/null; then say "no Chromium, and no apt-get to install one; tests of pages are skipped"; exit 0; fi
root=()
if [ "$(id -u)" != 0 ]; then
    if ! { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; then
        say "no Chromium, and no right to install one (apt-get install chromium); tests of pages are skipped"
        exit 0
    fi
    root=(sudo -n)
fi
say "installing chromium from Debian for the tests of pages"
"${root[@]}" apt-get update -qq || say "the package lists could not be updated; trying with those at hand"
"${root[@]}" apt-get install -y -qq --no-install-recommends chromium >/dev/null \
    || say "apt-get could not install chromium; tests of pages are skipped"
