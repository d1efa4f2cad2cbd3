#!/bin/sh
# Bring a lost server back from what backup-all.sh has written, into a new data folder.
#   recover.sh BACKUPS DATA
# The new server listens at VISUAL_MEMORY_SERVE_LISTEN (127.0.0.1:50051), and is called at VISUAL_MEMORY_SERVER (the same): with TLS, by a name
# in its certificate. Other settings come from the environment, too, as do VISUAL_MEMORY_API_KEY_FILE, which names an admin's key where
# there were keys, and VISUAL_MEMORY_ROOT_CERTIFICATES. It is left running: its process is in DATA.pid and its log in DATA.log.
set -eu
umask 077
test $# -eq 2 || { echo "usage: recover.sh BACKUPS DATA" >&2; exit 2; }
backups=${1%/} data=${2%/} failed=
listen=${VISUAL_MEMORY_SERVE_LISTEN:-127.0.0.1:50051}
export VISUAL_MEMORY_SERVER="${VISUAL_MEMORY_SERVER:-$listen}"
if test -e "$data"; then
  echo "$data is there already; name a new folder." >&2
  exit 2
fi
test -f "$backups/keys/signing.pem" || { echo "$backups has no keys/signing.pem: it is none of backup-all.sh." >&2; exit 2; }
rm -f "$data.log" "$data.pid"          # of a try before
start() {
  rm -f "$data.out"
  visual-memory serve --data "$data" --listen "$1" > "$data.out" 2>> "$data.log" &
  echo $! > "$data.pid"
  until grep -qs '^listening on' "$data.out"; do
    kill -0 "$(cat "$data.pid")" 2> /dev/null || { cat "$data.log" >&2; exit 1; }
    sleep 0.2
  done
}
start 127.0.0.1:0                      # makes the folder, with secrets of its own
kill "$(cat "$data.pid")"
wait
cp -p "$backups/keys/"* "$data/keys/"  # certificates verify as before, and callers keep their keys
start "$listen"
if ! visual-memory list > /dev/null; then
  kill "$(cat "$data.pid")"
  echo "The new server cannot be called; delete $data, set what is missing, and begin again." >&2
  exit 1
fi
while read -r name; do
  visual-memory restore "$backups/$name.vmb" "$name" --timeout 3600 && visual-memory check "$name" || failed="$failed $name"
done < "$backups/names"
test -z "$failed" || { echo "Not restored, while the new server runs with the others:$failed" >&2; exit 1; }
