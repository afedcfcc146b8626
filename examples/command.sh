#!/bin/sh
# A lock around any command: what it does when it is taken, what the command sees, and how it is watched.
set -eu
export ETCDCTL_ENDPOINTS="${ETCD_ENDPOINTS:-127.0.0.1:2379}"

# Who has installed the package writes `npx etcd-locker`.
locker() { node "$(dirname "$0")/../dist/cli/main.js" "$@"; }

# The first holds it until it may go on.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/begun" "$folder/go-on"
locker --value 'the first' nightly -- sh -c 'echo >"$1/begun"; read -r _ <"$1/go-on"; exit 3' sh "$folder" &
read -r _ <"$folder/begun"

status=0
locker --try nightly -- echo 'never printed' 2>/dev/null || status=$?
echo "another one meanwhile: $status" # EX_TEMPFAIL
echo "held by: $(locker inspect --json nightly | sed 's/.*"value":"\([^"]*\)".*/\1/')"

echo >"$folder/go-on"
wait "$!" || echo "the first ended with: $?" # the status of its command

locker --timeout 30s nightly -- sh -c 'echo "the next has: $ETCD_LOCKER_NAME"'
echo "names that are held afterwards: $(locker list --json | wc -l | tr -d ' ')"
