#!/usr/bin/env bash
# Make .venv with everything compgraph needs, by what this machine has:
#   apt    Debian 12: python3-graph-tool from the system, pinned pip packages over it in a virtual environment
#   conda  conda, mamba or micromamba: envs/environment.yaml
# A .venv that was made from the same pins is left as it is. COMPGRAPH_ROUTE=apt or conda chooses by hand.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME PIP_USER PIP_REQUIRE_VIRTUALENV
export PYTHONNOUSERSITE=1 DEBIAN_FRONTEND=noninteractive

SYSTEM_PYTHON=/usr/bin/python3 # never the python3 of PATH: it may be a version manager's shim
PACKAGES=(python3-graph-tool python3-venv)
STAMP=.venv/.compgraph-setup

say() { printf 'set-up: %s\n' "$*" >&2; }
fail() { printf 'set-up: %s\n' "$*" >&2; exit 1; }

pins() { cat envs/requirements.lock envs/environment.yaml envs/setup.sh pyproject.toml | sha256sum | cut -d' ' -f1; }

is_3_11() { [ -x "$1" ] && "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }

installed() { dpkg-query -W -f='${Status}\n' "${PACKAGES[@]}" 2>/dev/null | grep -c 'ok installed' | grep -qx "${#PACKAGES[@]}"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }

has_apt() { is_3_11 "$SYSTEM_PYTHON" && command -v apt-get >/dev/null && { installed || may_install; }; }

conda_tool() {
    local tool
    for tool in micromamba mamba conda; do
        if command -v "$tool" >/dev/null; then echo "$tool"; return; fi
    done
    return 1
}

route() {
    if [ -n "${COMPGRAPH_ROUTE:-}" ]; then echo "$COMPGRAPH_ROUTE"
    elif has_apt; then echo apt
    elif conda_tool >/dev/null; then echo conda
    else echo none; fi
}

with_apt() {
    if ! installed; then
        say "installing ${PACKAGES[*]} from Debian"
        as_root apt-get update -qq || say "the package lists could not be updated; trying with those at hand"
        as_root apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}" >/dev/null \
            || fail "apt-get could not install ${PACKAGES[*]}; see its message above"
    fi
    if ! is_3_11 .venv/bin/python; then
        rm -rf .venv
        "$SYSTEM_PYTHON" -m venv --system-site-packages .venv
    fi
    say "installing the pinned packages (some minutes the first time)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r envs/requirements.lock
}

with_conda() {
    local tool
    tool=$(conda_tool) || fail "COMPGRAPH_ROUTE is conda, but there is no conda, mamba or micromamba on PATH"
    say "creating the environment with $tool (some minutes the first time)"
    rm -rf .venv
    case $tool in
        micromamba) micromamba create --yes --quiet --prefix .venv --file envs/environment.yaml ;;
        *) "$tool" env create --quiet --prefix .venv --file envs/environment.yaml ;;
    esac
}

if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(pins)" ] && is_3_11 .venv/bin/python; then
    touch "$STAMP"
    exit 0
fi
case $(route) in
    apt) with_apt ;;
    conda) with_conda ;;
    none) fail "this machine has neither Debian 12's apt (with the right to use it: root, or sudo without a password)" \
        "nor conda, mamba or micromamba. Either ask for: apt-get install ${PACKAGES[*]}, or install micromamba; then run make again." ;;
    *) fail "COMPGRAPH_ROUTE is '$COMPGRAPH_ROUTE'; valid: apt, conda" ;;
esac
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
.venv/bin/compgraph --version >&2
pins >"$STAMP"
