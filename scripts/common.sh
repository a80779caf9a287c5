# shellcheck shell=bash
# What the scripts share: where the project is, how they speak, and the set-up of a machine (Debian packages and the
# Python environment that holds LibTorch). Sourced, never run. Every step looks first and does only what is missing.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"

readonly torch_version=2.13.0
# Holds the CPU builds of the wheel; asked only where pip's own indexes have none.
readonly torch_cpu_index=https://download.pytorch.org/whl/cpu
readonly venv_python="$root/.venv/bin/python"

say() { printf '== %s\n' "$*"; }

# fail STATUS MESSAGE…: 2 where the user can mend it.
fail() {
  local status=$1
  shift
  printf 'error: %s\n' "$*" >&2
  exit "$status"
}

# minutes SECONDS: "4 min 05 s"
minutes() { printf '%d min %02d s' "$(($1 / 60))" "$(($1 % 60))"; }

# quietly COMMAND…: what it printed is shown only where it failed.
quietly() {
  local log status=0
  log="$(mktemp)"
  "$@" >"$log" 2>&1 </dev/null || status=$?
  if ((status != 0)); then
    cat "$log" >&2
  fi
  rm -f "$log"
  return "$status"
}

# install_debian_packages PACKAGE…: those that are missing, as root or by sudo; exits with 2 where neither is allowed.
# On other systems it says what is needed and goes on.
install_debian_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "no Debian or Ubuntu; please have these from your system (docs/building.md): $*"
    return
  fi
  local package missing=() available=() as_root=()
  for package in "$@"; do
    if [[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]]; then
      missing+=("$package")
    fi
  done
  if ((${#missing[@]} == 0)); then
    return
  fi
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      fail 2 "missing packages; please run: sudo apt-get install --no-install-recommends ${missing[*]}"
    fi
    as_root=(sudo -n)
  fi
  say "installing ${missing[*]}"
  quietly "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=120 update ||
    say "apt-get update failed; trying with the package lists as they are"
  for package in "${missing[@]}"; do
    if apt-cache show "$package" >/dev/null 2>&1; then
      available+=("$package")
    else
      say "$package is not in this release's packages; going on without it"
    fi
  done
  if ((${#available[@]} > 0)); then
    quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
      install --yes --no-install-recommends "${available[@]}" ||
      fail 2 "apt-get could not install ${available[*]} (see above)"
  fi
}

# find_python: prints a Python that LibTorch's wheels exist for.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail 2 "no Python 3.10 to 3.13 found; set PYTHON to one, or Torch_DIR to a LibTorch of your own (docs/building.md)"
}

pip_install() { quietly "$venv_python" -m pip install --quiet --disable-pip-version-check "$@"; }

install_torch() {
  if [[ -n "${ALTUP_TORCH_INDEX:-}" ]]; then
    pip_install --index-url "$ALTUP_TORCH_INDEX" "torch==$torch_version"
  elif [[ "$(uname -s)" != Linux ]]; then
    pip_install "torch==$torch_version"
  else
    # The plain Linux wheel is the CUDA one, with gigabytes of libraries; "+cpu" is the one for the processor.
    pip_install "torch==$torch_version+cpu" 2>/dev/null ||
      pip_install --index-url "$torch_cpu_index" "torch==$torch_version+cpu"
  fi
}

# ensure_venv: .venv with the pinned torch wheel, which is LibTorch with its headers. A stamp says that it is complete.
ensure_venv() {
  local python stamp="$root/.venv/.altup_torch"
  if [[ -x "$venv_python" && -f "$stamp" && "$(<"$stamp")" == "$torch_version" ]]; then
    return
  fi
  if ! "$venv_python" -m pip --version >/dev/null 2>&1; then
    python="$(find_python)"
    rm -rf "$root/.venv"
    if ! quietly "$python" -m venv "$root/.venv"; then
      rm -rf "$root/.venv"
      fail 2 "$python cannot make a virtual environment; install its venv module (Debian: python3-venv) or set PYTHON"
    fi
  fi
  say "installing LibTorch $torch_version into .venv"
  install_torch || fail 1 "pip could not install torch $torch_version (see above); docs/building.md lists other ways"
  printf '%s' "$torch_version" >"$stamp"
}

# ensure_test_packages: what the Python tests import; torch stays as it is.
ensure_test_packages() {
  local requirements="$root/tests/python/requirements.txt" stamp="$root/.venv/.altup_tests"
  ensure_venv
  if [[ -f "$stamp" ]] && cmp -s "$requirements" "$stamp"; then
    return
  fi
  say "installing the Python tests' packages into .venv"
  pip_install --requirement "$requirements" --constraint <(printf 'torch==%s\n' "$torch_version") ||
    fail 1 "pip could not install tests/python/requirements.txt (see above)"
  cp "$requirements" "$stamp"
}
