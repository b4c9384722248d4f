#!/bin/sh
# startetcd [DATA_PATH] [OPTION…]: the door to `cargo xtask etcd-up` that Cloud Chamber's people know.
# -h or --help shows the options. ETCDBINPATH, ETCDINSTANCE, ETCDNODEADDR, ETCDPORTCLNT, ETCDPORTPEER and
# ETCDDATA are obeyed. Holds no logic.
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd) || exit 1
case ${1-} in
'' | -*) ;;
*)
    data=$1
    shift
    set -- --data-dir "$data" "$@"
    ;;
esac
exec cargo --config "env.XTASK_ALIAS='1'" --config term.quiet=false run --manifest-path "$root/Cargo.toml" --package xtask -- etcd-up "$@"
