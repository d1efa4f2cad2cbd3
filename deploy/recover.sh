#!/bin/sh
# Bring a lost server back from what backup-all.sh has written, into a new data folder.
#   recover.sh BACKUPS DATA         VISUAL_MEMORY_SERVER is the address where the new server is to listen
# Where it had keys, VISUAL_MEMORY_API_KEY_FILE names one with the scope admin. Settings come from the environment. The server is
# left running: its process is in DATA.pid and its log in DATA.log.
set -eu
umask 077
backups=$1 data=$2
server=${VISUAL_MEMORY_SERVER:-127.0.0.1:50051}
if test -e "$data"; then
  echo "$data is there already; name a new folder." >&2
  exit 2
fi
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
start "$server"
while read -r name; do
  visual-memory restore "$backups/$name.vmb" "$name" --timeout 3600
  visual-memory check "$name"
done < "$backups/names"
