#!/usr/bin/env bash
# Sets the machine up and builds; run again, it does only what changed.
#
#   scripts/build.sh [--preset release|debug|sanitize] [--no-packages] [TARGET…]
#
# Without targets everything is built: the program build/altup, the operator library build/libaltup_ops.so, the tests and
# the benchmarks. LibTorch is the pinned wheel in .venv, unless CMAKE_PREFIX_PATH or Torch_DIR point at another one.
# With --no-packages nothing is asked of apt-get: the machine is taken as it is.
# Other variables: PYTHON, ALTUP_TORCH_INDEX, CCACHE_DIR, CMAKE_BUILD_PARALLEL_LEVEL. See docs/building.md.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# The one list of Debian packages that the build wants. All but the compiler, CMake, Ninja, zlib and Python can be missing:
# CMake then fetches a pinned release (third_party/CMakeLists.txt).
debian_packages=(
  g++ cmake ninja-build ccache
  zlib1g-dev libspdlog-dev libsentencepiece-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev
  libgtest-dev libgmock-dev libbenchmark-dev
  python3 python3-venv
)

preset=release
with_packages=true
targets=()
while (($# > 0)); do
  case "$1" in
    --preset)
      [[ $# -ge 2 ]] || fail 2 "--preset needs a name: release, debug or sanitize"
      preset=$2
      shift 2
      ;;
    --no-packages)
      with_packages=false
      shift
      ;;
    -h | --help)
      sed -n '2,/^source/{/^source/d;s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    -*) fail 2 "unknown option $1; expected --preset NAME, --no-packages or targets" ;;
    *)
      targets+=("$1")
      shift
      ;;
  esac
done
case "$preset" in
  release) build_dir=build ;;
  debug | sanitize) build_dir=build-$preset ;;
  *) fail 2 "unknown preset $preset; expected release, debug or sanitize" ;;
esac

started=$SECONDS
if [[ $with_packages == true ]]; then
  install_debian_packages "${debian_packages[@]}"
fi

# Handed to CMake as variables, which go before whatever CMake would find by itself.
torch_options=()
if [[ -n "${Torch_DIR:-}" ]]; then
  torch_options+=("-DTorch_DIR=$Torch_DIR")
fi
if [[ -n "${CMAKE_PREFIX_PATH:-}" ]]; then
  torch_options+=("-DCMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH//:/;}")
fi
if ((${#torch_options[@]} == 0)); then
  ensure_venv
fi

export CCACHE_DIR="${CCACHE_DIR:-$root/.ccache}"

# Ninja runs CMake again by itself where a CMakeLists.txt changed; only another LibTorch needs a new configuration.
configured_with="$build_dir/configured_with.txt"
wanted="${torch_options[*]:-.venv torch $torch_version}"
if [[ ! -f "$build_dir/build.ninja" || ! -f "$configured_with" || "$(<"$configured_with")" != "$wanted" ]]; then
  say "configuring $build_dir"
  rm -f "$build_dir/CMakeCache.txt"
  quietly cmake --preset "$preset" "${torch_options[@]}" || fail 1 "CMake could not configure the build (see above)"
  printf '%s' "$wanted" >"$configured_with"
fi

# A compiler that reads LibTorch's headers takes up to 2 GB.
jobs="${CMAKE_BUILD_PARALLEL_LEVEL:-}"
if [[ -z "$jobs" ]]; then
  jobs="$(getconf _NPROCESSORS_ONLN)"
  if [[ -r /proc/meminfo ]]; then
    memory_jobs=$(($(awk '/^MemAvailable:/ {print $2}' /proc/meminfo) / 2000000))
    jobs=$((memory_jobs < jobs ? memory_jobs : jobs))
  fi
  jobs=$((jobs < 1 ? 1 : jobs))
fi
target_options=()
if ((${#targets[@]} > 0)); then
  target_options=(--target "${targets[@]}")
fi
cmake --build "$build_dir" --parallel "$jobs" "${target_options[@]}"
say "built in $(minutes $((SECONDS - started))): the program is $build_dir/altup"
