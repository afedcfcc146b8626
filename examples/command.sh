#!/bin/sh
# Runs commands under a lock, shows the holder, and shows the exit status if the lock is busy.
set -eu
export ETCDCTL_ENDPOINTS="${ETCD_ENDPOINTS:-127.0.0.1:2379}"

# With the package installed, write `npx etcd-locker` instead.
locker() { node "$(dirname "$0")/../dist/cli/main.js" "$@"; }

# The first command holds the lock until this script writes to the pipe.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/begun" "$folder/go-on"
locker --value 'the first' nightly -- sh -c 'echo >"$1/begun"; read -r _ <"$1/go-on"; exit 3' sh "$folder" &
read -r _ <"$folder/begun"

status=0
locker --try nightly -- echo 'never printed' 2>/dev/null || status=$?
echo "a second command exits with: $status" # EX_TEMPFAIL: the lock is busy
echo "the holder is: $(locker inspect --json nightly | sed 's/.*"value":"\([^"]*\)".*/\1/')"

echo >"$folder/go-on"
wait "$!" || echo "the first command exited with: $?" # etcd-locker passes the status on

locker --timeout 30s nightly -- sh -c 'echo "the next command holds: $ETCD_LOCKER_NAME"'
echo "names held at the end: $(locker list --json | wc -l | tr -d ' ')"
