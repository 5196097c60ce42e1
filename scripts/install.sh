# Sourced by the other scripts: makes an environment from a lock file, or keeps the one that is there and current.
#
#   install_environment FOLDER LOCK     for example: install_environment .venv requirements/core.txt

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.11 python3.12 python3.10 python3 python; do
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "no Python 3.10, 3.11 or 3.12 found; install one, or name it with PYTHON=..." >&2
    return 1
}

install_environment() {
    local folder=$1 lock=$2 python stamp size=
    stamp=$(cat "$lock" setup.cfg pyproject.toml | cksum)
    if [ "$(cat "$folder/.installed" 2>/dev/null)" = "$stamp" ]; then
        return
    fi
    if grep -q '^torch==' "$lock"; then
        size=" (about 8 GB with the CUDA libraries)"
    fi
    echo "installing $lock into $folder$size"
    if [ ! -x "$folder/bin/python" ]; then
        python=$(find_python) || return 1
        "$python" -m venv "$folder" || {
            "$python" -m pip install --quiet --user uv && "$python" -m uv venv --seed "$folder"
        }
    fi
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "uv>=0.5"
    "$folder/bin/python" -m uv pip install --quiet --python "$folder/bin/python" -r "$lock"
    "$folder/bin/python" -m uv pip install --quiet --python "$folder/bin/python" --no-deps -e .
    echo "$stamp" >"$folder/.installed"
}
