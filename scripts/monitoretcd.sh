#!/bin/sh
# monitoretcd [KEY…] [OPTION…]: the door to `cargo xtask watch` that Cloud Chamber's people know; without a
# KEY it follows everything under the product's root. -h or --help shows the options. Holds no logic.
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
exec cargo --config "env.XTASK_ALIAS='1'" --config term.quiet=false run --manifest-path "$root/Cargo.toml" --package xtask -- watch "$@"
