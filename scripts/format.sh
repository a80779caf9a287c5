#!/usr/bin/env bash
# Lays the tracked C++ files out as .clang-format says; with --check it changes nothing and fails where one differs.
# clang-format 14 is what counts, since versions disagree in details.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case "${1:-}" in
  "") options=(-i) ;;
  --check) options=(--dry-run --Werror) ;;
  *) fail 2 "unknown option $1; expected --check or nothing" ;;
esac

formatter="$(command -v clang-format-14 || command -v clang-format || true)"
[[ -n "$formatter" ]] || fail 2 "clang-format is missing; please run: apt-get install clang-format-14"
version="$("$formatter" --version | sed -E 's/.*version ([0-9]+).*/\1/')"
((version >= 14)) || fail 2 "$formatter is version $version; expected 14 or newer"

git ls-files -z '*.h' '*.cpp' '*.cu' '*.cuh' | xargs -0 --no-run-if-empty "$formatter" "${options[@]}"
