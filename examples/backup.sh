#!/bin/sh
# Makes a backup under a lock, on one of several machines at a time. Handles each exit status, and removes a holder that hangs.
set -eu
export ETCDCTL_ENDPOINTS="${ETCD_ENDPOINTS:-127.0.0.1:2379}"

# With the package installed, write `npx etcd-locker` instead.
locker() { node "$(dirname "$0")/../dist/cli/main.js" "$@"; }

backup() {
  status=0
  locker "$@" backups/db -- sh -c 'echo "backup: written under the lock $ETCD_LOCKER_NAME"' 2>/dev/null || status=$?
  case $status in
    0) echo 'done' ;;
    75) echo 'not made: another machine makes it, or the lock was lost' ;;
    69) echo 'not made: etcd is unreachable' ;;
    *) echo "failed with $status" ;;
  esac
}

backup --try
# A backup that hangs. It holds the lock until somebody stops it.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/begun"
locker --value 'host-7: hangs' --max-hold 1h backups/db -- sh -c 'echo >"$1/begun"; exec sleep 3600' sh "$folder" 2>/dev/null &
read -r _ <"$folder/begun"
backup --try
backup --timeout 1s
ETCDCTL_ENDPOINTS=127.0.0.1:1 backup --request-timeout 300ms

# What an operator does. The token keeps `break` from the next holder.
locker inspect --check backups/db || echo "held by: $(locker inspect --json backups/db | sed 's/.*"value":"\([^"]*\)".*/\1/')"
token=$(locker inspect --json backups/db | sed 's/.*"fencingToken":"\([0-9]*\)".*/\1/')
locker break --yes --token "$token" backups/db >/dev/null
wait "$!" || echo "the hanging backup exited with: $?"
backup --timeout 30s
locker inspect --check backups/db && echo 'free again'
