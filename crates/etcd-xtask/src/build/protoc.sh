#!/bin/sh
# The protoc for builds of this workspace; .cargo/config.toml points PROTOC here. Runs the protoc that you have on
# PATH, if its include files are beside it, else the one that `cargo xtask doctor` has brought. Some distributions
# ship the program alone, which cannot compile etcd's files.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 1
bare=
IFS=:
for dir in $PATH; do
    [ "$dir" != "$here" ] && [ -f "$dir/protoc" ] && [ -x "$dir/protoc" ] || continue
    real=$(readlink -f -- "$dir/protoc" 2>/dev/null) || real=$dir/protoc
    [ -f "${real%/*}/../include/google/protobuf/descriptor.proto" ] && exec "$dir/protoc" "$@"
    bare=${bare:-$dir/protoc}
done
dir=$here
while [ ! -f "$dir/.etcd/.protoc" ] && [ -n "$dir" ]; do dir=${dir%/*}; done
brought=$(cat "$dir/.etcd/.protoc" 2>/dev/null)
[ -n "$brought" ] && [ -x "$brought" ] && exec "$brought" "$@"
[ -n "$bare" ] && exec "$bare" "$@"
echo "error: there is no protoc; \`cargo xtask doctor\` brings one" >&2
exit 1
