# Sourced by demo.sh and test.sh: makes .venv with an extra of ours, and installs what Debian lacks.
#   set_up EXTRA

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

# Install packages for a Python: torch first and by our constraints, so that no other package chooses its build.
# Uncompiled, since of torch and napari only a part is ever imported.
install_with() {
    local python="$1" pip=(-m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt)
    shift
    "$python" "${pip[@]}" torch
    "$python" "${pip[@]}" "$@"
}

set_up() {
    local python stamp
    python=$(find_python)
    if [ ! -x .venv/bin/python ]; then
        if ! "$python" -c 'import ensurepip' 2>/dev/null; then debian_packages python3-venv; fi
        "$python" -m venv .venv
    fi
    # shellcheck disable=SC1091
    . .venv/bin/activate
    stamp=".venv/.set-up-$1-$(cat pyproject.toml constraints.txt | cksum | tr -d ' ')"
    if [ ! -e "$stamp" ]; then
        echo "Installing napari-inr-volume ($1) into .venv ..."
        install_with python --editable ".[$1]"
        touch "$stamp"
    fi
}
