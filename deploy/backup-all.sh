#!/bin/sh
# Back up every memory of a server, and the secrets that a new server needs to stand in its place.
#   backup-all.sh DATA BACKUPS      DATA is the data folder, of whose server VISUAL_MEMORY_SERVER is the address
# Run it each night as the user of the server, and after each unlearning: a backup of before holds what was unlearned. Where the server
# has keys, VISUAL_MEMORY_API_KEY_FILE names one with the scope admin and without --memory; where it speaks TLS,
# VISUAL_MEMORY_ROOT_CERTIFICATES names its CA. A memory that cannot be backed up does not keep the others from it; the backup of one that was
# dropped stays, for you to delete.
set -eu
umask 077
test $# -eq 2 || { echo "usage: backup-all.sh DATA BACKUPS" >&2; exit 2; }
data=${1%/} backups=${2%/} failed=0
if ! found=$(ls "$data/keys/signing.pem" 2>&1); then
  echo "$data is not the data folder of a server, or not of this user: it has no keys/signing.pem ($found)." >&2
  exit 2
fi
signing=$(visual-memory signing-keys --data "$data")
served=$(visual-memory signing-keys)
if test "${signing%%[[:space:]]*}" != "${served%%[[:space:]]*}"; then
  echo "The server at ${VISUAL_MEMORY_SERVER:-its default address} is not the one of $data: another key signs its certificates." >&2
  exit 2
fi
mkdir -p "$backups/keys"
visual-memory list --json > "$backups/list.json.part"
mv "$backups/list.json.part" "$backups/list.json"
for file in signing.pem former.txt api-keys.json; do
  if test -e "$data/keys/$file"; then cp -p "$data/keys/$file" "$backups/keys/"; fi
done
python3 -c 'import json, sys; [print(each["name"]) for each in json.load(sys.stdin)]' < "$backups/list.json" > "$backups/names"
while read -r name; do
  visual-memory backup "$name" "$backups/$name.vmb" --force || failed=1
done < "$backups/names"
exit $failed
