#!/usr/bin/env bash
# The whole story from nothing: sets the machine up, builds the program and runs its demo, which makes its own data,
# pre-trains dense, AltUp and Recycled, fine-tunes, evaluates and exports them. Results go to runs/demo; arguments are
# handed on (`build/altup demo --help` lists them).
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

scripts/build.sh altup_program
exec build/altup demo "$@"
