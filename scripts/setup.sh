# Sourced by the other scripts: makes $VENV with an extra of ours, installs what Debian lacks, and runs tests.
#   set_up EXTRA
#   run_tests ARGUMENTS_OF_PYTEST

VENV=${VENV:-.venv}
CONSTRAINTS=${CONSTRAINTS:-constraints.txt}
unset PYTHONDONTWRITEBYTECODE # some containers set it: hundreds of processes would compile all of our source anew

find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "Python 3.11 or newer is needed; found $(python3 --version 2>&1 || echo none)." >&2
    return 1
}

# Install the Debian packages named, where they are missing and we may.
debian_packages() {
    command -v dpkg-query >/dev/null || return 0
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "Not root, so these Debian packages stay missing: ${missing[*]}" >&2
        return 0
    fi
    echo "Installing Debian packages: ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# For windows without a screen.
window_packages() {
    [ "$(uname)" = Linux ] || return 0
    debian_packages xvfb xauth libegl1 libgl1 libglx0 libgl1-mesa-dri libdbus-1-3 libfontconfig1 \
        libfreetype6 libglib2.0-0 libx11-xcb1 libxkbcommon0 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 \
        libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render0 libxcb-render-util0 libxcb-shape0 \
        libxcb-shm0 libxcb-sync1 libxcb-util1 libxcb-xfixes0 libxcb-xkb1
}

# Install into $VENV, torch by our constraints; what is compiled is compiled on all cores, which pip does on one.
install_packages() {
    python -m pip install --quiet --disable-pip-version-check --no-compile --constraint "$CONSTRAINTS" "$@"
    python -m compileall -qq -j 0 -x '/_?tests?/' "$VENV/lib" || true  # some files are templates
}

set_up() {
    local python stamp
    python=$(find_python)
    if [ ! -x "$VENV/bin/python" ]; then
        if ! "$python" -c 'import ensurepip' 2>/dev/null; then debian_packages python3-venv; fi
        "$python" -m venv "$VENV"
    fi
    # shellcheck disable=SC1091
    . "$VENV/bin/activate"
    stamp="$VENV/.set-up-$1-$(cat pyproject.toml "$CONSTRAINTS" | cksum | tr -d ' ')"
    if [ ! -e "$stamp" ]; then
        echo "Installing napari-inr-volume ($1) into $VENV ..."
        if [ "$1" = dev ]; then window_packages & fi  # meanwhile
        install_packages torch --editable ".[$1]"
        wait
        touch "$stamp"
    fi
}

# On every core, and under Xvfb on Linux.
run_tests() {
    local run=()
    window_packages
    if [ "$(uname)" = Linux ]; then
        if command -v xvfb-run >/dev/null; then
            run=(xvfb-run -a -s "-screen 0 1600x1000x24")
        else
            echo "No Xvfb: the tests that need a window are left out." >&2
            set -- -m "not gui" "$@"
        fi
    fi
    NAPARI_CONFIG= NAPARI_ENSURE_PLUGIN_MAIN_THREAD=1 NAPARI_STRICT_QT=1 \
        ${run[@]+"${run[@]}"} python -m pytest --numprocesses logical --dist worksteal "$@"
}
